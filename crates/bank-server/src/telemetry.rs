//! The log and traces: `tracing` events as lines on standard output, spans for an OpenTelemetry collector.
//!
//! Targets are `bank_*` for the crates, and `bank::*` for special topics, such as `bank::call` for one line per call.
//! `log.level` applies to these; libraries log warnings and errors only, unless `log.filter` says otherwise. The audit
//! trail, `bank::audit`, is always written.
//!
//! Spans with the target [`TRACES`] go to the collector and not to the log.

mod escaped;
mod rate_limited_log;

use std::{
    io::{self, IsTerminal as _},
    panic,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::anyhow;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use serde::Deserialize;
use tracing::{Level, Span, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, ParseError, Targets, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use self::escaped::Escaped;
pub use self::rate_limited_log::RateLimitedLog;

/// The target of the audit trail. It is written whatever the settings say.
pub(crate) const AUDIT_TRAIL: &str = "bank::audit";

/// The target of spans for an OpenTelemetry collector.
pub const TRACES: &str = "otlp";

/// Whether spans are sent to a collector.
static TRACED: AtomicBool = AtomicBool::new(false);

/// How long shutdown waits until all spans are sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The prefix of the bank's own targets. A directive applies to all targets that begin with it.
const OWN_TARGETS: &str = "bank";

/// The log levels, from the fewest lines to the most.
pub(crate) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// What is logged, and in which format.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct LogOptions {
    pub level: String,
    pub filter: String,
    pub format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// For programs.
    Json,
}

/// Where spans are sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceOptions {
    /// The URL of the collector; empty for none.
    pub otlp_endpoint: String,
    /// The share of traces that begin here and are sent, in percent.
    pub sampled_percent: u8,
}

/// Makes a span if there is a collector. Asking the filters each time would take longer than most of the work for a
/// call.
pub(crate) fn traced(span: impl FnOnce() -> Span) -> Span {
    if TRACED.load(Ordering::Relaxed) { span() } else { Span::none() }
}

/// Changes the log level while the server runs.
#[derive(Clone, Debug)]
pub struct LogControl {
    configured: LogOptions,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogControl {
    /// The directives in effect.
    pub fn directives(&self) -> String {
        // An error means that the log is closed.
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Sets a level for `log.level`, or directives for `log.filter`.
    ///
    /// # Errors
    /// If it is neither; nothing changes then.
    pub fn set(&self, text: &str) -> anyhow::Result<()> {
        let mut log = self.configured.clone();
        if LEVELS.contains(&text) {
            (log.level, log.filter) = (text.to_owned(), String::new());
        } else {
            text.clone_into(&mut log.filter);
        }
        let filter = filter(&log).map_err(|error| {
            anyhow!(
                "{error}: write one of error, warn, info, debug, trace, or directives such as info,h2=debug"
            )
        })?;
        Ok(self.filter.reload(filter)?)
    }
}

/// The log and traces of a running server.
#[derive(Debug)]
pub struct Telemetry {
    log: LogControl,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// The handle that changes the log level.
    pub fn log(&self) -> LogControl {
        self.log.clone()
    }

    /// Sends the remaining spans. It blocks for at most two seconds.
    pub fn end(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }
}

/// Starts logging events and panics to standard output, and sending spans if there is a collector.
///
/// # Errors
/// If an option is invalid, or telemetry was started before.
///
/// # Panics
/// If there is a collector, outside of a Tokio runtime.
pub fn init(log: &LogOptions, traces: &TraceOptions) -> anyhow::Result<Telemetry> {
    let json = match log.format {
        LogFormat::Auto => !io::stdout().is_terminal(),
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    };
    let lines = lines(json, Escaped { json, writers: io::stdout });
    // No setting silences the audit trail.
    let audited = filter_fn(|metadata| metadata.target() == AUDIT_TRAIL).with_max_level_hint(Level::INFO);
    let (filter, handle) = reload::Layer::new(filter(log).map_err(|error| anyhow!("log.filter: {error}"))?);
    let traces = (!traces.otlp_endpoint.is_empty()).then(|| provider(traces)).transpose();
    let traces = traces.map_err(|error| anyhow!("traces.otlp_endpoint: {error}"))?;
    let spans = traces.as_ref().map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer("bank-server"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TRACES, LevelFilter::INFO))
    });
    TRACED.store(traces.is_some(), Ordering::Relaxed);
    tracing_subscriber::registry().with(lines.with_filter(filter.or(audited))).with(spans).try_init()?;
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("(no message)");
        let location = panic.location().map(ToString::to_string);
        tracing::error!(panic = message, location, "a task panicked: this is a bug");
    }));
    Ok(Telemetry { log: LogControl { configured: log.clone(), filter: handle }, traces })
}

/// The layer that formats events.
fn lines<S, W>(json: bool, writers: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writers);
    if json {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        // Without colours: otherwise escape sequences in fields could pass for them.
        lines.compact().with_ansi(false).with_target(false).boxed()
    }
}

/// An error with its causes, each mentioned once: many errors mention their own cause.
pub fn in_full(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn provider(traces: &TraceOptions) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(&traces.otlp_endpoint).build()?;
    let resource = Resource::builder()
        .with_service_name("bank-server")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    // The caller's decision to sample its trace applies here, too.
    let share = f64::from(traces.sampled_percent) / 100.0;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
    Ok(provider.with_sampler(sampler).with_resource(resource).build())
}

fn filter(log: &LogOptions) -> Result<EnvFilter, ParseError> {
    let LogOptions { level, filter, .. } = log;
    let libraries = if level == "error" { "error" } else { "warn" };
    EnvFilter::builder().parse(format!("{libraries},{OWN_TARGETS}={level},{filter}"))
}

#[cfg(test)]
mod tests;
