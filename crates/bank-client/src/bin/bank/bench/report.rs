//! What came of a load.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use clap::ValueEnum as _;
use hdrhistogram::Histogram;

use super::{
    load::{Answer, Booked},
    pace::Pace,
};
use crate::args::{Bench, Op};

/// The longest latency that is told apart from longer ones, in nanoseconds: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// How many digits of a latency are kept.
const DIGITS: u8 = 3;

/// Counts the operations of one connection.
pub(super) struct Tally {
    operations: u64,
    /// Of calls.
    latencies_ns: Histogram<u64>,
    errors: BTreeMap<&'static str, u64>,
    last_at: Option<Instant>,
}

impl Default for Tally {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are fixed")]
        let latencies_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("valid bounds");
        Self { operations: 0, latencies_ns, errors: BTreeMap::new(), last_at: None }
    }
}

impl Tally {
    pub(super) fn answered(&mut self, answer: &Answer, took: Duration, at: Instant) {
        self.operations += answer.operations;
        for reason in &answer.failed {
            self.failed(reason, 1);
        }
        self.latencies_ns.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.last_at = self.last_at.max(Some(at));
    }

    pub(super) fn failed(&mut self, reason: &'static str, operations: u64) {
        *self.errors.entry(reason).or_default() += operations;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.operations += other.operations;
        // Both have the same bounds.
        let _ = self.latencies_ns.add(&other.latencies_ns);
        for (reason, count) in &other.errors {
            *self.errors.entry(reason).or_default() += count;
        }
        self.last_at = self.last_at.max(other.last_at);
    }
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) op: Op,
    pub(crate) connections: u16,
    pub(crate) in_flight: u16,
    pub(crate) accounts: u32,
    pub(crate) skew: f64,
    pub(crate) batch: u32,
    pub(crate) rate: Option<u32>,
    /// From the end of the warm-up to the last reply.
    pub(crate) took: Duration,
    /// That were carried out, of those that fell due after the warm-up.
    pub(crate) operations: u64,
    /// How long calls took, of those that were answered.
    pub(crate) p50: Duration,
    pub(crate) p90: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
    pub(crate) max: Duration,
    /// How many of those failed, by their reason.
    pub(crate) errors: BTreeMap<&'static str, u64>,
    /// How many fell due, at a fixed rate, and were never begun.
    pub(crate) never_begun: u64,
    /// The settings of the server that kept the load from being larger, with their values.
    pub(crate) limited_by: Vec<String>,
    /// What was booked in all, in the warm-up too.
    pub(crate) deposits: u64,
    pub(crate) withdrawals: u64,
    pub(crate) transfers: u64,
}

impl Report {
    pub(super) fn new(
        args: &Bench,
        tally: &Tally,
        pace: &Pace,
        booked: &Booked,
        limited_by: Vec<String>,
    ) -> Self {
        let measured_from = pace.began_at() + args.warm_up;
        let latency = |quantile| Duration::from_nanos(tally.latencies_ns.value_at_quantile(quantile));
        let count = |count: &AtomicU64| count.load(Relaxed);
        Self {
            op: args.op,
            connections: args.connections,
            in_flight: args.inflight,
            accounts: args.accounts,
            skew: args.skew,
            batch: args.batch,
            rate: args.rate,
            took: tally.last_at.unwrap_or(measured_from).saturating_duration_since(measured_from),
            operations: tally.operations,
            p50: latency(0.5),
            p90: latency(0.9),
            p99: latency(0.99),
            p999: latency(0.999),
            max: Duration::from_nanos(tally.latencies_ns.max()),
            errors: tally.errors.clone(),
            never_begun: pace.never_begun() * u64::from(args.batch),
            limited_by,
            deposits: count(&booked.deposits),
            withdrawals: count(&booked.withdrawals),
            transfers: count(&booked.transfers),
        }
    }

    /// As the command line spells it.
    pub(crate) fn op(&self) -> String {
        self.op.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(crate) fn operations_per_second(&self) -> f64 {
        if self.took.is_zero() { 0.0 } else { self.operations as f64 / self.took.as_secs_f64() }
    }
}
