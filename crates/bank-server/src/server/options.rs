//! What a server is started with.

use std::time::Duration;

use super::health::HealthOptions;
use crate::admission::{CallBounds, CallerBounds, ConnectionBounds};

/// How much later than the bank the server below it gives up on a call.
pub(super) const DEADLINE_MARGIN: Duration = Duration::from_millis(100);

/// The bounds of the server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How long a call may take.
    pub request_timeout: Duration,
    /// The largest message that a caller may send.
    pub message_bytes_max: usize,
    /// The same, of batches of operations.
    pub batch_bytes_max: usize,
    /// The largest message that a caller gets, but for the replies to batches.
    pub reply_bytes_max: usize,
    /// The largest set of headers that a caller may send.
    pub header_bytes_max: u32,
    /// How many calls one connection may have in flight.
    pub concurrent_streams_max: u32,
    /// How many calls that were reset before the server looked at them one connection may have.
    pub resets_pending_max: usize,
    /// How many calls the server may reset on one connection, because its client broke the rules.
    pub resets_by_server_max: usize,
    /// How much is taken in of messages whose calls are answered already.
    pub unread: UnreadBounds,
    /// How many connections there may be.
    pub connections: ConnectionBounds,
    /// How long a connection may be of no use.
    pub patience: Patience,
    /// How many calls to the bank may be in flight; one more is refused at once.
    pub calls: CallBounds,
    /// How many streams of the other services may be open, such as those that watch the health.
    pub streams_max: usize,
    /// What one caller may ask of the server.
    pub callers: CallerBounds,
    /// After how much silence a connection is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it has to answer.
    pub keepalive_timeout: Duration,
    /// Whether callers may ask which services and messages there are.
    pub reflection: bool,
    /// How the server knows whether it can serve.
    pub health: HealthOptions,
}

/// How long a connection may be of no use.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A new one, before its first call.
    pub first_call_timeout: Duration,
    /// One that has made calls, without one in flight.
    pub idle_timeout: Duration,
    /// A call whose client takes nothing of the reply. It is reset; its connection is kept.
    pub reply_timeout: Duration,
}

/// How much is taken in of messages that nobody reads.
#[derive(Clone, Copy, Debug)]
pub struct UnreadBounds {
    /// Of how many messages at once, over all connections.
    pub messages_max: usize,
    /// How many bytes of one.
    pub bytes_max: usize,
    /// How long it may take.
    pub timeout: Duration,
}
