//! Permits: a part of what one caller may use, and of what all may use together.

use std::{future::pending, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::LimitScope;

/// What is left for everybody and for one caller.
#[derive(Clone, Copy)]
pub(super) struct Pools<'a> {
    pub(super) total: &'a Arc<Semaphore>,
    pub(super) own: &'a Arc<Semaphore>,
}

/// What was taken. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    total: OwnedSemaphorePermit,
    own: OwnedSemaphorePermit,
}

impl Pools<'_> {
    /// Takes permits if they are free now.
    pub(super) fn try_take(self, count: u32) -> Result<Permit, LimitScope> {
        let take =
            |pool: &Arc<Semaphore>, scope| Arc::clone(pool).try_acquire_many_owned(count).map_err(|_| scope);
        let own = take(self.own, LimitScope::PerCaller)?;
        Ok(Permit { own, total: take(self.total, LimitScope::Total)? })
    }

    /// Waits for permits. A caller waits for their own before they wait for those of everybody, so nobody waits behind more
    /// than one caller's part. Cancel safe.
    pub(super) async fn take(self, count: u32) -> Permit {
        let own = Arc::clone(self.own).acquire_many_owned(count).await;
        let total = Arc::clone(self.total).acquire_many_owned(count).await;
        match (own, total) {
            (Ok(own), Ok(total)) => Permit { total, own },
            // No semaphore is ever closed.
            _ => pending().await,
        }
    }
}

impl Permit {
    /// Keeps so many permits and gives the rest back.
    pub(super) fn shrink(&mut self, count: usize) {
        for permits in [&mut self.own, &mut self.total] {
            drop(permits.split(permits.num_permits().saturating_sub(count)));
        }
    }
}
