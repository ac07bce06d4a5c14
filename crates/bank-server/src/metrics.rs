//! Metrics in the text format of Prometheus.
//!
//! `docs/metrics.md` explains each metric; a test compares the two. No label names an account, a caller or a request:
//! their number has no bound.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use bank_store::{Durability, clock::Reading};
use prometheus::{
    Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
    process_collector::ProcessCollector, register_gauge_with_registry as decimal_gauge,
    register_histogram_vec_with_registry as histograms, register_histogram_with_registry as histogram,
    register_int_counter_vec_with_registry as counters, register_int_counter_with_registry as counter,
    register_int_gauge_vec_with_registry as gauges, register_int_gauge_with_registry as gauge,
};
use strum::{EnumCount as _, VariantArray as _};
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
    /// Calls to the bank.
    pub(crate) calls_in_flight: IntGauge,
    queue_commands: IntGauge,
    queue_seconds: Histogram,
    batch_commands: Histogram,
    commit_seconds: Histogram,
    /// Commits that were sent again, since their outcome was unknown.
    pub(crate) commit_resends: IntCounter,
    /// In the order of [`CommandOutcome`].
    commands: [IntCounter; CommandOutcome::COUNT],
    operations: Histogram,
    operation_results: IntCounterVec,
    /// Whether the store takes commits: 1 or 0.
    pub(crate) store_up: IntGauge,
    clock_right: IntGauge,
    clock_offset_seconds: Gauge,
    /// Connections to the store that were lost and made again.
    pub(crate) store_reconnects: IntCounter,
    durability: IntGaugeVec,
    /// Whether the store keeps the promised durability: 1 or 0.
    pub(crate) durability_given: IntGauge,
    /// Without labels, and without a value until there is one: 0 would be wrong.
    accounts: IntGaugeVec,
    /// Acknowledged entries that were found to be lost.
    pub(crate) lost_entries: IntCounter,
    /// Open watches.
    pub(crate) watches_open: IntGauge,
}

/// The metrics of one method, from its first call on.
#[derive(Debug, Default)]
struct OfMethod {
    done: OnceLock<IntCounter>,
    seconds: OnceLock<Histogram>,
}

/// The outcome of a command, as `bank_commands_total` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumCount, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CommandOutcome {
    /// Carried out.
    Applied,
    /// Rejected by a rule of the bank.
    #[strum(serialize = "refused")]
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

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Errors
    /// If two metrics have the same name, or a name is invalid.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = registry()?;
        let commands = counters!("bank_commands_total", "Commands by outcome.", &["outcome"], registry)?;
        let operation_results = counters!(
            "bank_batch_results_total",
            "Operations of batches by gRPC code.",
            &["code"],
            registry
        )?;
        // It is there before the first batch.
        operation_results.with_label_values(&[format!("{:?}", Code::Ok)]);
        Ok(Self {
            calls: counters!(
                "bank_calls_total",
                "Finished calls by method and gRPC code.",
                &["method", "code"],
                registry
            )?,
            call_seconds: histograms!(
                "bank_call_duration_seconds",
                "Time from the headers of a call to the end of its reply.",
                &["method"],
                SECONDS.to_vec(),
                registry
            )?,
            of_methods: std::array::from_fn(|_| OfMethod::default()),
            calls_in_flight: gauge!("bank_calls_in_flight", "Calls in flight.", registry)?,
            queue_commands: gauge!(
                "bank_queue_commands",
                "Commands in the queues of the sequencers.",
                registry
            )?,
            queue_seconds: histogram!(
                "bank_queue_wait_seconds",
                "Time that commands spent in a queue.",
                SECONDS.to_vec(),
                registry
            )?,
            batch_commands: histogram!(
                "bank_batch_commands",
                "Commands per commit.",
                COMMANDS.to_vec(),
                registry
            )?,
            commit_seconds: histogram!(
                "bank_commit_duration_seconds",
                "Duration of a commit in the store, including resends.",
                SECONDS.to_vec(),
                registry
            )?,
            commit_resends: counter!(
                "bank_commit_resends_total",
                "Commits sent again because their outcome was unknown.",
                registry
            )?,
            // A counter that is there from the start shows its first increment.
            commands: std::array::from_fn(|outcome| {
                commands.with_label_values(&[<&str>::from(CommandOutcome::VARIANTS[outcome])])
            }),
            operations: histogram!(
                "bank_batch_operations",
                "Operations per batch that callers sent.",
                COMMANDS.to_vec(),
                registry
            )?,
            operation_results,
            clock_right: gauge!(
                "bank_clock_right",
                "1 while the clock of this server is within its limit, otherwise 0.",
                registry
            )?,
            clock_offset_seconds: decimal_gauge!(
                "bank_clock_offset_seconds",
                "How far the clock of this server is ahead of the expected time.",
                registry
            )?,
            store_up: gauge!("bank_store_up", "1 while the store takes commits, otherwise 0.", registry)?,
            store_reconnects: counter!(
                "bank_store_reconnects_total",
                "Reconnections to the store.",
                registry
            )?,
            durability: gauges!(
                "bank_durability_info",
                "Always 1; the labels are the promised durability of an acknowledged write.",
                &["level", "replicas"],
                registry
            )?,
            durability_given: gauge!(
                "bank_durability_given",
                "1 while the store is known to keep the promised durability, otherwise 0.",
                registry
            )?,
            accounts: gauges!("bank_accounts", "Number of accounts.", &[], registry)?,
            lost_entries: counter!(
                "bank_lost_entries_total",
                "Acknowledged entries that were found to be lost, at least.",
                registry
            )?,
            watches_open: gauge!("bank_watches_open", "Open watches.", registry)?,
            registry,
        })
    }

    /// The current values as text.
    ///
    /// # Errors
    /// If a metric cannot be encoded.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
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

    /// The clock was compared with the expected time.
    pub(crate) fn clock_says(&self, reading: Reading) {
        self.clock_right.set(i64::from(!reading.is_off));
        let seconds = Duration::from_millis(reading.offset_ms.unsigned_abs()).as_secs_f64();
        self.clock_offset_seconds.set(if reading.offset_ms < 0 { -seconds } else { seconds });
    }

    /// The durability that the store promises for an acknowledged write.
    pub(crate) fn durability_is(&self, promised: &Durability) {
        let Durability { level, replicas, .. } = promised;
        self.durability.with_label_values(&[level.as_str(), &replicas.to_string()]).set(1);
    }

    /// How many accounts there are.
    pub(crate) fn accounts_are(&self, count: u64) {
        self.accounts.with_label_values::<&str>(&[]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// A registry with what is the same for every program: its version and its process.
fn registry() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let build = gauges!("bank_build_info", "Always 1; the label is the version.", &["version"], registry)?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(ProcessCollector::for_self()))?;
    Ok(registry)
}
