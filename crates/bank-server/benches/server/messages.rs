//! The requests of a load: their accounts and their encoding.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::Context as _;
use bank_proto::v1::{self, operation, operation_result};
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rand_distr::Zipf;

/// Accounts are `bench-` and a number of seven digits.
const ACCOUNT: &str = "bench-0000000";
const ACCOUNT_DIGITS: Range<usize> = 6..13;
/// Unique, in the form of a UUID of version 7. Its ends are counters.
const REQUEST_ID: &str = "00000000-0000-7000-8000-000000000000";
const RUN_DIGITS: Range<usize> = 0..8;
const NUMBER_DIGITS: Range<usize> = 24..33;
const WORKER_DIGITS: Range<usize> = 33..36;
const HEXADECIMAL: u64 = 16;
const DECIMAL: u64 = 10;

/// The messages of one connection.
pub(crate) trait Messages: Send + 'static {
    /// The path of their method.
    fn path(&self) -> &'static str;

    /// The operations in each message.
    fn operations(&self) -> u64 {
        1
    }

    /// Whether the content of replies is checked.
    fn looks_at_replies(&self) -> bool {
        false
    }

    /// Whether a reply reports that everything was done.
    fn is_good(&mut self, _reply: &[u8]) -> bool {
        true
    }

    /// Appends the next message; false if there is none.
    fn append_next(&mut self, message: &mut Vec<u8>) -> bool;
}

/// The accounts of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Spread {
    /// So many, each equally often.
    Uniform(u32),
    /// So many, by Zipf's law with exponent 0.99: the first is used most often.
    Zipf(u32),
    /// So many, each used by every other worker only, as if a client sent its calls to one of two servers.
    Affine(u32),
}

/// Draws accounts.
pub(crate) struct Draw {
    spread: Spread,
    zipf: Option<Zipf<f64>>,
    random: StdRng,
    /// Which half of the accounts is drawn from, if it is only a half.
    half: u32,
}

impl Draw {
    pub(crate) fn new(spread: Spread, seed: u64) -> anyhow::Result<Self> {
        let zipf = match spread {
            Spread::Uniform(_) | Spread::Affine(_) => None,
            Spread::Zipf(accounts) => Some(Zipf::new(accounts.into(), 0.99).context("a spread of none")?),
        };
        Ok(Self { spread, zipf, random: StdRng::seed_from_u64(seed), half: u32::from(seed % 2 == 1) })
    }

    pub(crate) fn account(&mut self) -> u32 {
        match (&self.zipf, self.spread) {
            (None, Spread::Uniform(1)) => 0,
            (None, Spread::Uniform(accounts) | Spread::Zipf(accounts)) => {
                self.random.random_range(0..accounts)
            }
            (None, Spread::Affine(accounts)) => 2 * self.random.random_range(0..accounts / 2) + self.half,
            (Some(zipf), _) => self.random.sample(zipf) as u32 - 1,
        }
    }
}

/// The id of an account by its number.
pub(crate) fn account_id(number: u32) -> String {
    let mut id = ACCOUNT.as_bytes().to_vec();
    digits(&mut id[ACCOUNT_DIGITS], number.into(), DECIMAL);
    String::from_utf8_lossy(&id).into_owned()
}

/// Request ids, unique over all workers.
pub(crate) struct RequestIds {
    text: [u8; REQUEST_ID.len()],
    next: u64,
}

impl RequestIds {
    /// For one worker of a measurement.
    pub(crate) fn new(run: u64, worker: u64) -> Self {
        let mut text = [0; REQUEST_ID.len()];
        text.copy_from_slice(REQUEST_ID.as_bytes());
        digits(&mut text[RUN_DIGITS], run, HEXADECIMAL);
        digits(&mut text[WORKER_DIGITS], worker, HEXADECIMAL);
        Self { text, next: 0 }
    }

    fn draw(&mut self) -> &[u8] {
        digits(&mut self.text[NUMBER_DIGITS], self.next, HEXADECIMAL);
        self.next += 1;
        &self.text
    }

    pub(crate) fn next_text(&mut self) -> String {
        String::from_utf8_lossy(self.draw()).into_owned()
    }
}

/// Deposits of one cent.
pub(crate) struct Deposits {
    draw: Draw,
    request_ids: RequestIds,
    template: Template,
}

impl Deposits {
    pub(crate) fn new(draw: Draw, request_ids: RequestIds) -> anyhow::Result<Self> {
        let request = deposit(ACCOUNT.to_owned(), REQUEST_ID.to_owned());
        Ok(Self { draw, request_ids, template: Template::of(request.encode_to_vec())? })
    }

    /// The next as a message that is still to be encoded.
    pub(crate) fn next_request(&mut self) -> v1::DepositRequest {
        deposit(account_id(self.draw.account()), self.request_ids.next_text())
    }
}

fn deposit(account_id: String, request_id: String) -> v1::DepositRequest {
    let amount = Some(v1::Money { currency_code: String::new(), minor_units: 1 });
    v1::DepositRequest { account_id, amount, request_id, ..Default::default() }
}

impl Messages for Deposits {
    fn path(&self) -> &'static str {
        "/bank.v1.BankService/Deposit"
    }

    fn append_next(&mut self, message: &mut Vec<u8>) -> bool {
        self.template.append(message, self.draw.account(), self.request_ids.draw());
        true
    }
}

/// Batches of deposits of one cent, each answered with a receipt.
pub(crate) struct Batches {
    draw: Draw,
    request_ids: RequestIds,
    operations: u32,
    operation: Template,
    receipts_only: Vec<u8>,
    replies: u64,
}

/// One of so many replies is read. Reading all would take the generator as long as the server takes.
const REPLIES_PER_LOOK: u64 = 16;

impl Batches {
    pub(crate) fn new(operations: u32, draw: Draw, request_ids: RequestIds) -> anyhow::Result<Self> {
        let kind = operation::Kind::Deposit(deposit(ACCOUNT.to_owned(), REQUEST_ID.to_owned()));
        let one = v1::ExecuteBatchRequest {
            operations: vec![v1::Operation { kind: Some(kind) }],
            ..Default::default()
        };
        let receipts_only = v1::ExecuteBatchRequest { receipts_only: true, ..Default::default() };
        Ok(Self {
            draw,
            request_ids,
            operations,
            // Encoded messages one after the other are one message, with all their operations.
            operation: Template::of(one.encode_to_vec())?,
            receipts_only: receipts_only.encode_to_vec(),
            replies: 0,
        })
    }
}

impl Messages for Batches {
    fn path(&self) -> &'static str {
        "/bank.v1.BankService/ExecuteBatch"
    }

    fn operations(&self) -> u64 {
        self.operations.into()
    }

    fn looks_at_replies(&self) -> bool {
        true
    }

    fn is_good(&mut self, reply: &[u8]) -> bool {
        self.replies += 1;
        if self.replies % REPLIES_PER_LOOK != 1 {
            return true;
        }
        let receipt = |result: &v1::OperationResult| {
            matches!(result.outcome, Some(operation_result::Outcome::Receipt(_)))
        };
        v1::ExecuteBatchResponse::decode(reply).is_ok_and(|reply| {
            reply.results.len() == self.operations as usize && reply.results.iter().all(receipt)
        })
    }

    fn append_next(&mut self, message: &mut Vec<u8>) -> bool {
        for _ in 0..self.operations {
            self.operation.append(message, self.draw.account(), self.request_ids.draw());
        }
        message.extend_from_slice(&self.receipts_only);
        true
    }
}

/// Openings of accounts, each once over all workers.
pub(crate) struct Openings {
    next: Arc<AtomicU64>,
    accounts: u32,
    request_ids: RequestIds,
    template: Template,
}

impl Openings {
    pub(crate) fn new(next: Arc<AtomicU64>, accounts: u32, request_ids: RequestIds) -> anyhow::Result<Self> {
        let request = v1::CreateAccountRequest {
            account_id: ACCOUNT.to_owned(),
            account_type: v1::AccountType::Savings.into(),
            request_id: REQUEST_ID.to_owned(),
            ..Default::default()
        };
        Ok(Self { next, accounts, request_ids, template: Template::of(request.encode_to_vec())? })
    }
}

impl Messages for Openings {
    fn path(&self) -> &'static str {
        "/bank.v1.BankService/CreateAccount"
    }

    fn append_next(&mut self, message: &mut Vec<u8>) -> bool {
        let number = u32::try_from(self.next.fetch_add(1, Relaxed)).unwrap_or(u32::MAX);
        if number >= self.accounts {
            return false;
        }
        self.template.append(message, number, self.request_ids.draw());
        true
    }
}

/// An encoded message, and where in it the account and the request id are.
struct Template {
    bytes: Vec<u8>,
    account_at: usize,
    request_id_at: usize,
}

impl Template {
    fn of(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let find = |text: &str| {
            let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
            found.with_context(|| format!("the message has no {text}"))
        };
        Ok(Self { account_at: find(ACCOUNT)?, request_id_at: find(REQUEST_ID)?, bytes })
    }

    fn append(&self, message: &mut Vec<u8>, account: u32, request_id: &[u8]) {
        let from = message.len();
        message.extend_from_slice(&self.bytes);
        let message = &mut message[from..];
        digits(&mut message[self.account_at..][ACCOUNT_DIGITS], account.into(), DECIMAL);
        message[self.request_id_at..][..request_id.len()].copy_from_slice(request_id);
    }
}

/// Writes a number with as many digits as there is room for.
fn digits(room: &mut [u8], mut number: u64, base: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % base) as usize];
        number /= base;
    }
}
