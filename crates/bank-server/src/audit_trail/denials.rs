//! Limits how often denials are logged, so that a caller cannot fill the audit trail.
//!
//! Each caller has a rate limit. Denials beyond it are counted, and the count is logged with the next event of the caller,
//! at the next flush, on eviction, or at shutdown. So the sum of `times` over all events is the number of denials.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    sync::{Mutex, MutexGuard, PoisonError},
};

use governor::{DefaultDirectRateLimiter, Quota};
use lru::LruCache;
use tonic::Code;

use super::event::{Event, Kind};
use crate::network::Peer;

/// How many pairs of caller and kind are cached, at about 300 bytes each.
const CALLERS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// How many denials of one caller are logged in a second, on average.
const PER_SECOND_MAX: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// How many more are logged after a pause.
const BURST_MAX: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// The rate limit and unlogged denials of each caller.
#[derive(Debug)]
pub(super) struct Denials(Mutex<LruCache<Key, Count>>);

/// A caller and a kind of denial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    subject: String,
    /// The network of an unauthenticated caller.
    network: Option<IpAddr>,
}

#[derive(Debug)]
struct Count {
    rate: DefaultDirectRateLimiter,
    /// Denials that were not logged yet.
    unwritten: u64,
    /// The peer of the last one.
    peer: Option<SocketAddr>,
    method: &'static str,
    outcome: Code,
}

impl Denials {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(CALLERS_MAX)))
    }

    /// Counts a denial, and passes what is to be logged now to `write`.
    pub(super) fn count(&self, event: Event<'_>, mut write: impl FnMut(Event<'_>)) {
        let Event { kind, subject, peer, method, outcome, .. } = event;
        let network = if subject.is_empty() { peer.map(|peer| Peer(peer).network()) } else { None };
        let key = Key { kind, subject: subject.to_owned(), network };
        let mut known = self.known();
        if !known.contains(&key)
            && let Some((key, mut count)) = known.push(key.clone(), Count::of(kind))
        {
            count.write_rest(&key, &mut write);
        }
        let Some(count) = known.get_mut(&key) else { return };
        count.unwritten += event.times;
        (count.peer, count.method, count.outcome) = (peer, method, outcome);
        if count.rate.check().is_ok() {
            write(Event { times: std::mem::take(&mut count.unwritten), ..event });
        }
    }

    /// Passes everything that was not logged yet to `write`.
    pub(super) fn flush(&self, mut write: impl FnMut(Event<'_>)) {
        for (key, count) in self.known().iter_mut() {
            count.write_rest(key, &mut write);
        }
    }

    fn known(&self) -> MutexGuard<'_, LruCache<Key, Count>> {
        // Nothing here panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn of(kind: Kind) -> Self {
        let quota = match kind {
            // They carry no information but their number.
            Kind::RateLimited => Quota::per_second(NonZeroU32::MIN),
            _ => Quota::per_second(PER_SECOND_MAX).allow_burst(BURST_MAX),
        };
        let rate = DefaultDirectRateLimiter::direct(quota);
        Self { rate, unwritten: 0, peer: None, method: "", outcome: Code::Ok }
    }

    fn write_rest(&mut self, key: &Key, write: &mut impl FnMut(Event<'_>)) {
        let times = std::mem::take(&mut self.unwritten);
        if times > 0 {
            let Self { peer, method, outcome, .. } = *self;
            let event = Event { subject: &key.subject, peer, times, ..Event::new(key.kind, method, outcome) };
            write(event);
        }
    }
}

#[cfg(test)]
mod tests;
