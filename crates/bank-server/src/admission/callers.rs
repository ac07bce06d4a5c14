//! What each caller may ask of the server: so many calls a second, so many at once. An operation of a
//! batch counts as a call.

use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bank_domain::Owner;
use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use lru::LruCache;

use super::{
    buffers::{AllBuffers, BufferBounds, Buffers},
    room::{CallBounds, CallPlace, Kind, NoPlace, Places},
    share::{Pool, Share, Taken},
};
use crate::{auth::Identity, network::Peer};

/// What a caller may ask of the server.
#[derive(Clone, Copy, Debug)]
pub struct CallerBounds {
    /// How many calls a caller may make in a second, in the long run.
    pub calls_per_second_max: NonZeroU32,
    /// How many more at once, after a pause.
    pub calls_burst_max: NonZeroU32,
    /// How many calls of one caller may be in flight.
    pub calls: CallBounds,
    /// How much memory messages and replies may take.
    pub buffers: BufferBounds,
    /// How many lists may be read at once.
    pub scans: ScanBounds,
    /// How many callers are remembered; those that called longest ago are forgotten.
    pub callers_remembered_max: NonZeroUsize,
}

/// How many reads of lists there may be at once.
#[derive(Clone, Copy, Debug)]
pub struct ScanBounds {
    /// Of all callers together.
    pub in_all_max: usize,
    /// Of one of them.
    pub of_one_max: usize,
}

/// The callers of late; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    bounds: CallerBounds,
    buffers: AllBuffers,
    scans: Pool,
    known: Arc<Mutex<LruCache<Caller, Arc<Known>>>>,
}

/// Who a call counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Named(Owner),
    /// Who did not have to say who they are.
    At(IpAddr),
}

#[derive(Debug)]
struct Known {
    rate: DefaultDirectRateLimiter,
    calls_per_second_max: NonZeroU32,
    calls_burst_max: NonZeroU32,
    room: Places,
    buffers: Buffers,
    scans: Share,
}

/// A caller who has been let in, and for whom more may be counted.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Arc<Known>);

/// More than a caller may have carried out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFast {
    pub(crate) calls_per_second_max: NonZeroU32,
    /// When there is room again.
    pub(crate) retry_after: Duration,
}

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// They call too often, and may come back then.
    Rate { retry_after: Duration },
    /// They have too many calls in flight.
    InFlight(NoPlace),
}

impl Caller {
    /// Who a call counts for, by what has been found out about it; none if nothing has.
    pub(crate) fn of_call(extensions: &http::Extensions) -> Option<Self> {
        Some(Self::of(extensions.get::<Identity>(), *extensions.get::<Peer>()?))
    }

    /// Who a call counts for: an identity by its name, anybody else by their address.
    pub(crate) fn of(identity: Option<&Identity>, peer: Peer) -> Self {
        match identity {
            Some(identity) if !identity.is_operator() => Self::Named(identity.subject().clone()),
            _ => Self::At(peer.network()),
        }
    }
}

impl Callers {
    pub(crate) fn new(bounds: CallerBounds) -> Self {
        let ScanBounds { in_all_max, of_one_max } = bounds.scans;
        Self {
            bounds,
            buffers: AllBuffers::new(bounds.buffers),
            scans: Pool::new(in_all_max, of_one_max),
            known: Arc::new(Mutex::new(LruCache::new(bounds.callers_remembered_max))),
        }
    }

    /// Counts a call. It is in flight until its place is dropped.
    pub(crate) fn admit(&self, caller: Caller, kind: Kind) -> Result<(CallPlace, Allowance), Excess> {
        // Nothing below panics half way through a change.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::clone(known.get_or_insert(caller, || Arc::new(self.unknown())));
        let now = DefaultClock::default().now();
        let admitted = known
            .rate
            .check()
            .map_err(|until| Excess::Rate { retry_after: until.wait_time_from(now) })
            .and_then(|()| known.room.take(kind).map_err(Excess::InFlight));
        admitted.map(|place| (place, Allowance(known)))
    }

    fn unknown(&self) -> Known {
        let CallerBounds { calls_per_second_max, calls_burst_max, calls, .. } = self.bounds;
        let quota = Quota::per_second(calls_per_second_max).allow_burst(calls_burst_max);
        Known {
            rate: DefaultDirectRateLimiter::direct(quota),
            calls_per_second_max,
            calls_burst_max,
            room: Places::new(calls),
            buffers: self.buffers.of_caller(),
            scans: self.scans.share(),
        }
    }
}

impl Allowance {
    /// Of the caller of a call that was let in.
    pub(crate) fn of_call(extensions: &http::Extensions) -> Option<Self> {
        extensions.get().cloned()
    }

    /// The memory that the caller may take.
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.0.buffers
    }

    /// A place to read a part of a list, once there is one. Cancel safe.
    pub(crate) async fn scan(&self) -> Taken {
        self.0.scans.take(1).await
    }

    /// Counts so many operations, or as many as the caller can ever make at once.
    pub(crate) fn take_at_most(&self, operations: usize) -> Result<(), TooFast> {
        let burst = usize::try_from(self.0.calls_burst_max.get()).unwrap_or(usize::MAX);
        self.take(operations.min(burst))
    }

    /// Counts so many operations, all of them or none.
    pub(crate) fn take(&self, operations: usize) -> Result<(), TooFast> {
        let Known { rate, calls_per_second_max, .. } = &*self.0;
        let Some(count) = u32::try_from(operations).ok().and_then(NonZeroU32::new) else {
            return Ok(());
        };
        let now = DefaultClock::default().now();
        let retry_after = match rate.check_n(count) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(until)) => until.wait_time_from(now),
            // More than there is ever room for: no batch is that large.
            Err(_) => Duration::MAX,
        };
        Err(TooFast { calls_per_second_max: *calls_per_second_max, retry_after })
    }
}

/// What one caller may do who has room for a single scan.
#[cfg(test)]
pub(crate) fn one_scan() -> Allowance {
    let (_places, allowance) = tests::callers(1, 1).admit(tests::at("10.0.0.1:1"), Kind::Single).unwrap();
    allowance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scopes;

    pub(crate) fn callers(calls_burst_max: u32, calls_in_flight_max: usize) -> Callers {
        Callers::new(CallerBounds {
            calls_per_second_max: NonZeroU32::MIN,
            calls_burst_max: NonZeroU32::new(calls_burst_max).unwrap(),
            calls: CallBounds { calls_in_flight_max, concurrent_batches_max: 1, batch_streams_max: 1 },
            buffers: BufferBounds { in_all_bytes_max: 1024, of_one_bytes_max: 1024 },
            scans: ScanBounds { in_all_max: 1, of_one_max: 1 },
            callers_remembered_max: NonZeroUsize::new(2).unwrap(),
        })
    }

    pub(crate) fn at(address: &str) -> Caller {
        Caller::of(None, Peer(address.parse().unwrap()))
    }

    #[test]
    fn a_caller_who_calls_too_often_is_told_when_to_come_back_and_others_are_served() {
        let callers = callers(2, 10);
        for _ in 0..2 {
            drop(callers.admit(at("10.0.0.1:1"), Kind::Single).unwrap());
        }
        let excess = callers.admit(at("10.0.0.1:2"), Kind::Single).unwrap_err();
        let Excess::Rate { retry_after } = excess else { panic!("{excess:?}") };
        assert!(!retry_after.is_zero() && retry_after <= Duration::from_secs(1), "{retry_after:?}");
        drop(callers.admit(at("10.0.0.2:1"), Kind::Single).unwrap());
    }

    #[test]
    fn operations_of_a_batch_count_as_calls_all_at_once_or_not_at_all() {
        let callers = callers(10, 10);
        let (_place, allowance) = callers.admit(at("10.0.0.1:1"), Kind::Batch).unwrap();
        allowance.take(8).unwrap();
        assert!(allowance.take(2).unwrap_err().retry_after <= Duration::from_secs(1));
        allowance.take(1).unwrap();
        assert!(callers.admit(at("10.0.0.1:1"), Kind::Single).is_err());
        allowance.take(0).unwrap();
    }

    #[test]
    fn a_caller_has_so_many_calls_in_flight_until_they_end() {
        let callers = callers(10, 1);
        let call = callers.admit(at("10.0.0.1:1"), Kind::Single).unwrap();
        let full = NoPlace { kind: Kind::Single, max: 1 };
        let excess = callers.admit(at("10.0.0.1:1"), Kind::Single).unwrap_err();
        assert_eq!(excess, Excess::InFlight(full));
        drop(call);
        drop(callers.admit(at("10.0.0.1:1"), Kind::Single).unwrap());
    }

    #[test]
    fn a_name_counts_wherever_it_calls_from_and_what_is_remembered_is_bounded() {
        let callers = callers(1, 10);
        let named = |name: &str, address: &str| {
            let identity = Identity::try_new(name, Scopes::ALL).unwrap();
            Caller::of(Some(&identity), Peer(address.parse().unwrap()))
        };
        drop(callers.admit(named("alice", "10.0.0.1:1"), Kind::Single).unwrap());
        assert!(callers.admit(named("alice", "10.0.0.2:1"), Kind::Single).is_err());
        drop(callers.admit(named("bob", "10.0.0.1:1"), Kind::Single).unwrap());
        drop(callers.admit(at("10.0.0.1:1"), Kind::Single).unwrap());
        assert_eq!(callers.known.lock().unwrap().len(), 2);
        assert_eq!(
            Caller::of(Some(&Identity::operator()), Peer("10.0.0.1:1".parse().unwrap())),
            at("10.0.0.1:2")
        );
    }
}
