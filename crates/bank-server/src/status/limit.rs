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
    CallerCalls,
    CallerBatches,
    CallerBatchStreams,
    CallerBuffers,
    CallerDryRuns,
    CallerWatches,
    Calls,
    Batches,
    BatchStreams,
    Buffers,
    DryRuns,
    Watches,
    Streams,
    Audits,
    QueuedCommands,
    ConsumerTimeout,
    ReaderPause,
    Message,
    BatchMessage,
    Reply,
}

/// How the error about a limit reads.
pub(super) struct LimitError {
    pub(super) reason: &'static str,
    /// The setting that makes the limit.
    pub(super) setting: &'static str,
    /// The key of the metadata that has the value of the limit.
    pub(super) key: &'static str,
    /// `{max}` stands for the value of the limit.
    pub(super) message: &'static str,
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
    pub(super) const fn of(resource: Resource, scope: LimitScope) -> Self {
        let (per_caller, total) = match resource {
            // A read of a list waits for its permit and is never refused.
            Resource::Calls | Resource::Scans => (Self::CallerCalls, Self::Calls),
            Resource::Batches => (Self::CallerBatches, Self::Batches),
            Resource::Streams => (Self::CallerBatchStreams, Self::BatchStreams),
            Resource::BufferedBytes => (Self::CallerBuffers, Self::Buffers),
            Resource::Watches => (Self::CallerWatches, Self::Watches),
            Resource::DryRunBytes => (Self::CallerDryRuns, Self::DryRuns),
        };
        match scope {
            LimitScope::PerCaller => per_caller,
            LimitScope::Total => total,
        }
    }

    /// Whether the same call can succeed later.
    const fn clears_by_itself(self) -> bool {
        !matches!(
            self,
            Self::CallerDryRuns | Self::DryRuns | Self::Message | Self::BatchMessage | Self::Reply
        )
    }

    pub(super) const fn code(self) -> Code {
        if matches!(self, Self::Reply) { Code::OutOfRange } else { Code::ResourceExhausted }
    }

    #[rustfmt::skip]
    pub(super) const fn error(self) -> LimitError {
        let (reason, setting, key, message) = match self {
            Self::CallerRate => ("RATE_LIMITED", "callers.calls_per_second_max", "calls_per_second_max",
                "more than {max} calls a second from one caller"),
            Self::CallerCalls => ("TOO_MANY_CALLS", "callers.calls_in_flight_max", "calls_in_flight_max",
                "more than {max} calls of one caller in flight"),
            Self::CallerBatches => ("TOO_MANY_BATCHES", "callers.concurrent_batches_max", "batches_max",
                "more than {max} batches of one caller in work"),
            Self::CallerBatchStreams => ("TOO_MANY_BATCHES", "callers.batch_streams_max", "batches_max",
                "more than {max} streams of batches of one caller open"),
            Self::CallerBuffers => ("BUFFERS_FULL", "callers.buffered_bytes_max", "buffered_bytes_max",
                "messages and replies of one caller take {max} bytes already"),
            Self::CallerDryRuns => ("DRY_RUN_TOO_LARGE", "callers.dry_run_bytes_max", "bytes_max",
                "the dry runs of one caller may keep {max} bytes of accounts and request ids, and need more: check \
                 fewer operations in one dry run, or leave out request ids that are used only once"),
            Self::CallerWatches => ("TOO_MANY_WATCHES", "watch.concurrent_per_caller_max", "watches_max",
                "{max} watches of one caller are open already"),
            Self::Calls => ("OVERLOADED", "server.calls_in_flight_max", "calls_in_flight_max",
                "more than {max} calls in flight"),
            Self::Batches => ("TOO_MANY_BATCHES", "server.concurrent_batches_max", "batches_max",
                "more than {max} batches in work"),
            Self::BatchStreams => ("TOO_MANY_BATCHES", "server.batch_streams_max", "batches_max",
                "more than {max} streams of batches open"),
            Self::Buffers => ("BUFFERS_FULL", "server.buffered_bytes_max", "buffered_bytes_max",
                "messages and replies of all callers take {max} bytes already"),
            Self::DryRuns => ("DRY_RUN_TOO_LARGE", "server.dry_run_bytes_max", "bytes_max",
                "all dry runs may keep {max} bytes of accounts and request ids, and need more: begin again later"),
            Self::Watches => ("TOO_MANY_WATCHES", "watch.concurrent_max", "watches_max",
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
        };
        LimitError { reason, setting, key, message }
    }
}
