//! What the server says while it runs: `tracing` events, as lines on standard output.
//!
//! Targets are `bank_*` for the crates, and `bank::*` for what has a meaning of its own, such as
//! `bank::call` for one line a call. The level in the configuration is for these; libraries say
//! warnings and errors only, unless a directive of the filter says otherwise. The audit trail,
//! `bank::audit`, is written whatever they say.
//!
//! Spans with the target [`TRACES`] are not for the log: they go to an OpenTelemetry collector, if
//! there is one.

mod escaped;
mod seldom;

use std::{
    io::{self, IsTerminal as _},
    panic,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

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
pub use self::seldom::Seldom;

/// The target of the audit trail. It is written whatever the settings say.
pub(crate) const AUDIT_TRAIL: &str = "bank::audit";

/// The target of spans for an OpenTelemetry collector.
pub const TRACES: &str = "otlp";

/// Whether there is a collector.
static TRACED: AtomicBool = AtomicBool::new(false);

/// How long spans that were not sent yet have when the server ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What begins the targets of the bank's own events. A directive is for all targets that begin
/// with it.
const OWN_TARGETS: &str = "bank";

/// How much the bank can say, from little to much.
pub(crate) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// What is written to the log, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct LogOptions {
    pub level: String,
    pub filter: String,
    pub format: LogFormat,
}

/// How log lines look.
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
    /// The share of traces that begin here and are sent.
    pub sampled_percent: u8,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one.
    #[error("log.filter: {0}")]
    Filter(#[from] ParseError),
    /// Spans cannot be sent where they should be.
    #[error("traces.otlp_endpoint: {0}")]
    Traces(#[from] ExporterBuildError),
    /// Something else listens to the events already.
    #[error(transparent)]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// A span for the collector, if there is one. Asking the filters each time whether there is takes longer than
/// most of what is done for a call.
pub(crate) fn traced(span: impl FnOnce() -> Span) -> Span {
    if TRACED.load(Ordering::Relaxed) { span() } else { Span::none() }
}

/// Changes what is written while the server runs.
#[derive(Clone, Debug)]
pub struct LogControl {
    configured: LogOptions,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// What was asked for is neither a level nor directives.
#[derive(Debug, thiserror::Error)]
#[error("{0}: write one of error, warn, info, debug, trace, or directives such as info,h2=debug")]
pub struct NotDirectives(String);

impl LogControl {
    /// The directives in effect.
    pub fn directives(&self) -> String {
        // An error means that nothing is written any more.
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Takes a level for `log.level`, or directives for `log.filter`.
    ///
    /// # Errors
    /// [`NotDirectives`]; everything stays as it was.
    pub fn set(&self, text: &str) -> Result<(), NotDirectives> {
        let mut log = self.configured.clone();
        if LEVELS.contains(&text) {
            (log.level, log.filter) = (text.to_owned(), String::new());
        } else {
            text.clone_into(&mut log.filter);
        }
        let filter = filter(&log).map_err(|error| NotDirectives(error.to_string()))?;
        self.filter.reload(filter).map_err(|error| NotDirectives(error.to_string()))
    }
}

/// What the server says, until it ends.
#[derive(Debug)]
pub struct Telemetry {
    log: LogControl,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// For changing what is written.
    pub fn log(&self) -> LogControl {
        self.log.clone()
    }

    /// Sends the spans that were not sent yet. It blocks for at most two seconds.
    pub fn end(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }
}

/// Starts writing events, panics among them, to standard output, and sending spans if there is a
/// collector.
///
/// # Errors
/// [`Error`], once it has been called before, for one.
///
/// # Panics
/// If spans are to be sent, outside of a Tokio runtime.
pub fn init(log: &LogOptions, traces: &TraceOptions) -> Result<Telemetry, Error> {
    let json = match log.format {
        LogFormat::Auto => !io::stdout().is_terminal(),
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    };
    let lines = lines(json, Escaped { json, writers: io::stdout });
    // Whatever the settings say of the rest, nothing silences the audit trail.
    let audited = filter_fn(|metadata| metadata.target() == AUDIT_TRAIL).with_max_level_hint(Level::INFO);
    let (filter, handle) = reload::Layer::new(filter(log)?);
    let traces = (!traces.otlp_endpoint.is_empty()).then(|| provider(traces)).transpose()?;
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
        tracing::error!(panic = message, location, "this is a bug: a task has panicked");
    }));
    Ok(Telemetry { log: LogControl { configured: log.clone(), filter: handle }, traces })
}

/// Events as lines.
fn lines<S, W>(json: bool, writers: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writers);
    if json {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        // Without colours: texts in fields could have theirs.
        lines.compact().with_ansi(false).with_target(false).boxed()
    }
}

/// An error with its causes, each told once: many errors tell their own.
pub fn in_full(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

fn provider(traces: &TraceOptions) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(&traces.otlp_endpoint).build()?;
    let resource = Resource::builder()
        .with_service_name("bank-server")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    // A caller that has decided for its trace has decided for its calls.
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
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        let error = Error::from(EnvFilter::builder().parse("=,=").unwrap_err());
        let (text, cause) = (error.to_string(), io::Error::other("the cause"));
        assert_eq!(in_full(&error.into()), text);
        let error = Err::<(), _>(cause).context("what came of it").unwrap_err();
        assert_eq!(in_full(&error), "what came of it: the cause");
    }

    #[test]
    fn the_level_is_for_the_bank_and_the_filter_for_all() {
        let log = |level: &str, directives: &str| LogOptions {
            level: level.to_owned(),
            filter: directives.to_owned(),
            format: LogFormat::Json,
        };
        for (log, expected) in [
            (log("info", ""), "bank=info,warn"),
            (log("error", ""), "bank=error,error"),
            (log("debug", "h2=trace,bank_store=trace"), "bank_store=trace,bank=debug,h2=trace,warn"),
        ] {
            assert_eq!(filter(&log).unwrap().to_string(), expected);
        }
    }
}
