//! The limit that Redis sets: commits of the store at full load, without a server. The proposals
//! are decided in advance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bank_domain::AccountId;
use bank_store::{
    Outcome, Proposal, RedisStore, Store,
    conformance::{
        Bank,
        commands::{deposit, named, open},
    },
    redis::RedisOptions,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::JoinSet, time::timeout};
use uuid::Uuid;

use crate::{
    meter::{Latencies, Mark, Meter, Sample, Usage},
    process::Redis,
    standing::Timing,
};

/// How many proposals are decided in advance for each second: about as many as Redis accepts in one.
const PROPOSALS_PER_SECOND: f64 = 60_000.0;
/// How long all of them may take.
const TIMEOUT: Duration = Duration::from_mins(2);
/// How many accounts are opened in one commit.
const OPENED_TOGETHER: usize = 100;

/// How commits are made.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// How many proposals each has.
    pub(crate) proposals: usize,
    /// How many are in flight at a time, each from a worker with its own accounts.
    pub(crate) in_flight: usize,
    /// How many accounts each worker has.
    pub(crate) accounts: u32,
}

pub(crate) async fn measure(
    redis: &Redis,
    shape: Shape,
    timing: Timing,
    usage: impl Fn() -> anyhow::Result<Usage>,
) -> anyhow::Result<Sample> {
    let options = RedisOptions { url: redis.url(), durability: redis.durability, ..RedisOptions::default() };
    let bank = Bank::new(Arc::new(RedisStore::connect(&options).await?));
    let meter = Arc::new(Meter::default());
    let mark = || anyhow::Ok(Mark { at: Instant::now(), operations: meter.operations(), usage: usage()? });

    let mut commits = Vec::with_capacity(shape.in_flight);
    for worker in 0..shape.in_flight {
        commits.push(decide(&bank, worker, shape, timing.duration).await);
    }
    // The warm-up has the same shape, and the same accounts: it comes first.
    let warm_up = timing.warm_up.as_secs_f64() / (timing.warm_up + timing.duration).as_secs_f64();
    let first = commits.iter_mut().map(|all| all.drain(..(all.len() as f64 * warm_up) as usize).collect());
    run(&bank, first.collect(), &meter).await?;
    meter.record(true);
    let from = mark()?;
    let latencies = run(&bank, commits, &meter).await?;
    let sample = Sample::between(&from, &mark()?, latencies);
    bank.store().close().await;
    Ok(sample)
}

/// Opens the accounts of a worker, and decides all its deposits: in order, each on what those before
/// it leave.
async fn decide(bank: &Bank, worker: usize, shape: Shape, duration: Duration) -> Vec<Vec<Proposal>> {
    let ids: Vec<String> =
        (0..shape.accounts).map(|number| format!("bench-{worker:02}-{number:04}")).collect();
    let ids_parsed: Vec<AccountId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    let mut view = bank.view_of(&ids_parsed).await;
    let openings: Vec<_> = ids.iter().filter(|id| view.account(id).is_none()).map(String::as_str).collect();
    let openings: Vec<_> = openings.into_iter().map(|id| view.propose(open(id))).collect();
    for some in openings.chunks(OPENED_TOGETHER) {
        bank.commit(some).await;
    }
    let count = PROPOSALS_PER_SECOND * duration.as_secs_f64() / (shape.in_flight * shape.proposals) as f64;
    let mut random = StdRng::seed_from_u64(worker as u64);
    let mut next = || {
        let id = &ids[random.random_range(0..ids.len())];
        view.propose(named(&Uuid::now_v7().to_string(), deposit(id, 1)))
    };
    (0..count.ceil() as usize).map(|_| (0..shape.proposals).map(|_| next()).collect()).collect()
}

async fn run(bank: &Bank, commits: Vec<Vec<Vec<Proposal>>>, meter: &Arc<Meter>) -> anyhow::Result<Latencies> {
    let mut workers = JoinSet::new();
    for commits in commits {
        workers.spawn(commit_all(Arc::clone(bank.store()), commits, Arc::clone(meter)));
    }
    let mut latencies = Latencies::default();
    let all = async {
        while let Some(worker) = workers.join_next().await {
            latencies.merge(worker??);
        }
        anyhow::Ok(latencies)
    };
    timeout(TIMEOUT, all).await.context("the commits were not done in time")?
}

async fn commit_all(
    store: Arc<dyn Store>,
    commits: Vec<Vec<Proposal>>,
    meter: Arc<Meter>,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    for proposals in commits {
        let sent_at = Instant::now();
        let committed = store.commit(&proposals).await?;
        let applied = committed.outcomes.iter().all(|outcome| *outcome == Outcome::Applied);
        ensure!(applied, "a proposal was not applied: {:?}", committed.outcomes);
        meter.done(proposals.len() as u64, sent_at.elapsed(), &mut latencies);
    }
    Ok(latencies)
}
