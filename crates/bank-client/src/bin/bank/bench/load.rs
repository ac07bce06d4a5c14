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
    report::{Booked, Report, Tally},
};
use crate::args::{Bench, Op};

/// The amount of each operation.
const CENT: Money = Money { currency: CURRENCY, minor_units: 1 };
/// How long a caller pauses after an error, if the bank does not say how long. Otherwise errors that come at once would
/// be most of what is measured.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Load {
    args: Bench,
    zipf: Option<Zipf<f64>>,
    limits: Limits,
    booked: Booked,
}

/// One operation. `op` is not [`Op::Mixed`].
struct Draw {
    op: Op,
    account: u32,
    /// The destination of a transfer.
    to: u32,
}

/// The reasons of operations that failed in a call that was answered.
type Failed = Vec<&'static str>;

impl Load {
    pub(super) fn new(args: Bench, limits: Limits) -> Self {
        let zipf = Zipf::new(args.accounts.into(), args.skew).ok().filter(|_| args.skew > 0.0);
        Self { args, zipf, limits, booked: Booked::default() }
    }

    /// Runs the callers of each connection until the load ends.
    pub(super) async fn run(self: &Arc<Self>, clients: Vec<BankClient>) -> Report<'_> {
        let measured = Duration::from_secs(self.args.seconds.into());
        let pace = Arc::new(Pace::begin(self.args.rate, self.args.batch, self.args.warm_up + measured));
        let mut tallies = Vec::with_capacity(clients.len());
        let mut callers = JoinSet::new();
        for client in clients {
            let tally = Arc::new(Mutex::new(Tally::default()));
            for _ in 0..self.args.inflight {
                let (load, client, pace) = (Arc::clone(self), client.clone(), Arc::clone(&pace));
                let tally = Arc::clone(&tally);
                callers.spawn(async move { load.call_repeatedly(&client, &pace, &tally).await });
            }
            tallies.push(tally);
        }
        callers.join_all().await;
        let mut total = Tally::default();
        for tally in tallies {
            total.merge(&tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Report {
            args: &self.args,
            tally: total,
            measured_from: pace.began_at + self.args.warm_up,
            not_started: pace.not_started() * u64::from(self.args.batch),
            limited_by: self.limits.reached(),
            booked: &self.booked,
        }
    }

    async fn call_repeatedly(&self, client: &BankClient, pace: &Pace, tally: &Mutex<Tally>) {
        let measured_from = pace.began_at + self.args.warm_up;
        while let Some(mut due_at) = pace.next().await {
            let _permit = self.limits.permit().await;
            // At a fixed rate, rejections of a rate that is too high are measured.
            if self.args.rate.is_none() {
                if !self.limits.turn(self.args.batch, Some(pace.ends_at)).await {
                    break;
                }
                due_at = Instant::now();
            }
            let result = if self.args.batch > 1 {
                self.call_batch(client).await
            } else {
                self.call(client).await.map(|()| Failed::new())
            };
            let now = Instant::now();
            if due_at >= measured_from {
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                match &result {
                    Ok(failed) => {
                        tally.operations += u64::from(self.args.batch) - failed.len() as u64;
                        tally.answered(now - due_at, now);
                        for reason in failed {
                            tally.failed(reason, 1);
                        }
                    }
                    Err(error) => tally.failed(error.reason(), self.args.batch.into()),
                }
            }
            if let Err(error) = result {
                sleep(error.retry_after().unwrap_or(PAUSE)).await;
            }
        }
    }

    async fn call(&self, client: &BankClient) -> Result<(), Error> {
        let Draw { op, account, to } = self.draw(&mut rand::rng());
        let account = account_id(account);
        match op {
            Op::Deposit => drop(client.deposit(account, CENT).await?),
            Op::Withdraw => drop(client.withdraw(account, CENT).await?),
            Op::Transfer => drop(client.transfer(Route { from: account, to: account_id(to) }, CENT).await?),
            Op::Balance | Op::Mixed => drop(client.balance(account).await?),
        }
        self.count(op);
        Ok(())
    }

    async fn call_batch(&self, client: &BankClient) -> Result<Failed, Error> {
        let mut ops = Vec::new();
        let mut batch = client.batch().brief();
        for _ in 0..self.args.batch {
            let Draw { op, account, to } = self.draw(&mut rand::rng());
            let account = account_id(account);
            batch = match op {
                Op::Deposit => batch.add(client.deposit(account, CENT)),
                Op::Withdraw => batch.add(client.withdraw(account, CENT)),
                Op::Transfer => batch.add(client.transfer(Route { from: account, to: account_id(to) }, CENT)),
                // A batch has no balances, and the command line allows none.
                Op::Balance | Op::Mixed => continue,
            };
            ops.push(op);
        }
        let mut failed = Failed::new();
        for (result, op) in batch.await?.into_iter().zip(ops) {
            match result {
                Ok(_) => self.count(op),
                Err(error) => failed.push(error.reason()),
            }
        }
        Ok(failed)
    }

    fn count(&self, op: Op) {
        let count: &AtomicU64 = match op {
            Op::Deposit => &self.booked.deposits,
            Op::Withdraw => &self.booked.withdrawals,
            Op::Transfer => &self.booked.transfers,
            Op::Balance | Op::Mixed => return,
        };
        count.fetch_add(1, Relaxed);
    }

    fn draw(&self, random: &mut impl Rng) -> Draw {
        let op = match self.args.op {
            Op::Mixed => match random.random_range(0..10) {
                0..3 => Op::Deposit,
                3..5 => Op::Withdraw,
                5..7 => Op::Transfer,
                _ => Op::Balance,
            },
            op => op,
        };
        let account = self.draw_account(random);
        let mut to = account;
        if op == Op::Transfer {
            to = self.draw_account(random);
            if to == account {
                to = (account + 1) % self.args.accounts;
            }
        }
        Draw { op, account, to }
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
