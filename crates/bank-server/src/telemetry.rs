//! What the server says while it runs: `tracing` events, as lines on standard output.
//!
//! Targets are `bank_*` for the crates, and `bank::*` for what has a meaning of its own, such as
//! `bank::call` for one line a call. The level in the configuration is for these; libraries say
//! warnings and errors only, unless a directive of the filter says otherwise. The audit trail,
//! `bank::audit`, is written whatever they say.

mod seldom;

use std::{
    io::{self, IsTerminal as _},
    panic,
};

use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt as _, ParseError, filter_fn},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

pub use self::seldom::Seldom;
use crate::{
    audit,
    config::{Log, LogFormat},
};

/// What begins the targets of the bank's own events. A directive is for all targets that begin
/// with it.
const OWN_TARGETS: &str = "bank";

/// How much the bank can say, from little to much.
pub(crate) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one.
    #[error("log.filter: {0}")]
    Filter(#[from] ParseError),
    /// Something else listens to the events already.
    #[error(transparent)]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// Changes what is written while the server runs.
#[derive(Clone, Debug)]
pub struct LogControl {
    configured: Log,
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

/// Starts writing events, panics among them, to standard output.
///
/// # Errors
/// [`Error`], once it has been called before, for one.
pub fn init(log: &Log) -> Result<LogControl, Error> {
    let pretty = match log.format {
        LogFormat::Auto => io::stdout().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let lines = if pretty {
        tracing_subscriber::fmt::layer()
            .compact()
            .with_ansi(io::stdout().is_terminal())
            .with_target(false)
            .boxed()
    } else {
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).boxed()
    };
    // Whatever the settings say of the rest, nothing silences the audit trail.
    let audited = filter_fn(|metadata| metadata.target() == audit::TARGET).with_max_level_hint(Level::INFO);
    let (filter, handle) = reload::Layer::new(filter(log)?);
    tracing_subscriber::registry().with(lines.with_filter(filter.or(audited))).try_init()?;
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("(no message)");
        let location = panic.location().map(ToString::to_string);
        tracing::error!(panic = message, location, "this is a bug: a task has panicked");
    }));
    Ok(LogControl { configured: log.clone(), filter: handle })
}

fn filter(log: &Log) -> Result<EnvFilter, ParseError> {
    let Log { level, filter, .. } = log;
    let libraries = if level == "error" { "error" } else { "warn" };
    EnvFilter::builder().parse(format!("{libraries},{OWN_TARGETS}={level},{filter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_for_the_bank_and_the_filter_for_all() {
        let log = |level: &str, directives: &str| Log {
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
