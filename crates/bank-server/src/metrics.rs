//! Metrics in the text format of Prometheus.
//!
//! `docs/metrics.md` explains each metric; a test compares the two. No label names an account, a caller or a request:
//! their number has no bound.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use bank_store::{Durability, clock::Reading};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector, process_collector::ProcessCollector,
};
use tonic::Code;

use crate::auth::Method;

/// The content type of the text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Buckets from a tenth of a millisecond, which a commit in memory takes, to ten seconds, the default of
/// `ledger.outcome_timeout_ms`.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets up to the largest batch that can be configured.
const COMMANDS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0, 2500.0, 10_000.0];

/// All metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    /// The metrics of each method, in the order of the methods: looking one up by its labels takes longer.
    of_methods: [OfMethod; Method::ALL.len()],
    calls_in_flight: IntGauge,
    queue_commands: IntGauge,
    queue_seconds: Histogram,
    batch_commands: Histogram,
    commit_seconds: Histogram,
    commit_resends: IntCounter,
    /// In the order of [`CommandOutcome`].
    commands: [IntCounter; CommandOutcome::ALL.len()],
    operations: Histogram,
    operation_results: IntCounterVec,
    store_up: IntGauge,
    clock_right: IntGauge,
    clock_offset_seconds: Gauge,
    store_reconnects: IntCounter,
    durability: IntGaugeVec,
    durability_given: IntGauge,
    /// Without labels, and without a value until there is one: 0 would be wrong.
    accounts: IntGaugeVec,
    lost_entries: IntCounter,
    watches_open: IntGauge,
}

/// The metrics of one method, from its first call on.
#[derive(Debug, Default)]
struct OfMethod {
    done: OnceLock<IntCounter>,
    seconds: OnceLock<Histogram>,
}

/// The outcome of a command, as `bank_commands_total` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Carried out.
    Applied,
    /// Rejected by a rule of the bank.
    Rejected,
    /// The outcome of an earlier call with the same request id.
    Replayed,
    /// Decided on an outdated state; it is decided again.
    Conflict,
    /// Not carried out: the deadline passed, the store was unavailable, the request id was in use.
    Failed,
    /// It may have been carried out.
    Unknown,
}

impl CommandOutcome {
    const ALL: [Self; 6] =
        [Self::Applied, Self::Rejected, Self::Replayed, Self::Conflict, Self::Failed, Self::Unknown];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "refused",
            Self::Replayed => "replayed",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Errors
    /// If two metrics have the same name, or a name is invalid.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let register = Register { registry: &registry };
        let build =
            register.gauges("bank_build_info", "Always 1; the label is the version.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let commands = register.counters("bank_commands_total", "Commands by outcome.", &["outcome"])?;
        // A counter that is there from the start shows its first increment.
        let commands = CommandOutcome::ALL.map(|outcome| commands.with_label_values(&[outcome.as_str()]));
        let operation_results = register.counters(
            "bank_batch_results_total",
            "Operations of batches by gRPC code.",
            &["code"],
        )?;
        // It is there before the first batch.
        operation_results.with_label_values(&[format!("{:?}", Code::Ok)]);
        let metrics = Self {
            calls: register.counters(
                "bank_calls_total",
                "Finished calls by method and gRPC code.",
                &["method", "code"],
            )?,
            call_seconds: register.add(HistogramVec::new(
                HistogramOpts::new(
                    "bank_call_duration_seconds",
                    "Time from the headers of a call to the end of its reply.",
                )
                .buckets(SECONDS.to_vec()),
                &["method"],
            )?)?,
            of_methods: std::array::from_fn(|_| OfMethod::default()),
            calls_in_flight: register.gauge("bank_calls_in_flight", "Calls in flight.")?,
            queue_commands: register
                .gauge("bank_queue_commands", "Commands in the queues of the sequencers.")?,
            queue_seconds: register.histogram(
                "bank_queue_wait_seconds",
                "Time that commands spent in a queue.",
                &SECONDS,
            )?,
            batch_commands: register.histogram("bank_batch_commands", "Commands per commit.", &COMMANDS)?,
            commit_seconds: register.histogram(
                "bank_commit_duration_seconds",
                "Duration of a commit in the store, including resends.",
                &SECONDS,
            )?,
            commit_resends: register.counter(
                "bank_commit_resends_total",
                "Commits sent again because their outcome was unknown.",
            )?,
            commands,
            operations: register.histogram(
                "bank_batch_operations",
                "Operations per batch that callers sent.",
                &COMMANDS,
            )?,
            operation_results,
            clock_right: register.gauge(
                "bank_clock_right",
                "1 while the clock of this server is within its limit, otherwise 0.",
            )?,
            clock_offset_seconds: register.decimal_gauge(
                "bank_clock_offset_seconds",
                "How far the clock of this server is ahead of the expected time.",
            )?,
            store_up: register.gauge("bank_store_up", "1 while the store takes commits, otherwise 0.")?,
            store_reconnects: register
                .counter("bank_store_reconnects_total", "Reconnections to the store.")?,
            durability: register.gauges(
                "bank_durability_info",
                "Always 1; the labels are the promised durability of an acknowledged write.",
                &["level", "replicas"],
            )?,
            durability_given: register.gauge(
                "bank_durability_given",
                "1 while the store is known to keep the promised durability, otherwise 0.",
            )?,
            accounts: register.gauges("bank_accounts", "Number of accounts.", &[])?,
            lost_entries: register.counter(
                "bank_lost_entries_total",
                "Acknowledged entries that were found to be lost, at least.",
            )?,
            watches_open: register.gauge("bank_watches_open", "Open watches.")?,
            registry,
        };
        metrics.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// The current values as text.
    ///
    /// # Errors
    /// If a metric cannot be encoded.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// A call has begun.
    pub(crate) fn call_began(&self) {
        self.calls_in_flight.inc();
    }

    /// A call has ended. There is no method if the caller named one that does not exist.
    pub(crate) fn call_ended(&self, method: Option<Method>, code: Code, took: Duration) {
        self.calls_in_flight.dec();
        // Unknown methods share one label.
        let name = method.map_or("other", Method::name);
        let known = method.and_then(|method| self.of_methods.get(method as usize));
        let ended = |code: Code| self.calls.with_label_values(&[name, &format!("{code:?}")]);
        let seconds = || self.call_seconds.with_label_values(&[name]);
        match known.filter(|_| code == Code::Ok) {
            Some(known) => known.done.get_or_init(|| ended(code)).inc(),
            None => ended(code).inc(),
        }
        match known {
            Some(known) => known.seconds.get_or_init(seconds).observe(took.as_secs_f64()),
            None => seconds().observe(took.as_secs_f64()),
        }
    }

    /// A command was queued.
    pub(crate) fn commands_queued(&self, count: usize) {
        self.queue_commands.add(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A command was taken out of its queue.
    pub(crate) fn command_taken(&self, waited: Duration) {
        self.queue_commands.dec();
        self.queue_seconds.observe(waited.as_secs_f64());
    }

    /// A command has an outcome.
    pub(crate) fn command_ended(&self, outcome: CommandOutcome) {
        self.commands[outcome as usize].inc();
    }

    /// A batch was answered; `codes` says how many operations ended with which code.
    #[expect(clippy::cast_precision_loss, reason = "batches are far below 2^52 operations")]
    pub(crate) fn batch_ended(&self, operations: usize, codes: &BTreeMap<i32, u64>) {
        self.operations.observe(operations as f64);
        for (&code, &count) in codes {
            self.operation_results.with_label_values(&[format!("{:?}", Code::from(code))]).inc_by(count);
        }
    }

    /// A commit was answered, or given up.
    #[expect(clippy::cast_precision_loss, reason = "batches are far below 2^52 commands")]
    pub(crate) fn commit_ended(&self, commands: usize, took: Duration) {
        self.batch_commands.observe(commands as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// A commit is sent again, since its outcome is unknown.
    pub(crate) fn commit_resent(&self) {
        self.commit_resends.inc();
    }

    /// Acknowledged entries were found to be lost.
    pub(crate) fn entries_lost(&self, count: u64) {
        self.lost_entries.inc_by(count);
    }

    /// A watch has begun.
    pub(crate) fn watch_began(&self) {
        self.watches_open.inc();
    }

    /// A watch has ended.
    pub(crate) fn watch_ended(&self) {
        self.watches_open.dec();
    }

    /// The clock was compared with the expected time.
    pub(crate) fn clock_says(&self, reading: Reading) {
        self.clock_right.set(i64::from(!reading.is_off));
        let seconds = Duration::from_millis(reading.offset_ms.unsigned_abs()).as_secs_f64();
        self.clock_offset_seconds.set(if reading.offset_ms < 0 { -seconds } else { seconds });
    }

    /// Whether the store takes commits.
    pub(crate) fn store_is_up(&self, up: bool) {
        self.store_up.set(i64::from(up));
    }

    /// Connections to the store were lost and made again.
    pub(crate) fn store_reconnected(&self, times: u64) {
        self.store_reconnects.inc_by(times);
    }

    /// The durability that the store promises for an acknowledged write.
    pub(crate) fn durability_is(&self, promised: &Durability) {
        let Durability { level, replicas, .. } = promised;
        self.durability.with_label_values(&[level.as_str(), &replicas.to_string()]).set(1);
    }

    /// Whether the store keeps the promised durability.
    pub(crate) fn durability_is_given(&self, given: bool) {
        self.durability_given.set(i64::from(given));
    }

    /// How many accounts there are.
    pub(crate) fn accounts_are(&self, count: u64) {
        self.accounts.with_label_values::<&str>(&[]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// Creates metrics and registers them.
struct Register<'a> {
    registry: &'a Registry,
}

impl Register<'_> {
    fn add<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn decimal_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }
}
