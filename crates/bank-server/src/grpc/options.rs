//! What the API adds to requests, and its limits.

use std::time::Duration;

use bank_domain::Currency;

use crate::{admission::CallerLimits, watch::WatchOptions};

/// What the API adds to requests, and its limits.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The currency of an account that is opened without one.
    pub default_currency: Currency,
    /// The largest amount of one movement, and the largest overdraft limit, in minor units.
    pub amount_minor_units_max: i64,
    /// How long a call may take; callers may ask for less.
    pub request_timeout: Duration,
    /// What callers may know of the server.
    pub facts: ServerFacts,
    /// How long a call with a stream of replies may take.
    pub stream_timeout: Duration,
    /// How long such a call waits for a caller who takes no replies.
    pub reader_pause_max: Duration,
    /// How many audits and exports may run at once.
    pub concurrent_audits_max: usize,
    /// The limits of batches.
    pub batches: BatchBounds,
    /// The limits of watches.
    pub watch: WatchOptions,
}

/// The limits of batches.
#[derive(Clone, Copy, Debug)]
pub struct BatchBounds {
    /// How many operations one may have.
    pub operations_max: usize,
    /// How large its message may be, in bytes.
    pub bytes_max: usize,
    /// How many batches of one stream are in progress at once.
    pub stream_batches_max: usize,
}

/// What the server was started with, as callers may know it.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// The kind of store, as it is set.
    pub store_kind: &'static str,
    /// How long the store has to say whether it is well.
    pub store_timeout: Duration,
    /// The largest message that a caller may send, in bytes.
    pub message_bytes_max: usize,
    /// The largest message that a caller gets, in bytes.
    pub reply_bytes_max: usize,
    /// The largest set of headers that a caller may send, in bytes.
    pub header_bytes_max: u32,
    /// How many calls one connection may have in flight.
    pub concurrent_streams_max: u32,
    /// How many commands may wait.
    pub queue_commands_max: usize,
    /// How many commands share one commit.
    pub batch_commands_max: usize,
    /// What callers may use.
    pub callers: CallerLimits,
    /// How long an unknown outcome is looked for.
    pub outcome_timeout: Duration,
    /// How long the outcome of a request is kept.
    pub request_retention: Duration,
}
