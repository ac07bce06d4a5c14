//! Limits on what callers may use at once: connections, calls, memory, reads of lists.
//!
//! Everything here is capacity: a permit is taken, held for as long as the work lasts, and free again when it is
//! dropped. What exceeds a limit is refused at once, or waits for its permit, and never queues without a bound.

mod buffers;
mod callers;
mod connections;
mod descriptors;
mod listener;
mod places;
mod room;
mod share;

#[cfg(test)]
pub(crate) use self::callers::one_scan;
pub use self::{
    buffers::BufferBounds,
    callers::{CallerBounds, ScanBounds},
    connections::ConnectionBounds,
    room::CallBounds,
};
pub(crate) use self::{
    buffers::{Buffers, HeldRoom, NoRoom, Room},
    callers::{Allowance, Caller, Callers, Excess, TooFast},
    connections::Admission,
    descriptors::{ADMIN_CONNECTIONS_MAX, make_room},
    listener::{Accepted, ConnectionLimits, Listener},
    places::{Full, Place, Places},
    room::{CallPlaces, Kind, NoPlace, Places as CallRoom},
};
