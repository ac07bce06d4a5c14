//! What each caller may use: so many calls a second, and a part of every resource.

use std::{
    array,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bank_domain::Owner;
use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use lru::LruCache;
use strum::{EnumCount as _, VariantArray as _};
use tokio::{sync::Semaphore, time::sleep};

use super::{
    limits::{CallerLimits, LimitReached, LimitScope, Resource},
    permit::{Permit, Pools},
};
use crate::{auth::Identity, network::Peer};

/// The shortest pause of a caller who is too fast.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// How many callers are looked at to find one that can be forgotten.
const FORGET_ATTEMPTS_MAX: usize = 16;

/// The recent callers; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    shared: Arc<Shared>,
    known: Arc<Mutex<LruCache<CallerId, Arc<Caller>>>>,
}

/// Who a call counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum CallerId {
    Subject(Owner),
    /// A caller who needed no token.
    Network(IpAddr),
}

/// What all callers have together.
#[derive(Debug)]
struct Shared {
    limits: CallerLimits,
    total: [Arc<Semaphore>; Resource::COUNT],
}

#[derive(Debug)]
struct Caller {
    shared: Arc<Shared>,
    rate: DefaultDirectRateLimiter,
    /// Made when they are first needed: most callers use few resources.
    own: [OnceLock<Arc<Semaphore>>; Resource::COUNT],
}

/// What one caller may use; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Arc<Caller>);

/// The caller calls too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimited {
    pub(crate) calls_per_second_max: NonZeroU32,
    pub(crate) retry_after: Duration,
}

impl CallerId {
    /// An identity counts by its name, anybody else by their address.
    fn of(identity: Option<&Identity>, peer: Peer) -> Self {
        match identity {
            Some(identity) if !identity.is_operator() => Self::Subject(identity.subject().clone()),
            _ => Self::Network(peer.network()),
        }
    }
}

impl Callers {
    pub(crate) fn new(limits: CallerLimits) -> Self {
        let total = array::from_fn(|index| {
            let resource = Resource::VARIANTS[index];
            Arc::new(Semaphore::new(resource.permits(resource.limit(&limits).total)))
        });
        Self {
            shared: Arc::new(Shared { limits, total }),
            // Bounded below.
            known: Arc::new(Mutex::new(LruCache::unbounded())),
        }
    }

    /// What a caller may use.
    pub(crate) fn allowance(&self, identity: Option<&Identity>, peer: Peer) -> Allowance {
        let id = CallerId::of(identity, peer);
        // Nothing panics while it is locked.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = known.get(&id) {
            return Allowance(Arc::clone(caller));
        }
        for _ in 0..FORGET_ATTEMPTS_MAX {
            if known.len() < self.shared.limits.callers_remembered_max.get() {
                break;
            }
            // A caller with a call in flight is kept: otherwise their permits would not count any more.
            if let Some((id, caller)) = known.pop_lru().filter(|(_, caller)| Arc::strong_count(caller) > 1) {
                known.put(id, caller);
            }
        }
        let caller = Arc::new(Caller::new(Arc::clone(&self.shared)));
        known.put(id, Arc::clone(&caller));
        Allowance(caller)
    }
}

impl Caller {
    fn new(shared: Arc<Shared>) -> Self {
        let CallerLimits { calls_per_second_max, calls_burst_max, .. } = shared.limits;
        let quota = Quota::per_second(calls_per_second_max).allow_burst(calls_burst_max);
        Self {
            shared,
            rate: DefaultDirectRateLimiter::direct(quota),
            own: array::from_fn(|_| OnceLock::new()),
        }
    }

    fn pools(&self, resource: Resource) -> Pools<'_> {
        let own = self.own[resource as usize].get_or_init(|| {
            Arc::new(Semaphore::new(resource.permits(self.limit(resource, LimitScope::PerCaller))))
        });
        Pools { total: &self.shared.total[resource as usize], own }
    }

    fn limit(&self, resource: Resource, scope: LimitScope) -> usize {
        let limit = resource.limit(&self.shared.limits);
        match scope {
            LimitScope::Total => limit.total,
            LimitScope::PerCaller => limit.per_caller,
        }
    }

    fn reached(&self, resource: Resource, scope: LimitScope) -> LimitReached {
        LimitReached { resource, scope, max: self.limit(resource, scope) }
    }
}

impl Allowance {
    /// That of the caller of a call that was let in.
    pub(crate) fn of_call(extensions: &http::Extensions) -> Option<Self> {
        extensions.get().cloned()
    }

    /// Takes a part of a resource, if it is free now.
    pub(crate) fn try_take(&self, resource: Resource, amount: usize) -> Result<Permit, LimitReached> {
        // What does not fit the count is more than there ever is.
        let count = u32::try_from(resource.permits(amount)).unwrap_or(u32::MAX);
        self.0.pools(resource).try_take(count).map_err(|scope| self.0.reached(resource, scope))
    }

    /// Waits for a part of a resource: at most for all that a caller may have. Cancel safe.
    pub(crate) async fn take(&self, resource: Resource, amount: usize) -> Permit {
        let amount = amount.min(self.possible(resource));
        let count = u32::try_from(resource.permits(amount)).unwrap_or(u32::MAX);
        self.0.pools(resource).take(count).await
    }

    /// The most of a resource that a caller can have.
    pub(super) fn possible(&self, resource: Resource) -> usize {
        let limit = resource.limit(&self.0.shared.limits);
        limit.total.min(limit.per_caller)
    }

    /// The limit that keeps the caller from having so much.
    pub(super) fn blocking_limit(&self, resource: Resource, amount: usize) -> LimitReached {
        let own = self.0.pools(resource).own.available_permits();
        let is_own = own < resource.permits(amount.min(self.possible(resource)));
        self.0.reached(resource, if is_own { LimitScope::PerCaller } else { LimitScope::Total })
    }

    /// Counts so many operations against the caller's rate, all of them or none.
    pub(crate) fn count(&self, operations: usize) -> Result<(), RateLimited> {
        let Some(count) = u32::try_from(operations).ok().and_then(NonZeroU32::new) else {
            return Ok(());
        };
        let retry_after = match self.0.rate.check_n(count) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(until)) => until.wait_time_from(DefaultClock::default().now()),
            // More than the burst: no batch is that large.
            Err(_) => Duration::MAX,
        };
        let calls_per_second_max = self.0.shared.limits.calls_per_second_max;
        Err(RateLimited { calls_per_second_max, retry_after })
    }

    /// Waits until the caller's rate has room for so many operations, or for the whole burst if they are more.
    pub(crate) async fn keep_pace(&self, operations: usize) {
        let burst = usize::try_from(self.0.shared.limits.calls_burst_max.get()).unwrap_or(usize::MAX);
        while let Err(RateLimited { retry_after, .. }) = self.count(operations.min(burst)) {
            sleep(retry_after.max(PAUSE_MIN)).await;
        }
    }
}

/// What a caller may use who may read one list at a time.
#[cfg(test)]
pub(crate) fn one_scan() -> Allowance {
    tests::callers(1, 1).allowance(None, tests::peer("10.0.0.1"))
}

#[cfg(test)]
pub(super) mod tests;
