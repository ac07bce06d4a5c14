//! Callers that make the same kind of call over and over, each waiting for its reply.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bank_client::{BankClient, Error, Money, Route};
use rand::{Rng, RngExt as _};
use rand_distr::Zipf;
use tokio::{task::JoinSet, time::sleep};

use super::{
    limits::Limits,
    pace::Pace,
    prepare::{CURRENCY, account_id},
    report::{Report, Tally},
};
use crate::args::{Bench, Op};

/// What is moved at a time.
const CENT: Money = Money { currency: CURRENCY, minor_units: 1 };
/// How long a caller waits after an error that does not say how long: else one that comes at once
/// would be all that is measured.
const PAUSE: Duration = Duration::from_millis(10);

/// One call.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Deposit,
    Withdraw,
    Transfer,
    Balance,
}

pub(super) struct Load {
    args: Bench,
    zipf: Option<Zipf<f64>>,
    limits: Limits,
    /// Counts what was booked, warm-up and all.
    pub(super) booked: Booked,
}

/// What the books of the bank have more.
#[derive(Default)]
pub(super) struct Booked {
    pub(super) deposits: AtomicU64,
    pub(super) withdrawals: AtomicU64,
    pub(super) transfers: AtomicU64,
}

impl Booked {
    fn count(&self, kind: Kind) {
        let count = match kind {
            Kind::Deposit => &self.deposits,
            Kind::Withdraw => &self.withdrawals,
            Kind::Transfer => &self.transfers,
            Kind::Balance => return,
        };
        count.fetch_add(1, Relaxed);
    }
}

/// What came of a call that was answered.
#[derive(Default)]
pub(super) struct Answer {
    /// How many operations were carried out.
    pub(super) operations: u64,
    /// Why each of the others was not.
    pub(super) failed: Vec<&'static str>,
}

impl Load {
    pub(super) fn new(args: Bench, limits: Limits) -> Self {
        let zipf = Zipf::new(args.accounts.into(), args.skew).ok().filter(|_| args.skew > 0.0);
        Self { args, zipf, limits, booked: Booked::default() }
    }

    /// Lets callers work on each connection for as long as the load lasts, and reports.
    pub(super) async fn run(self: Arc<Self>, clients: Vec<BankClient>) -> Report {
        let measured = Duration::from_secs(self.args.seconds.into());
        let pace = Arc::new(Pace::begin(self.args.rate, self.args.batch, self.args.warm_up + measured));
        let mut tallies = Vec::with_capacity(clients.len());
        let mut callers = JoinSet::new();
        for client in clients {
            let tally = Arc::new(Mutex::new(Tally::default()));
            for _ in 0..self.args.inflight {
                let (load, client, pace) = (Arc::clone(&self), client.clone(), Arc::clone(&pace));
                let tally = Arc::clone(&tally);
                callers.spawn(async move { load.call_over_and_over(&client, &pace, &tally).await });
            }
            tallies.push(tally);
        }
        callers.join_all().await;
        let mut total = Tally::default();
        for tally in tallies {
            total.merge(&tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Report::new(&self.args, &total, &pace, &self.booked, self.limits.reached())
    }

    async fn call_over_and_over(&self, client: &BankClient, pace: &Pace, tally: &Mutex<Tally>) {
        let measured_from = pace.began_at() + self.args.warm_up;
        while let Some(mut due_at) = pace.next().await {
            let _place = self.limits.place().await;
            // At a fixed rate it is the bank that is too slow, or the rate too high: that is measured.
            if self.args.rate.is_none() {
                if !self.limits.turn(self.args.batch, Some(pace.ends_at())).await {
                    break;
                }
                due_at = Instant::now();
            }
            let result = if self.args.batch > 1 {
                self.call_batch(client).await
            } else {
                self.call(client).await.map(|()| Answer { operations: 1, failed: Vec::new() })
            };
            let now = Instant::now();
            if due_at >= measured_from {
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                match &result {
                    Ok(answer) => tally.answered(answer, now - due_at, now),
                    Err(error) => tally.failed(error.reason(), self.args.batch.into()),
                }
            }
            if let Err(error) = result {
                sleep(error.retry_after().unwrap_or(PAUSE)).await;
            }
        }
    }

    async fn call(&self, client: &BankClient) -> Result<(), Error> {
        let (kind, account, other) = self.draw(&mut rand::rng());
        let account = account_id(account);
        match kind {
            Kind::Balance => {
                client.balance(account).await?;
            }
            Kind::Deposit => {
                client.deposit(account, CENT).await?;
            }
            Kind::Withdraw => {
                client.withdraw(account, CENT).await?;
            }
            Kind::Transfer => {
                client.transfer(Route { from: account, to: account_id(other) }, CENT).await?;
            }
        }
        self.booked.count(kind);
        Ok(())
    }

    async fn call_batch(&self, client: &BankClient) -> Result<Answer, Error> {
        let mut kinds = Vec::new();
        let mut batch = client.batch().brief();
        for _ in 0..self.args.batch {
            let (kind, account, other) = self.draw(&mut rand::rng());
            let account = account_id(account);
            batch = match kind {
                Kind::Deposit => batch.deposit(account, CENT),
                Kind::Withdraw => batch.withdraw(account, CENT),
                Kind::Transfer => batch.transfer(Route { from: account, to: account_id(other) }, CENT),
                // Is no part of batches, and not asked for.
                Kind::Balance => continue,
            };
            kinds.push(kind);
        }
        let mut answer = Answer::default();
        for (result, kind) in batch.await?.into_iter().zip(kinds) {
            match result {
                Ok(_) => {
                    answer.operations += 1;
                    self.booked.count(kind);
                }
                Err(error) => answer.failed.push(error.reason()),
            }
        }
        Ok(answer)
    }

    /// What is done next, on which account, and on which other one if that is needed.
    fn draw(&self, random: &mut impl Rng) -> (Kind, u32, u32) {
        let kind = match self.args.op {
            Op::Deposit => Kind::Deposit,
            Op::Withdraw => Kind::Withdraw,
            Op::Transfer => Kind::Transfer,
            Op::Balance => Kind::Balance,
            Op::Mixed => match random.random_range(0..10) {
                0..3 => Kind::Deposit,
                3..5 => Kind::Withdraw,
                5..7 => Kind::Transfer,
                _ => Kind::Balance,
            },
        };
        let account = self.draw_account(random);
        let other = match kind {
            Kind::Transfer => self.draw_account(random),
            Kind::Deposit | Kind::Withdraw | Kind::Balance => account,
        };
        let other = if other == account { (account + 1) % self.args.accounts } else { other };
        (kind, account, other)
    }

    fn draw_account(&self, random: &mut impl Rng) -> u32 {
        match &self.zipf {
            None => random.random_range(0..self.args.accounts),
            // From 1, the most frequent, to the number of accounts.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is a whole number in that range"
            )]
            Some(zipf) => random.sample(zipf) as u32 - 1,
        }
    }
}
