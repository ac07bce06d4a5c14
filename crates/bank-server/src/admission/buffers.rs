//! Memory for messages and replies: messages that have not arrived completely, batches in progress, replies that are being
//! made, and those that have not been sent.
//!
//! Small buffers are not counted: the limit on calls in flight bounds them, and a movement of money pays nothing for this.

use std::sync::Arc;

use super::{
    callers::Allowance,
    limits::{LimitReached, Resource},
    permit::Permit,
};

/// Up to this, nothing is counted. A common message or reply has less than a kilobyte; as many as may be in flight
/// take 16 MiB.
const SMALL_BYTES: usize = 4096;

/// Memory that is reserved until this is dropped.
#[derive(Debug)]
pub(crate) struct BufferPermit(Option<Permit>);

impl Allowance {
    /// Reserves memory if it is free now. A caller who wants more than one may have gets all that one may have.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Result<BufferPermit, LimitReached> {
        if bytes <= SMALL_BYTES {
            return Ok(BufferPermit(None));
        }
        let bytes = bytes.min(self.possible(Resource::BufferedBytes));
        self.try_take(Resource::BufferedBytes, bytes).map(|permit| BufferPermit(Some(permit)))
    }

    /// The same, once it is free. Cancel safe.
    pub(crate) async fn reserve(&self, bytes: usize) -> BufferPermit {
        if bytes <= SMALL_BYTES {
            return BufferPermit(None);
        }
        BufferPermit(Some(self.take(Resource::BufferedBytes, bytes).await))
    }

    /// The limit that a reservation waits for.
    pub(crate) fn buffer_limit(&self, bytes: usize) -> LimitReached {
        self.blocking_limit(Resource::BufferedBytes, bytes)
    }
}

impl BufferPermit {
    /// Keeps it in the extensions of an answer, as an `Arc`, until that has been sent.
    pub(crate) fn travel_with(self, extensions: &mut http::Extensions) {
        if self.0.is_some() {
            extensions.insert(Arc::new(self));
        }
    }

    /// Keeps so much of it, and gives the rest back.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if bytes <= SMALL_BYTES {
            self.0 = None;
        } else if let Some(permit) = &mut self.0 {
            permit.shrink(Resource::BufferedBytes.permits(bytes));
        }
    }
}

#[cfg(test)]
mod tests;
