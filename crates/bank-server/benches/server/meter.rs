//! The counters of a running load, and its results.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use serde::Serialize;

/// How long each call took, in nanoseconds, up to four seconds.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The latencies below which each of these shares of the calls stayed, in microseconds.
    fn quantiles<const N: usize>(mut self, shares: [f64; N]) -> [f64; N] {
        self.0.sort_unstable();
        shares.map(|share| {
            let rank = (self.0.len() as f64 * share) as usize;
            let nanoseconds = self.0.get(rank.min(self.0.len().saturating_sub(1)));
            nanoseconds.map_or(f64::NAN, |&nanoseconds| f64::from(nanoseconds) / 1e3)
        })
    }
}

/// Shared by all that makes calls in one measurement.
#[derive(Default)]
pub(crate) struct Meter {
    operations: AtomicU64,
    failed: AtomicU64,
    recording: AtomicBool,
    stopping: AtomicBool,
}

impl Meter {
    /// A call was answered, for so many operations.
    pub(crate) fn done(&self, operations: u64, took: Duration, latencies: &mut Latencies) {
        self.operations.fetch_add(operations, Relaxed);
        if self.recording.load(Relaxed) {
            latencies.0.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Relaxed)
    }

    pub(crate) fn record(&self, recording: bool) {
        self.recording.store(recording, Relaxed);
    }

    /// Calls in flight are finished, and no others are made.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }
}

/// What processes have used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) server_cpu: Duration,
    pub(crate) redis_cpu: Option<Duration>,
    pub(crate) server_memory_bytes: u64,
}

/// The beginning or the end of a measurement.
pub(crate) struct Mark {
    pub(crate) at: Instant,
    pub(crate) operations: u64,
    pub(crate) usage: Usage,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) operations: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// Processor time for each operation.
    pub(crate) server_cpu_us: f64,
    /// The same of Redis.
    pub(crate) redis_cpu_us: Option<f64>,
    /// The server's memory at the end, as a multiple of that at the beginning.
    pub(crate) server_memory_growth: f64,
}

impl Sample {
    pub(crate) fn between(from: &Mark, to: &Mark, latencies: Latencies) -> Self {
        let operations = to.operations - from.operations;
        let each = |total: f64| total / operations as f64;
        let cpu_us = |from: Duration, to: Duration| each(to.saturating_sub(from).as_secs_f64() * 1e6);
        let [p50_us, p99_us, p999_us, max_us] = latencies.quantiles([0.5, 0.99, 0.999, 1.0]);
        Self {
            operations,
            per_second: operations as f64 / (to.at - from.at).as_secs_f64(),
            p50_us,
            p99_us,
            p999_us,
            max_us,
            server_cpu_us: cpu_us(from.usage.server_cpu, to.usage.server_cpu),
            redis_cpu_us: from.usage.redis_cpu.zip(to.usage.redis_cpu).map(|(from, to)| cpu_us(from, to)),
            server_memory_growth: to.usage.server_memory_bytes as f64 / from.usage.server_memory_bytes as f64,
        }
    }

    /// Processor time of everything but the generator.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.server_cpu_us + self.redis_cpu_us.unwrap_or_default()
    }
}
