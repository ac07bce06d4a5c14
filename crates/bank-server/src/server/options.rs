//! The options of the server.

use std::time::Duration;

use super::health::HealthOptions;
use crate::admission::{CallerLimits, ConnectionLimits};

/// How much later than the bank's own deadline the server gives up on a call.
const DEADLINE_MARGIN: Duration = Duration::from_millis(100);

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
    /// Whether the reflection service is enabled.
    pub reflection: bool,
    /// How readiness is determined.
    pub health: HealthOptions,
}

impl ServerOptions {
    /// How long a call may take to answer. The bank itself enforces deadlines; this one is for a message that never
    /// arrives.
    pub(super) fn answer_timeout(&self) -> Duration {
        self.request_timeout + DEADLINE_MARGIN
    }
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
