//! The limits that a call can reach, and how each reads in an error.

use std::time::Duration;

use tonic::Code;

use crate::admission::{LimitScope, Resource};

/// When a caller may come back after most limits.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitKind {
    CallerRate,
    /// A part of a resource, or all of it.
    Resource(Resource, LimitScope),
    Streams,
    Audits,
    QueuedCommands,
    ConsumerTimeout,
    ReaderPause,
    Message,
    BatchMessage,
    Reply,
}

/// A limit and its value: a count, bytes or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) kind: LimitKind,
    pub(crate) max: u64,
    /// When the caller may come back, where waiting helps.
    pub(super) retry_after: Option<Duration>,
}

impl Limit {
    pub(crate) fn new(kind: LimitKind, max: impl TryInto<u64>) -> Self {
        let retry_after = kind.clears_by_itself().then_some(RETRY_DELAY);
        Self { kind, max: max.try_into().unwrap_or(u64::MAX), retry_after }
    }

    /// The caller may come back after this delay.
    pub(crate) fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }
}

impl LimitKind {
    /// Whether the same call can succeed later.
    const fn clears_by_itself(self) -> bool {
        !matches!(
            self,
            Self::Resource(Resource::DryRunBytes, _) | Self::Message | Self::BatchMessage | Self::Reply
        )
    }

    pub(super) const fn code(self) -> Code {
        if matches!(self, Self::Reply) { Code::OutOfRange } else { Code::ResourceExhausted }
    }

    /// How the error reads: its reason, the setting that makes the limit, the key of the metadata with its value, and the
    /// message, in which `{max}` stands for the value.
    #[rustfmt::skip]
    pub(super) const fn error(self) -> (&'static str, &'static str, &'static str, &'static str) {
        use LimitScope::{PerCaller, Total};
        match self {
            Self::CallerRate => ("RATE_LIMITED", "callers.calls_per_second_max", "calls_per_second_max",
                "more than {max} calls a second from one caller"),
            // A read of a list waits for its permit and is never refused.
            Self::Resource(Resource::Calls | Resource::Scans, PerCaller) => ("TOO_MANY_CALLS", "callers.calls_in_flight_max", "calls_in_flight_max",
                "more than {max} calls of one caller in flight"),
            Self::Resource(Resource::Batches, PerCaller) => ("TOO_MANY_BATCHES", "callers.concurrent_batches_max", "batches_max",
                "more than {max} batches of one caller in progress"),
            Self::Resource(Resource::Streams, PerCaller) => ("TOO_MANY_BATCHES", "callers.batch_streams_max", "batches_max",
                "more than {max} streams of batches of one caller open"),
            Self::Resource(Resource::BufferedBytes, PerCaller) => ("BUFFERS_FULL", "callers.buffered_bytes_max", "buffered_bytes_max",
                "messages and replies of one caller take {max} bytes already"),
            Self::Resource(Resource::DryRunBytes, PerCaller) => ("DRY_RUN_TOO_LARGE", "callers.dry_run_bytes_max", "bytes_max",
                "the dry runs of one caller may keep {max} bytes of accounts and request ids, and need more: check \
                 fewer operations in one dry run, or leave out request ids that are used only once"),
            Self::Resource(Resource::Watches, PerCaller) => ("TOO_MANY_WATCHES", "watch.concurrent_per_caller_max", "watches_max",
                "{max} watches of one caller are open already"),
            Self::Resource(Resource::Calls | Resource::Scans, Total) => ("OVERLOADED", "server.calls_in_flight_max", "calls_in_flight_max",
                "more than {max} calls in flight"),
            Self::Resource(Resource::Batches, Total) => ("TOO_MANY_BATCHES", "server.concurrent_batches_max", "batches_max",
                "more than {max} batches in progress"),
            Self::Resource(Resource::Streams, Total) => ("TOO_MANY_BATCHES", "server.batch_streams_max", "batches_max",
                "more than {max} streams of batches open"),
            Self::Resource(Resource::BufferedBytes, Total) => ("BUFFERS_FULL", "server.buffered_bytes_max", "buffered_bytes_max",
                "messages and replies of all callers take {max} bytes already"),
            Self::Resource(Resource::DryRunBytes, Total) => ("DRY_RUN_TOO_LARGE", "server.dry_run_bytes_max", "bytes_max",
                "all dry runs may keep {max} bytes of accounts and request ids, and need more: begin again later"),
            Self::Resource(Resource::Watches, Total) => ("TOO_MANY_WATCHES", "watch.concurrent_max", "watches_max",
                "{max} watches are open already"),
            Self::Streams => ("OVERLOADED", "server.streams_max", "streams_max",
                "more than {max} streams open"),
            Self::Audits => ("TOO_MANY_AUDITS", "server.concurrent_audits_max", "audits_max",
                "{max} audits or exports run already"),
            Self::QueuedCommands => ("QUEUE_FULL", "ledger.queue_commands_max", "commands_max",
                "{max} commands wait already"),
            Self::ConsumerTimeout => ("SLOW_CONSUMER", "watch.consumer_timeout_ms", "consumer_timeout_ms",
                "no reply was taken for {max} ms; continue with the resume_token of the last one"),
            Self::ReaderPause => ("SLOW_CONSUMER", "server.reader_pause_ms_max", "reader_pause_ms_max",
                "no reply was taken for {max} ms; make the call again"),
            Self::Message => ("MESSAGE_TOO_LARGE", "server.message_bytes_max", "message_bytes_max",
                "the message is larger than server.message_bytes_max allows: {max} bytes; it was not read"),
            Self::BatchMessage => ("MESSAGE_TOO_LARGE", "server.batch_bytes_max", "message_bytes_max",
                "the message is larger than server.batch_bytes_max allows: {max} bytes; it was not read"),
            Self::Reply => ("REPLY_TOO_LARGE", "server.reply_bytes_max", "reply_bytes_max",
                "the reply is larger than server.reply_bytes_max allows: {max} bytes; ask for less at once"),
        }
    }
}
