//! Rounds of one fault under one workload, and what is to be true after each.

use std::{
    env,
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

/// Says how many rounds of each fault to run; few of them, unless it is set.
const ROUNDS_VARIABLE: &str = "BANK_FAULT_ROUNDS";
const ROUNDS_QUICK: usize = 2;

/// How many movements each server acknowledges before a fault, and after it.
const ACKNOWLEDGED_MIN: usize = 25;
/// How soon after a fault is over each server must acknowledge movements that were asked for then. Far more
/// than it takes: only one that does not come back by itself needs as long.
const BACK_WITHIN: Duration = Duration::from_secs(20);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Rounds of a fault.
pub(crate) struct Trial {
    fault: &'static str,
    seed: u64,
    rounds: usize,
    endpoints: Vec<String>,
    recorder: Arc<Recorder>,
    began: Instant,
    returns: Vec<Duration>,
}

impl Trial {
    /// Opens accounts on the servers of a bank.
    pub(crate) async fn begin(fault: &'static str, servers: &[&Bank]) -> Self {
        let seed = seed_from_environment();
        let rounds = env::var(ROUNDS_VARIABLE).map_or(ROUNDS_QUICK, |rounds| {
            rounds.parse().unwrap_or_else(|_| panic!("{ROUNDS_VARIABLE} is not a number: {rounds:?}"))
        });
        println!("{fault}: BANK_TEST_SEED={seed}, {rounds} rounds");
        let trial = Self {
            fault,
            seed,
            rounds,
            endpoints: servers.iter().map(|server| server.endpoint()).collect(),
            recorder: Arc::new(Recorder::begin()),
            began: Instant::now(),
            returns: Vec::new(),
        };
        open_accounts(&trial.recorder, &trial.endpoints[0]).await;
        trial
    }

    /// Runs the rounds. In each the fault comes while tellers are at work, and is over when `fault`
    /// returns. Its argument is for what differs from round to round.
    ///
    /// After each round the servers are back by themselves, and the checker passes on all that has
    /// happened since the beginning: nothing acknowledged is lost, and nothing is applied twice.
    pub(crate) async fn run(mut self, mut fault: impl AsyncFnMut(&mut StdRng)) {
        let mut findings = Findings::default();
        for round in 0..self.rounds {
            let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(round as u64));
            let tellers = Tellers::start(&self.recorder, &self.endpoints, random.random());
            self.all_serve_since(self.recorder.now()).await;
            sleep(Duration::from_millis(random.random_range(0..100))).await;
            fault(&mut random).await;
            let over = self.recorder.now();
            self.all_serve_since(over).await;
            self.returns.push(self.recorder.now() - over);
            tellers.stop().await;
            findings = self.check(round).await;
        }
        let mean = self.returns.iter().sum::<Duration>() / u32::try_from(self.returns.len()).unwrap();
        let longest = self.returns.iter().max().unwrap();
        println!(
            "{}: {} rounds in {:.1?}, nothing lost, nothing done twice; back after {mean:.0?}, {longest:.0?} at \
             most; {findings}",
            self.fault,
            self.rounds,
            self.began.elapsed(),
        );
    }

    /// Waits until every server has acknowledged movements that were asked for after a time.
    async fn all_serve_since(&self, time: Duration) {
        for server in 0..self.endpoints.len() {
            while self.recorder.acknowledged_since(server, time) < ACKNOWLEDGED_MIN {
                let waited = self.recorder.now() - time;
                assert!(waited < BACK_WITHIN, "{}: server {server} is not back after {waited:?}", self.fault);
                sleep(PAUSE).await;
            }
        }
    }

    async fn check(&self, round: usize) -> Findings {
        let books = books::read(&self.recorder, &self.endpoints[0]).await;
        checker::check(&self.recorder.operations(), &books).unwrap_or_else(|violations| {
            panic!("{}, seed {}, round {round}: {violations:?}", self.fault, self.seed)
        })
    }
}
