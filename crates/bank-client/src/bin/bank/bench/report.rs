//! The results of a load test.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use clap::ValueEnum as _;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

use crate::{args::Bench, table, text::Text};

/// The longest latency that is told apart from longer ones: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// How many significant digits of a latency are kept.
const DIGITS: u8 = 3;

/// The counts of one connection, or of all.
pub(super) struct Tally {
    /// Operations that were carried out.
    pub(super) operations: u64,
    /// The latency of calls that were answered.
    latencies_ns: Histogram<u64>,
    /// The number of failed operations by reason.
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
    pub(super) fn answered(&mut self, took: Duration, at: Instant) {
        self.latencies_ns.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.last_at = self.last_at.max(Some(at));
    }

    pub(super) fn failed(&mut self, reason: &'static str, operations: u64) {
        *self.errors.entry(reason).or_default() += operations;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.operations += other.operations;
        // Both have the same bounds, so this cannot fail.
        let _ = self.latencies_ns.add(&other.latencies_ns);
        for (reason, count) in &other.errors {
            self.failed(reason, *count);
        }
        self.last_at = self.last_at.max(other.last_at);
    }

    fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latencies_ns.value_at_quantile(quantile))
    }

    fn latency_max(&self) -> Duration {
        Duration::from_nanos(self.latencies_ns.max())
    }
}

/// The numbers of booked operations, including those of the warm-up.
#[derive(Default)]
pub(super) struct Booked {
    pub(super) deposits: AtomicU64,
    pub(super) withdrawals: AtomicU64,
    pub(super) transfers: AtomicU64,
}

pub(super) struct Report<'a> {
    pub(super) args: &'a Bench,
    /// The operations that were due after the warm-up.
    pub(super) tally: Tally,
    pub(super) measured_from: Instant,
    /// The number of operations that were due at a fixed rate and were not started.
    pub(super) not_started: u64,
    /// The settings of the server that limited the load, with their values.
    pub(super) limited_by: Vec<String>,
    pub(super) booked: &'a Booked,
}

impl Report<'_> {
    fn op(&self) -> String {
        self.args.op.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// From the end of the warm-up to the last reply.
    fn took(&self) -> Duration {
        self.tally.last_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.measured_from))
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn operations_per_second(&self) -> f64 {
        let took = self.took();
        if took.is_zero() { 0.0 } else { self.tally.operations as f64 / took.as_secs_f64() }
    }

    pub(super) fn table(&self) -> Text {
        let Self { args, tally, .. } = self;
        let batches = if args.batch > 1 { format!(" in batches of {}", args.batch) } else { String::new() };
        let rate = args.rate.map(|rate| format!(", {rate}/s")).unwrap_or_default();
        let load = format!(
            "{}{batches}, {} connections, {} in flight on each{rate}",
            self.op(),
            args.connections,
            args.inflight
        );
        let ms = |latency: Duration| format!("{:.3} ms", latency.as_secs_f64() * 1e3);
        let facts = table::facts([
            ("Load", load),
            ("Accounts", format!("{}, skew {}", args.accounts, args.skew)),
            ("Operations", format!("{} in {:.3} s", tally.operations, self.took().as_secs_f64())),
            ("Throughput", format!("{:.1}/s", self.operations_per_second())),
            ("Latency p50", ms(tally.latency(0.5))),
            ("Latency p90", ms(tally.latency(0.9))),
            ("Latency p99", ms(tally.latency(0.99))),
            ("Latency p99.9", ms(tally.latency(0.999))),
            ("Latency max", ms(tally.latency_max())),
            ("Not started", args.rate.map(|_| self.not_started.to_string()).unwrap_or_default()),
            ("Limited by", self.limited_by.join(", ")),
            ("Errors", tally.errors.values().sum::<u64>().to_string()),
        ]);
        let errors = tally.errors.iter().map(|(reason, count)| (*reason, count));
        Text::stack([facts, table::reasons("COUNT", errors)])
    }

    pub(super) fn json(&self) -> impl Serialize {
        let Self { args, tally, booked, .. } = self;
        let us = |latency: Duration| latency.as_secs_f64() * 1e6;
        let count = |count: &AtomicU64| count.load(Relaxed);
        json!({
            "op": self.op(),
            "connections": args.connections,
            "inflight": args.inflight,
            "accounts": args.accounts,
            "skew": args.skew,
            "batch": args.batch,
            "rate": args.rate,
            "operations": tally.operations,
            "seconds": self.took().as_secs_f64(),
            "operations_per_second": self.operations_per_second(),
            "latency_us": {
                "p50": us(tally.latency(0.5)),
                "p90": us(tally.latency(0.9)),
                "p99": us(tally.latency(0.99)),
                "p99.9": us(tally.latency(0.999)),
                "max": us(tally.latency_max()),
            },
            "errors": tally.errors,
            "never_begun": self.not_started,
            "limited_by": self.limited_by,
            "booked": {
                "deposits": count(&booked.deposits),
                "withdrawals": count(&booked.withdrawals),
                "transfers": count(&booked.transfers),
            },
        })
    }
}
