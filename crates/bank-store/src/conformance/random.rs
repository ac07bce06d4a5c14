//! Random commits from a seed. Equal seeds give equal commits on equal stores.

use std::{collections::HashSet, env, thread};

use bank_domain::{
    Command, Timestamp,
    interest::{Compounding, DateRange, DayCount, Period, RoundingMode, Terms},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{
    bank::{Bank, View},
    commands::{
        Request, close, deposit, described, freeze, id, interest, limit, named, open, transfer, unfreeze,
        withdraw,
    },
};
use crate::Proposal;

/// The variable with the seed of a test to repeat.
const SEED_VARIABLE: &str = "BANK_TEST_SEED";

/// The accounts of all requests. The last two are never opened.
pub(super) const ACCOUNT_IDS: [&str; 8] = ["1", "2", "a:b", "A.b-c_d", "5", "6", "ghost", "ghost:2"];
const OPENED: usize = 6;
/// The owners of the accounts.
pub(super) const OWNERS: [&str; 4] = ["", "alice", "auth0|bob@example.com", "{17}"];
const CURRENCIES: [&str; 3] = ["USD", "USD", "JPY"];
const TEXTS: [&str; 4] = ["", "rent", "Loyer de février, 12 €", "\"{}/\\'"];
const RATES: [&str; 5] = ["2.5", "-3", "0", "1000", "0.0000000001"];
const BATCH_MAX: usize = 6;
const CLOCK_STEP_MS_MAX: i64 = 50;

/// The seed of the environment variable `BANK_TEST_SEED`, or a random one.
///
/// # Panics
/// If the variable is not a number.
pub fn seed_from_environment() -> u64 {
    match env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE} is not a number: {seed:?}")),
        Err(_) => rand::random(),
    }
}

/// Prints how to repeat a test if it fails.
#[must_use]
pub(super) struct Seed(pub(super) u64);

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the panic")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("to repeat this test, set {SEED_VARIABLE}={}", self.0);
        }
    }
}

/// Generates commits of every kind: fresh and stale, new and repeated, single and in chains.
pub(super) struct RandomCommits {
    random: StdRng,
    clock_ms: i64,
    sent: Vec<Vec<Proposal>>,
    asked: Vec<Request>,
    seen: Vec<View>,
}

impl RandomCommits {
    pub(super) fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { random, clock_ms: 0, sent: Vec::new(), asked: Vec::new(), seen: Vec::new() }
    }

    /// The next commit, decided on the accounts of the bank, or on earlier ones.
    pub(super) async fn next_on(&mut self, bank: &Bank) -> Vec<Proposal> {
        // The clocks of servers differ, so the time may go back.
        self.clock_ms += self.random.random_range(-CLOCK_STEP_MS_MAX / 2..=CLOCK_STEP_MS_MAX);
        let bank = bank.later(self.clock_ms.max(0)).called_by(self.pick(&["", "", "teller 7"]));
        let view = bank.view_of(&ACCOUNT_IDS.map(id)).await;
        self.seen.push(view.clone());

        if self.chance(0.08) && !self.sent.is_empty() {
            return self.pick(&self.sent.clone());
        }
        let mut view = if self.chance(0.15) { self.pick(&self.seen.clone()) } else { view };
        let mut proposals: Vec<_> = (0..self.random.random_range(1..=BATCH_MAX))
            .map(|_| {
                let request = self.request();
                self.asked.push(request.clone());
                // One in ten ignores the proposals before it.
                if self.chance(0.1) { view.clone().propose(request) } else { view.propose(request) }
            })
            .collect();
        if self.chance(0.3) {
            self.link(&mut proposals);
        }
        self.sent.push(proposals.clone());
        proposals
    }

    /// Links some proposals to a chain, if their requests differ.
    fn link(&mut self, proposals: &mut [Proposal]) {
        let start = self.random.random_range(0..proposals.len());
        let end = self.random.random_range(start..proposals.len());
        let keys: HashSet<_> = proposals[start..=end].iter().map(|proposal| &proposal.key).collect();
        if keys.len() > end - start {
            proposals[start..end].iter_mut().for_each(|proposal| proposal.linked = true);
        }
    }

    fn request(&mut self) -> Request {
        if self.chance(0.1) && !self.asked.is_empty() {
            return self.pick(&self.asked.clone());
        }
        let mut request = Request::from(self.command());
        request.rejection_recorded = self.chance(0.8);
        if self.chance(0.6) {
            // Few enough ids that some are used again, for the same content or for other content.
            let name = format!("{{r}}/\"{}\\", self.random.random_range(0..200));
            request = named(&name, request);
        }
        request
    }

    fn command(&mut self) -> Command {
        let account = self.pick(&ACCOUNT_IDS);
        let amount = self.amount();
        let command = match self.random.random_range(0..20) {
            0..3 => self.opening(),
            3..8 => deposit(account, amount),
            8..11 => withdraw(account, amount),
            11..15 => {
                let others: Vec<_> = ACCOUNT_IDS.into_iter().filter(|other| *other != account).collect();
                transfer(account, self.pick(&others), amount)
            }
            15..17 => interest(account, self.terms(), self.period()),
            17 => limit(account, amount - 1),
            18 => self.pick(&[freeze(account), unfreeze(account), unfreeze(account)]),
            _ => close(account),
        };
        described(command, self.pick(&TEXTS))
    }

    fn opening(&mut self) -> Command {
        let mut opening = open(self.pick(&ACCOUNT_IDS[..OPENED]))
            .in_currency(self.pick(&CURRENCIES))
            .owned_by(self.pick(&OWNERS));
        if self.chance(0.5) {
            opening = opening.checking(self.amount() - 1);
        }
        if self.chance(0.3) {
            opening = opening.labelled("branch", self.pick(&TEXTS));
        }
        opening.into()
    }

    fn amount(&mut self) -> i64 {
        let small = self.random.random_range(1..=1_000);
        self.pick(&[small, small, small, 1, 1, 12_345, (1 << 53) + 1, i64::MAX / 2, i64::MAX])
    }

    fn terms(&mut self) -> Terms {
        Terms {
            annual_rate: self.pick(&RATES).parse().unwrap(),
            day_count: self.pick(DayCount::ALL),
            compounding: self.pick(Compounding::ALL),
            rounding_mode: self.pick(RoundingMode::ALL),
        }
    }

    fn period(&mut self) -> Period {
        let half_year = DateRange::parse("2026-01-01", "2026-07-02").unwrap();
        self.pick(&[Period::OneYear, half_year.into()])
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices.choose(&mut self.random).unwrap().clone()
    }

    /// A time at which entries may have been written.
    pub(super) fn instant(&mut self, bank: &Bank) -> Timestamp {
        bank.later(self.random.random_range(-10..=self.clock_ms.max(0) + 10)).now()
    }
}
