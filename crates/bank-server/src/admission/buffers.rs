//! The memory that messages and replies take: messages that have not come whole, batches in work, replies that are
//! being made, and those that have not been sent.
//!
//! There is so much for all callers and so much for each. What is small is not counted: calls in flight bound it, and
//! a movement of money pays nothing for this.

use std::sync::{Arc, OnceLock};

use super::share::{Pool, Share, Taken, UsedUp};

/// Up to this, nothing is counted. A common message or reply has less than a kilobyte; as many as may be in flight
/// take 16 MiB.
const SMALL_BYTES: usize = 4096;
/// In what it is counted.
const UNIT_BYTES: usize = 1024;

/// How much memory there is.
#[derive(Clone, Copy, Debug)]
pub struct BufferBounds {
    /// For all callers together.
    pub in_all_bytes_max: usize,
    /// For one of them.
    pub of_one_bytes_max: usize,
}

/// What there is for all callers.
#[derive(Clone, Debug)]
pub(crate) struct AllBuffers {
    bounds: BufferBounds,
    pool: Pool,
}

/// What one caller may take of it.
#[derive(Clone, Debug)]
pub(crate) struct Buffers {
    bounds: BufferBounds,
    share: Share,
}

/// What was taken. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Room(Option<Taken>);

/// Room that travels with an answer until it has been sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldRoom(Arc<OnceLock<Room>>);

/// There is no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// Which setting bounds it.
    pub(crate) setting: &'static str,
    pub(crate) bytes_max: usize,
}

impl AllBuffers {
    pub(crate) fn new(bounds: BufferBounds) -> Self {
        let units = |bytes: usize| bytes / UNIT_BYTES;
        Self { bounds, pool: Pool::new(units(bounds.in_all_bytes_max), units(bounds.of_one_bytes_max)) }
    }

    /// The part of one more caller.
    pub(crate) fn of_caller(&self) -> Buffers {
        Buffers { bounds: self.bounds, share: self.pool.share() }
    }
}

impl Buffers {
    /// Takes room for so much, if there is some at once. Who wants more than a caller may have gets that.
    pub(crate) fn try_take(&self, bytes: usize) -> Result<Room, NoRoom> {
        match units(bytes) {
            0 => Ok(Room(None)),
            units => match self.share.try_take(units) {
                Ok(taken) => Ok(Room(Some(taken))),
                Err(used_up) => Err(self.no_room(used_up)),
            },
        }
    }

    /// The same, once there is some. Cancel safe.
    pub(crate) async fn take(&self, bytes: usize) -> Room {
        match units(bytes) {
            0 => Room(None),
            units => Room(Some(self.share.take(units).await)),
        }
    }

    /// Why there is none for so much.
    pub(crate) fn none_for(&self, bytes: usize) -> NoRoom {
        self.no_room(self.share.used_up(units(bytes)))
    }

    fn no_room(&self, used_up: UsedUp) -> NoRoom {
        let BufferBounds { in_all_bytes_max, of_one_bytes_max } = self.bounds;
        match used_up {
            UsedUp::OfOne => NoRoom { setting: "callers.buffered_bytes_max", bytes_max: of_one_bytes_max },
            UsedUp::InAll => NoRoom { setting: "server.buffered_bytes_max", bytes_max: in_all_bytes_max },
        }
    }
}

impl Room {
    /// Keeps so much of it, and gives the rest back.
    pub(crate) fn keep(&mut self, bytes: usize) {
        match (units(bytes), &mut self.0) {
            (0, taken) => *taken = None,
            (units, Some(taken)) => taken.keep(units),
            (_, None) => {}
        }
    }
}

impl HeldRoom {
    pub(crate) fn hold(&self, room: Room) {
        // An answer is made once.
        let _ = self.0.set(room);
    }
}

fn units(bytes: usize) -> u32 {
    if bytes <= SMALL_BYTES { 0 } else { u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_a_part_and_what_is_small_is_free() {
        let bounds = BufferBounds { in_all_bytes_max: 30 * 1024, of_one_bytes_max: 20 * 1024 };
        let all = AllBuffers::new(bounds);
        let (one, other) = (all.of_caller(), all.of_caller());
        let mut first = one.try_take(15 * 1024).unwrap();
        let of_one = NoRoom { setting: "callers.buffered_bytes_max", bytes_max: 20 * 1024 };
        assert_eq!(one.try_take(10 * 1024).unwrap_err(), of_one);
        assert_eq!(one.none_for(10 * 1024), of_one);
        let in_all = NoRoom { setting: "server.buffered_bytes_max", bytes_max: 30 * 1024 };
        assert_eq!(other.try_take(16 * 1024).unwrap_err(), in_all);
        assert_eq!(other.none_for(16 * 1024), in_all);
        drop(other.try_take(15 * 1024).unwrap());
        drop(one.try_take(SMALL_BYTES).unwrap());
        // It was less in the end, and nothing at all once it is small.
        first.keep(10 * 1024);
        let second = one.try_take(10 * 1024).unwrap();
        first.keep(1);
        drop(other.try_take(20 * 1024).unwrap());
        drop((first, second));
        // More than there is can be had alone.
        let all_of_it = one.try_take(usize::MAX).unwrap();
        assert!(one.try_take(5 * 1024).is_err());
        drop(all_of_it);
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_and_takes_nothing_if_it_leaves() {
        let bounds = BufferBounds { in_all_bytes_max: 20 * 1024, of_one_bytes_max: 20 * 1024 };
        let buffers = AllBuffers::new(bounds).of_caller();
        let first = buffers.take(15 * 1024).await;
        let mut waiting = Box::pin(buffers.take(10 * 1024));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(first);
        assert!(futures::poll!(&mut waiting).is_ready());
        let first = buffers.take(15 * 1024).await;
        let mut leaves = Box::pin(buffers.take(10 * 1024));
        assert!(futures::poll!(&mut leaves).is_pending());
        drop((first, leaves));
        drop(buffers.try_take(20 * 1024).unwrap());
    }
}
