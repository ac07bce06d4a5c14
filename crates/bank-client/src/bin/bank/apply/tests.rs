//! A bank and a disk in memory that fail on demand.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    time::Duration,
};

use bank_client::{
    AccountId, BriefReceipt, Currency, Done, Error, Money, Rejection, RequestId, Results, Timestamp,
    TransactionId,
};

use super::{
    bank::{Bank, Now, Wanted},
    journal::Disk,
    lines::{Identity, Line},
};

/// How long the bank keeps request ids.
pub(super) const RETENTION: Duration = Duration::from_hours(24);

/// What happens to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The tool is killed before the batch is sent.
    CrashBefore,
    /// The tool is killed when the batch has been carried out.
    CrashAfter,
    /// The tool is killed, and the batch is carried out after so many calls of the next run.
    CrashInFlight(usize),
    /// The batch is carried out, but the answer is lost.
    AnswerLost,
    /// Nothing is done: the bank is overloaded.
    Overloaded,
    /// Nothing is done: the bank refuses it before it looks at the ids.
    Refused,
    /// Nothing is done, but the tool cannot know that.
    Failed,
}

/// A request that the bank remembers.
#[derive(Clone, Copy, Debug)]
struct Known {
    amount: i64,
    is_applied: bool,
    time_ms: i64,
}

#[derive(Clone, Debug)]
struct Payment {
    request_id: RequestId,
    identity: String,
    amount: Money,
    content: Option<String>,
    /// How many lines of the file ask for the same, if the outcomes of all removed lines are known.
    in_file: Option<u32>,
}

#[derive(Default)]
struct State {
    balance: i64,
    time_ms: i64,
    clock_ms: i64,
    known: BTreeMap<RequestId, Known>,
    /// The history of the account: id, amount, time.
    entries: Vec<(RequestId, i64, i64)>,
    /// How often each line was paid.
    paid: BTreeMap<String, u32>,
    /// The same for identical lines together.
    paid_alike: BTreeMap<String, u32>,
    in_flight: Option<(usize, Vec<Payment>)>,
    faults: std::collections::VecDeque<Fault>,
}

pub(super) struct Model {
    state: RefCell<State>,
    bytes: RefCell<Vec<u8>>,
    /// After how many appends the disk fails, and how much of the last one it writes, in 255ths.
    disk_fault: Cell<Option<(usize, u8)>>,
    disk_failed: Cell<bool>,
    /// How many lines of the file ask for the same. Empty if outcomes of removed lines are unknown.
    in_file: RefCell<BTreeMap<String, u32>>,
    /// The identity of each line of the file, by its number.
    identities: RefCell<BTreeMap<u64, Identity>>,
}

/// What a line without its own request id asks for.
fn content(identity: &Identity) -> Option<String> {
    match identity {
        Identity::Derived { content, .. } => Some(content.hex()),
        Identity::Given { .. } => None,
    }
}

/// The key of a line in `paid`.
fn name(identity: &Identity) -> String {
    format!("{identity:?}")
}

impl Model {
    pub(super) fn new(balance: i64) -> Self {
        let state = State { balance, time_ms: 1_700_000_000_000, ..State::default() };
        Self {
            state: RefCell::new(state),
            bytes: RefCell::default(),
            disk_fault: Cell::default(),
            disk_failed: Cell::default(),
            in_file: RefCell::default(),
            identities: RefCell::default(),
        }
    }

    /// Starts a run of these lines.
    pub(super) fn begin(&self, lines: &[Line], is_known: bool) {
        *self.identities.borrow_mut() =
            lines.iter().map(|line| (line.number, line.identity.clone())).collect();
        let mut in_file = self.in_file.borrow_mut();
        in_file.clear();
        for content in lines.iter().filter(|_| is_known).filter_map(|line| content(&line.identity)) {
            *in_file.entry(content).or_default() += 1;
        }
    }

    pub(super) fn break_with(&self, faults: Vec<Fault>, disk: Option<(usize, u8)>) {
        self.state.borrow_mut().faults = faults.into();
        self.disk_fault.set(disk);
        self.disk_failed.set(false);
    }

    pub(super) fn top_up(&self, amount: i64) {
        self.state.borrow_mut().balance += amount;
    }

    /// Lets time pass. Nothing is in flight for longer than a minute.
    pub(super) fn wait(&self, ms: i64) {
        let mut state = self.state.borrow_mut();
        if ms > 60_000 {
            state.arrive();
        }
        state.time_ms += ms;
    }

    pub(super) fn set_clock(&self, ms: i64) {
        self.state.borrow_mut().clock_ms = ms;
    }

    pub(super) fn paid(&self, identity: &Identity) -> u32 {
        self.state.borrow().paid.get(&name(identity)).copied().unwrap_or_default()
    }

    pub(super) fn nothing_in_flight(&self) -> bool {
        self.state.borrow().in_flight.is_none()
    }

    pub(super) fn on_disk(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    /// The disk, with the results file cut to its last whole line.
    pub(super) fn disk(&self, length: u64) -> ModelDisk<'_> {
        self.bytes.borrow_mut().truncate(usize::try_from(length).unwrap());
        ModelDisk(self)
    }
}

pub(super) struct ModelDisk<'a>(&'a Model);

impl Disk for ModelDisk<'_> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self(model) = self;
        assert!(!model.disk_failed.get(), "nothing is written after the disk has failed");
        match model.disk_fault.get() {
            Some((0, part)) => {
                model.disk_failed.set(true);
                let written = bytes.len() * usize::from(part) / 255;
                model.bytes.borrow_mut().extend_from_slice(&bytes[..written]);
                Err(io::ErrorKind::StorageFull.into())
            }
            fault => {
                model.disk_fault.set(fault.map(|(appends, part)| (appends - 1, part)));
                model.bytes.borrow_mut().extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

impl State {
    /// Carries out what is in flight.
    fn arrive(&mut self) {
        if let Some((_, batch)) = self.in_flight.take() {
            for request in &batch {
                let _ = self.carry_out(request);
            }
        }
    }

    /// Another call reaches the bank.
    fn called(&mut self) {
        match &mut self.in_flight {
            Some((0, _)) => self.arrive(),
            Some((calls, _)) => *calls -= 1,
            None => {}
        }
    }

    fn carry_out(&mut self, request: &Payment) -> Result<Done, Error> {
        let Payment { request_id, identity, amount, content, in_file } = request;
        let retention = i64::try_from(RETENTION.as_millis()).unwrap();
        let now = self.time_ms;
        self.known.retain(|_, known| known.time_ms + retention > now);
        let money = |minor_units| Money { currency: Currency::USD, minor_units };
        let account_id: AccountId = "a".parse().unwrap();
        let (known, replayed) = match self.known.get(request_id) {
            Some(known) => (*known, true),
            None => {
                let is_applied = self.balance + amount.minor_units >= 0;
                let known = Known { amount: amount.minor_units, is_applied, time_ms: now };
                self.known.insert(request_id.clone(), known);
                if is_applied {
                    self.balance += amount.minor_units;
                    self.entries.push((request_id.clone(), amount.minor_units, now));
                    let paid = self.paid.entry(identity.clone()).or_default();
                    *paid += 1;
                    assert_eq!(*paid, 1, "{identity} is paid twice");
                    let alike = self.paid_alike.entry(content.clone().unwrap_or_default()).or_default();
                    *alike += 1;
                    if let Some(in_file) = in_file {
                        assert!(*alike <= *in_file, "{identity}: {alike} payments for {in_file} lines");
                    }
                }
                (known, false)
            }
        };
        if known.amount != amount.minor_units {
            return Err(Error::RequestIdReused { account_id, request_id: request_id.clone() });
        }
        let balance = money(self.balance);
        if known.is_applied {
            let transaction_id = TransactionId::from("t".to_owned());
            Ok(Done::Brief(BriefReceipt { transaction_id, sequence: 1, amount: *amount, balance, replayed }))
        } else {
            Err(Error::Rejected {
                rejection: Rejection::InsufficientFunds {
                    account_id,
                    requested: *amount,
                    available: balance,
                    balance,
                },
                replayed,
            })
        }
    }
}

impl Bank for Model {
    fn now(&self) -> Now {
        let State { time_ms, clock_ms, .. } = *self.state.borrow();
        let time = |ms| Timestamp::try_from_unix_ms(ms).unwrap();
        Now { here: time(time_ms + clock_ms), bank: time(time_ms) }
    }

    fn is_interrupted(&self) -> bool {
        false
    }

    async fn send(&self, batch: &[(&Line, &RequestId)], _atomic: bool) -> Result<Results, Error> {
        assert!(!self.disk_failed.get(), "nothing is sent after the disk has failed");
        let request = |&(line, request_id): &(&Line, &RequestId)| {
            let identity = &self.identities.borrow()[&line.number];
            let content = content(identity);
            Payment {
                request_id: request_id.clone(),
                identity: name(identity),
                amount: line.instruction.entry().0.unwrap(),
                in_file: content.as_ref().and_then(|content| self.in_file.borrow().get(content).copied()),
                content,
            }
        };
        let requests: Vec<_> = batch.iter().map(request).collect();
        let fault = {
            let mut state = self.state.borrow_mut();
            state.called();
            state.faults.pop_front().unwrap_or(Fault::None)
        };
        let all = |make: &dyn Fn(&Payment) -> Error| {
            Ok(requests.iter().map(|request| Err(make(request))).collect())
        };
        let unknown = |request: &Payment| Error::OutcomeUnknown {
            request_id: request.request_id.clone(),
            message: String::new(),
        };
        match fault {
            Fault::None => {
                let mut state = self.state.borrow_mut();
                Ok(requests.iter().map(|request| state.carry_out(request)).collect())
            }
            Fault::CrashBefore => std::future::pending().await,
            Fault::CrashAfter => {
                {
                    let mut state = self.state.borrow_mut();
                    for request in &requests {
                        let _ = state.carry_out(request);
                    }
                }
                std::future::pending().await
            }
            Fault::CrashInFlight(calls) => {
                {
                    let mut state = self.state.borrow_mut();
                    state.arrive();
                    state.in_flight = Some((calls, requests));
                }
                std::future::pending().await
            }
            Fault::AnswerLost => {
                let mut state = self.state.borrow_mut();
                for request in &requests {
                    let _ = state.carry_out(request);
                }
                all(&unknown)
            }
            Fault::Overloaded => all(&|_| Error::Overloaded { message: String::new(), retry_after: None }),
            Fault::Refused => all(&|_| Error::PermissionDenied(String::new())),
            Fault::Failed => all(&|_| Error::Internal(String::new())),
        }
    }

    async fn look_up(&self, wanted: &Wanted<'_>) -> Result<Option<BriefReceipt>, Error> {
        let mut state = self.state.borrow_mut();
        state.called();
        let money = |minor_units| Money { currency: Currency::USD, minor_units };
        let entry = state.entries.iter().find(|(request_id, amount, time_ms)| {
            request_id == wanted.request_id
                && wanted.amount.is_none_or(|wanted| wanted.minor_units == *amount)
                && *time_ms >= wanted.since.unix_ms()
        });
        Ok(entry.map(|(_, amount, _)| BriefReceipt {
            transaction_id: TransactionId::from("t".to_owned()),
            sequence: 1,
            amount: money(*amount),
            balance: money(0),
            replayed: true,
        }))
    }

    fn progress(&self, _lines: usize) {}
}
