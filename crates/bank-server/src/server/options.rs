//! The options of the server.

use std::time::Duration;

use super::health::HealthOptions;
use crate::admission::{CallerLimits, ConnectionLimits};

/// How much later than the bank's own deadline the server gives up on a call.
pub(super) const DEADLINE_MARGIN: Duration = Duration::from_millis(100);

/// The limits and timeouts of the server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How long a call may take.
    pub request_timeout: Duration,
    /// The largest message that a caller may send.
    pub message_bytes_max: usize,
    /// The same for batches of operations.
    pub batch_bytes_max: usize,
    /// The largest reply, except to batches.
    pub reply_bytes_max: usize,
    /// The largest set of headers that a caller may send.
    pub header_bytes_max: u32,
    /// How many calls one connection may have in flight.
    pub concurrent_streams_max: u32,
    /// How many calls of one connection may have been reset before the server looked at them.
    pub resets_pending_max: usize,
    /// How many calls the server may reset on one connection because the client violated HTTP/2.
    pub resets_by_server_max: usize,
    /// How much is read of messages whose calls have already been answered.
    pub unread: UnreadBounds,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// When connections and replies are given up.
    pub timeouts: Timeouts,
    /// How many streams of the other services, such as health watches, may be open.
    pub streams_max: usize,
    /// What callers may use.
    pub callers: CallerLimits,
    /// After how much silence a keepalive ping is sent.
    pub keepalive_interval: Duration,
    /// How long the client has to answer it.
    pub keepalive_timeout: Duration,
    /// Whether the reflection service is enabled.
    pub reflection: bool,
    /// How readiness is determined.
    pub health: HealthOptions,
}

/// When connections and replies are given up.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the first call of a new connection.
    pub first_call_timeout: Duration,
    /// Without a call in flight, after the first one.
    pub idle_timeout: Duration,
    /// For a client to take a part of a reply. The call is reset, and its connection is kept.
    pub reply_timeout: Duration,
}

/// How much is read and discarded of messages that nobody needs.
#[derive(Clone, Copy, Debug)]
pub struct UnreadBounds {
    /// Messages at the same time, over all connections.
    pub messages_max: usize,
    /// Bytes of each.
    pub bytes_max: usize,
    /// Time for each.
    pub timeout: Duration,
}
