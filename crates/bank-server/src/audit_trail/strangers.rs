//! Denials of those who did not say who they are.

use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Mutex, PoisonError},
};

use governor::{DefaultDirectRateLimiter, Quota};
use lru::LruCache;

/// How many denials of one peer are written down one by one in a second, in the long run.
const PER_SECOND_MAX: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// How many more after a pause.
const BURST_MAX: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// How many peers are remembered.
const PEERS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Bounds what strangers can fill the audit trail with. Each of their denials is counted; past the bound
/// many are one event.
#[derive(Debug)]
pub struct Strangers {
    peers: Mutex<LruCache<IpAddr, Denied>>,
}

#[derive(Debug)]
struct Denied {
    rate: DefaultDirectRateLimiter,
    unsaid: u64,
}

impl Strangers {
    /// Counts one more denial of a peer. How many there were since it was last said, if it is to be
    /// said now.
    pub fn count(&self, peer: IpAddr) -> Option<u64> {
        // Nothing below panics half way through a change.
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let denied = peers.get_or_insert_mut(peer, Denied::default);
        denied.unsaid += 1;
        denied.rate.check().is_ok().then(|| std::mem::take(&mut denied.unsaid))
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Self { peers: Mutex::new(LruCache::new(PEERS_MAX)) }
    }
}

impl Default for Denied {
    fn default() -> Self {
        let quota = Quota::per_second(PER_SECOND_MAX).allow_burst(BURST_MAX);
        Self { rate: DefaultDirectRateLimiter::direct(quota), unsaid: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_is_written_down_until_there_are_too_many_and_none_is_lost() {
        let strangers = Strangers::default();
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let said: Vec<u64> = (0..1_000).filter_map(|_| strangers.count(one)).collect();
        assert!(said[..100].iter().all(|times| *times == 1) && said.len() < 200, "{said:?}");
        assert_eq!(strangers.count(other), Some(1), "nobody is hidden by somebody else");
    }
}
