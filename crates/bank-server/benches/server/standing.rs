//! A running stand, and loads on it.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bank_store::DurabilityLevel::EverySecond;
use tempfile::TempDir;
use tokio::{
    runtime::{self, Runtime},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    cases::{ACCOUNTS, Generator, Load, Stand},
    messages::{Batches, Deposits, Draw, Messages, Openings, RequestIds, Spread},
    meter::{Latencies, Mark, Meter, Sample, Usage},
    process::{Redis, Server},
    raw, redis_alone, tonic_client,
};

/// How much longer than planned a load may take before it is aborted.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to open the accounts.
const OPENING_TIMEOUT: Duration = Duration::from_mins(10);
/// How accounts are opened.
const OPENING_CONNECTIONS: u64 = 8;
const OPENING_IN_FLIGHT: usize = 32;

/// How long a load runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// A stand that takes loads. It ends when this is dropped.
pub(crate) struct Standing {
    servers: Vec<Server>,
    redis: Option<Redis>,
    /// The directory of the embedded store; kept while it is used.
    _directory: TempDir,
}

impl Standing {
    /// Sets it up with this build of `bank-server`, and its files in this directory.
    pub(crate) fn start(stand: Stand, binary: &Path, directory: &Path) -> anyhow::Result<Self> {
        let own = tempfile::tempdir_in(directory)?;
        let redis = match stand {
            Stand::Redis(durability) | Stand::RedisAlone(durability) => {
                Some(Redis::start(durability, directory)?)
            }
            Stand::TwoOnRedis => Some(Redis::start(EverySecond, directory)?),
            Stand::Noop | Stand::Memory | Stand::Embedded => None,
        };
        let flags = redis.as_ref().map(Redis::flags).unwrap_or_default();
        let file = own.path().join("bank.redb").display().to_string();
        let bank = |flags: &[String]| Server::bank(binary, flags);
        let servers = match stand {
            Stand::Noop => vec![Server::noop()?],
            Stand::Memory => vec![bank(&["--store", "memory"].map(str::to_owned))?],
            Stand::Embedded => vec![bank(&["--data".to_owned(), file])?],
            Stand::Redis(_) => vec![bank(&flags)?],
            Stand::TwoOnRedis => vec![bank(&flags)?, bank(&flags)?],
            Stand::RedisAlone(_) => Vec::new(),
        };
        Ok(Self { servers, redis, _directory: own })
    }

    /// Opens so many accounts.
    pub(crate) fn open_accounts(&self, accounts: u32) -> anyhow::Result<()> {
        let next = Arc::new(AtomicU64::new(0));
        let run = next_run();
        one_thread()?.block_on(async {
            let meter = Arc::new(Meter::default());
            let mut workers = JoinSet::new();
            for worker in 0..OPENING_CONNECTIONS {
                let openings = Openings::new(Arc::clone(&next), accounts, RequestIds::new(run, worker))?;
                let address = self.address(0)?;
                workers.spawn(raw::drive(address, openings, OPENING_IN_FLIGHT, Arc::clone(&meter)));
            }
            timeout(OPENING_TIMEOUT, join(workers))
                .await
                .context("the accounts were not opened in time")??;
            ensure!(
                meter.failures() == 0 && meter.operations() == u64::from(accounts),
                "{} of {accounts} accounts could not be opened",
                meter.failures()
            );
            Ok(())
        })
    }

    /// Runs a load on it and measures.
    pub(crate) fn measure(&self, load: Load, timing: Timing) -> anyhow::Result<Sample> {
        match load {
            Load::Unary { generator: Generator::Raw, connections, in_flight, spread } => one_thread()?
                .block_on(async {
                    let meter = Arc::new(Meter::default());
                    let workers = self.raw_callers(connections, in_flight, &meter, |run, connection| {
                        deposits(run, connection, spread)
                    })?;
                    self.observe(workers, &meter, timing).await
                }),
            Load::Unary { generator: Generator::Tonic, connections, in_flight, spread } => {
                // Otherwise the calls of a single caller would move between threads.
                let runtime = if connections * in_flight == 1 { one_thread()? } else { Runtime::new()? };
                runtime.block_on(async {
                    let meter = Arc::new(Meter::default());
                    let workers = self.tonic_callers(connections, in_flight, spread, &meter).await?;
                    self.observe(workers, &meter, timing).await
                })
            }
            Load::Batches { operations, connections, in_flight } => one_thread()?.block_on(async {
                let meter = Arc::new(Meter::default());
                let workers = self.raw_callers(connections, in_flight, &meter, |run, connection| {
                    let draw = Draw::new(Spread::Uniform(ACCOUNTS), connection as u64)?;
                    Batches::new(operations, draw, RequestIds::new(run, connection as u64))
                })?;
                self.observe(workers, &meter, timing).await
            }),
            Load::Commits { proposals, in_flight, accounts } => {
                let redis = self.redis.as_ref().context("there is no Redis")?;
                let shape = redis_alone::Shape { proposals, in_flight, accounts };
                Runtime::new()?.block_on(redis_alone::measure(redis, shape, timing, || self.usage()))
            }
        }
    }

    fn raw_callers<M: Messages>(
        &self,
        connections: usize,
        in_flight: usize,
        meter: &Arc<Meter>,
        messages: impl Fn(u64, usize) -> anyhow::Result<M>,
    ) -> anyhow::Result<JoinSet<anyhow::Result<Latencies>>> {
        let run = next_run();
        let mut workers = JoinSet::new();
        for connection in 0..connections {
            let messages = messages(run, connection)?;
            workers.spawn(raw::drive(self.address(connection)?, messages, in_flight, Arc::clone(meter)));
        }
        Ok(workers)
    }

    async fn tonic_callers(
        &self,
        connections: usize,
        in_flight: usize,
        spread: Spread,
        meter: &Arc<Meter>,
    ) -> anyhow::Result<JoinSet<anyhow::Result<Latencies>>> {
        let run = next_run();
        let mut workers = JoinSet::new();
        for connection in 0..connections {
            let client = tonic_client::connect(self.address(connection)?).await?;
            for caller in 0..in_flight {
                let deposits = deposits(run, connection * in_flight + caller, spread)?;
                workers.spawn(tonic_client::drive(client.clone(), deposits, Arc::clone(meter)));
            }
        }
        Ok(workers)
    }

    /// Lets a load run for its time, and counts between its warm-up and its end.
    async fn observe(
        &self,
        workers: JoinSet<anyhow::Result<Latencies>>,
        meter: &Meter,
        timing: Timing,
    ) -> anyhow::Result<Sample> {
        let mark =
            || anyhow::Ok(Mark { at: Instant::now(), operations: meter.operations(), usage: self.usage()? });
        sleep(timing.warm_up).await;
        meter.record(true);
        let from = mark()?;
        sleep(timing.duration).await;
        let to = mark()?;
        meter.record(false);
        meter.stop();
        let latencies = timeout(PATIENCE, join(workers)).await.context("calls were not answered")??;
        if meter.failures() > 0 {
            bail!("{} calls failed", meter.failures());
        }
        Ok(Sample::between(&from, &to, latencies))
    }

    fn usage(&self) -> anyhow::Result<Usage> {
        let mut usage = Usage { server_cpu: Duration::ZERO, redis_cpu: None, server_memory_bytes: 0 };
        for server in &self.servers {
            usage.server_cpu += server.cpu()?;
            usage.server_memory_bytes += server.memory_bytes()?;
        }
        usage.redis_cpu = self.redis.as_ref().map(Redis::cpu).transpose()?;
        Ok(usage)
    }

    /// The address of the server for a connection.
    fn address(&self, connection: usize) -> anyhow::Result<SocketAddr> {
        let turn = connection % self.servers.len().max(1);
        Ok(self.servers.get(turn).context("there is no server")?.address)
    }
}

fn deposits(run: u64, worker: usize, spread: Spread) -> anyhow::Result<Deposits> {
    let worker = worker as u64;
    Deposits::new(Draw::new(spread, worker)?, RequestIds::new(run, worker))
}

/// Distinguishes the request ids of one measurement from all others.
fn next_run() -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    RUNS.fetch_add(1, Relaxed)
}

fn one_thread() -> anyhow::Result<Runtime> {
    Ok(runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Waits for all workers.
async fn join(mut workers: JoinSet<anyhow::Result<Latencies>>) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    while let Some(worker) = workers.join_next().await {
        latencies.merge(worker??);
    }
    Ok(latencies)
}
