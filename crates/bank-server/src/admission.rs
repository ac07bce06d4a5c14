//! Capacity: what callers may use at once of connections, calls, memory and reads of lists.
//!
//! A permit is taken before the work and held for as long as the work lasts; it is free again when it is dropped. A call
//! that exceeds a limit is refused at once, or waits for its permit where the caller paces itself (streams, lists). All
//! limits are in [`CallerLimits`] and [`ConnectionLimits`].

mod buffers;
mod call;
mod callers;
mod connections;
mod descriptors;
mod limits;
mod listener;
mod permit;

#[cfg(test)]
pub(crate) use self::callers::one_scan;
pub(crate) use self::{
    buffers::BufferPermit,
    call::{CallKind, CallPermits},
    callers::{Allowance, Callers, RateLimited},
    descriptors::{ADMIN_CONNECTIONS_MAX, connections_possible},
    limits::{LimitReached, LimitScope, Resource},
    listener::{Accepted, Listener},
    permit::Permit,
};
pub use self::{
    connections::ConnectionLimits,
    limits::{CallerLimits, Limit},
};
