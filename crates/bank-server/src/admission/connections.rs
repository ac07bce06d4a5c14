//! Connections: so many in all, and so many from one peer.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Weak},
};

use tokio::sync::Semaphore;

use super::{
    limits::LimitScope,
    permit::{Permit, Pools},
};
use crate::network::Peer;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// In all.
    pub total_max: usize,
    /// From one peer: an IPv4 address, or 64 bits of an IPv6 address.
    pub per_peer_max: usize,
}

/// Admits connections up to their limits.
#[derive(Debug)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    total: Arc<Semaphore>,
    /// Those of peers with a connection, and some of peers that have none any more.
    peers: HashMap<IpAddr, Weak<Semaphore>>,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self { limits, total: Arc::new(Semaphore::new(limits.total_max)), peers: HashMap::new() }
    }

    /// A permit that lasts as long as the connection.
    pub(super) fn admit(&mut self, peer: Peer) -> Result<Permit, LimitScope> {
        // At most half of them have a connection, so each is looked at once or twice.
        if self.peers.len() >= 2 * self.limits.total_max {
            self.peers.retain(|_, permits| permits.strong_count() > 0);
        }
        let known = self.peers.entry(peer.network()).or_default();
        let own = known.upgrade().unwrap_or_else(|| {
            let own = Arc::new(Semaphore::new(self.limits.per_peer_max));
            *known = Arc::downgrade(&own);
            own
        });
        Pools { total: &self.total, own: &own }.try_take(1)
    }
}

#[cfg(test)]
mod tests;
