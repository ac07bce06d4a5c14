//! What callers share: so much of it in all, and so much for each of them.

use std::{future::pending, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Something that there is so much of. A server is never so large that the count does not fit.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    in_all: Arc<Semaphore>,
    of_one_max: u32,
}

/// What one caller may take of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pool: Pool,
    own: Arc<Semaphore>,
}

/// What was taken. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    own: OwnedSemaphorePermit,
    in_all: OwnedSemaphorePermit,
}

/// Whose part of a pool is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsedUp {
    OfOne,
    InAll,
}

impl Pool {
    pub(crate) fn new(in_all_max: usize, of_one_max: usize) -> Self {
        let count = |max| u32::try_from(max).unwrap_or(u32::MAX);
        let in_all_max = count(in_all_max);
        let of_one_max = count(of_one_max).min(in_all_max);
        Self { in_all: Arc::new(Semaphore::new(in_all_max as usize)), of_one_max }
    }

    /// The part of one more caller.
    pub(crate) fn share(&self) -> Share {
        Share { pool: self.clone(), own: Arc::new(Semaphore::new(self.of_one_max as usize)) }
    }
}

impl Share {
    /// Takes so much, if it is there at once. Who wants more than a caller may have gets that.
    pub(crate) fn try_take(&self, count: u32) -> Result<Taken, UsedUp> {
        let count = count.min(self.pool.of_one_max);
        let own = Arc::clone(&self.own).try_acquire_many_owned(count).map_err(|_| UsedUp::OfOne)?;
        let in_all =
            Arc::clone(&self.pool.in_all).try_acquire_many_owned(count).map_err(|_| UsedUp::InAll)?;
        Ok(Taken { own, in_all })
    }

    /// The same, once it is there. A caller waits for what they have taken themselves before they wait among all
    /// others, so that nobody waits for more than one share of anybody else. Cancel safe.
    pub(crate) async fn take(&self, count: u32) -> Taken {
        let count = count.min(self.pool.of_one_max);
        let own = Arc::clone(&self.own).acquire_many_owned(count).await;
        let in_all = Arc::clone(&self.pool.in_all).acquire_many_owned(count).await;
        match (own, in_all) {
            (Ok(own), Ok(in_all)) => Taken { own, in_all },
            // Nobody closes them.
            _ => pending().await,
        }
    }

    /// Whose part is used up, if so much cannot be taken.
    pub(crate) fn used_up(&self, count: u32) -> UsedUp {
        let count = count.min(self.pool.of_one_max);
        if self.own.available_permits() < count as usize { UsedUp::OfOne } else { UsedUp::InAll }
    }
}

impl Taken {
    /// Keeps so much of it, or all if it is less.
    pub(crate) fn keep(&mut self, count: u32) {
        for permits in [&mut self.own, &mut self.in_all] {
            drop(permits.split(permits.num_permits().saturating_sub(count as usize)));
        }
    }
}
