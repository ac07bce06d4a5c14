//! Rounds of one fault under one workload, and what must hold after each.

use std::{
    env,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use bank_store::conformance::seed_from_environment;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    support::Bank,
    workload::{
        Recorder, Tellers, books,
        checker::{self, Findings},
        open_accounts,
    },
};

/// The variable with the number of rounds of each fault.
const ROUNDS_VARIABLE: &str = "BANK_FAULT_ROUNDS";
const ROUNDS_QUICK: usize = 2;

/// How many movements each server acknowledges before a fault, and after it.
const ACKNOWLEDGED_MIN: usize = 30;
/// How much longer tellers work before a fault at most, so that it comes at any moment.
const LEAD_MS_MAX: u64 = 100;
/// How soon after a fault is over each server must acknowledge movements that were asked for then. Far more
/// than it takes: only one that does not come back by itself needs as long.
const BACK_WITHIN: Duration = Duration::from_mins(1);
/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for a random time of at most so many milliseconds.
pub(crate) async fn up_to_ms(random: &mut StdRng, most: u64) {
    sleep(Duration::from_millis(random.random_range(0..=most))).await;
}

/// Rounds of a fault.
pub(crate) struct Trial {
    fault: &'static str,
    seed: u64,
    rounds: usize,
    endpoints: Vec<String>,
    recorder: Arc<Recorder>,
    began: Instant,
}

impl Trial {
    /// Opens accounts on the servers of a bank.
    pub(crate) async fn begin(fault: &'static str, servers: &[&Bank]) -> Self {
        let seed = seed_from_environment();
        let rounds = env::var(ROUNDS_VARIABLE).map_or(ROUNDS_QUICK, |rounds| {
            rounds.parse::<NonZeroUsize>().map_or_else(
                |_| panic!("{ROUNDS_VARIABLE} is not a number from 1: {rounds:?}"),
                NonZeroUsize::get,
            )
        });
        println!("{fault}: BANK_TEST_SEED={seed}, {rounds} rounds");
        let trial = Self {
            fault,
            seed,
            rounds,
            endpoints: servers.iter().map(|server| server.endpoint()).collect(),
            recorder: Arc::new(Recorder::begin()),
            began: Instant::now(),
        };
        open_accounts(&trial.recorder, &trial.endpoints[0]).await;
        trial
    }

    /// Runs the rounds. In each the fault comes while tellers are at work, as often as `fault` returns,
    /// and is over then. Its argument is for what differs from round to round.
    ///
    /// After each round the servers are back by themselves, the checker passes on all that has happened
    /// since the beginning (nothing acknowledged is lost, and nothing is applied twice), and so does
    /// the bank's own audit.
    pub(crate) async fn run(self, mut fault: impl AsyncFnMut(&mut StdRng) -> usize) {
        let (mut faults, mut returns, mut findings) = (0, Vec::new(), Findings::default());
        for round in 0..self.rounds {
            let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(round as u64));
            let tellers = Tellers::start(&self.recorder, &self.endpoints, random.random());
            self.all_serve_since(self.recorder.now()).await;
            up_to_ms(&mut random, LEAD_MS_MAX).await;
            faults += fault(&mut random).await;
            let over = Instant::now();
            self.all_serve_since(self.recorder.now()).await;
            returns.push(over.elapsed());
            tellers.stop().await;
            findings = self.check(round).await;
        }
        returns.sort_unstable();
        println!(
            "{}: {} rounds, {faults} faults, {:.1?}; 0 lost, 0 done twice; all back after {:.0?}, {:.0?} at most; {findings}",
            self.fault,
            self.rounds,
            self.began.elapsed(),
            returns[returns.len() / 2],
            returns[returns.len() - 1],
        );
    }

    /// Waits until every server has acknowledged movements that were asked for after a time.
    async fn all_serve_since(&self, time: Duration) {
        let give_up_at = Instant::now() + BACK_WITHIN;
        for server in 0..self.endpoints.len() {
            while self.recorder.acknowledged_since(server, time) < ACKNOWLEDGED_MIN {
                let is_late = Instant::now() > give_up_at;
                assert!(!is_late, "{}: server {server} is not back within {BACK_WITHIN:?}", self.fault);
                sleep(PAUSE).await;
            }
        }
    }

    async fn check(&self, round: usize) -> Findings {
        let books = books::read(&self.recorder, &self.endpoints[0]).await;
        assert_eq!(books::audit(&self.endpoints[0]).await, []);
        checker::check(&self.recorder.operations(), &books).unwrap_or_else(|violations| {
            panic!("{}, seed {}, round {round}: {violations:?}", self.fault, self.seed)
        })
    }
}
