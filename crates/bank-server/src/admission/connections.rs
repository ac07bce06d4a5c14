//! Which connections are let in: so many in all, and so many from one peer.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::network::network_of;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// In all.
    pub connections_max: usize,
    /// From one peer: an IPv4 address, or 64 bits of an IPv6 address.
    pub connections_per_peer_max: usize,
}

/// Counts connections; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    bounds: ConnectionBounds,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    of_peer: HashMap<IpAddr, usize>,
}

/// The place of a connection that was let in, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    open: Arc<Mutex<Open>>,
    peer: IpAddr,
}

/// Which bound keeps a connection out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Server,
    Peer,
}

impl Admission {
    pub(crate) fn new(bounds: ConnectionBounds) -> Self {
        Self { bounds, open: Arc::default() }
    }

    pub(crate) fn admit(&self, address: IpAddr) -> Result<Place, Full> {
        let peer = network_of(address);
        let mut open = lock(&self.open);
        if open.connections >= self.bounds.connections_max {
            return Err(Full::Server);
        }
        let of_peer = open.of_peer.entry(peer).or_default();
        if *of_peer >= self.bounds.connections_per_peer_max {
            return Err(Full::Peer);
        }
        *of_peer += 1;
        open.connections += 1;
        Ok(Place { open: Arc::clone(&self.open), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.connections -= 1;
        if let Some(of_peer) = open.of_peer.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                open.of_peer.remove(&self.peer);
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // Nothing above panics half way through a change.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_max: usize, connections_per_peer_max: usize) -> Admission {
        Admission::new(ConnectionBounds { connections_max, connections_per_peer_max })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_full_peer_does_not_keep_others_out_and_a_place_is_free_again() {
        let admission = admission(3, 2);
        let first = admission.admit(address("10.0.0.1")).unwrap();
        let second = admission.admit(address("10.0.0.1")).unwrap();
        assert_eq!(admission.admit(address("10.0.0.1")).unwrap_err(), Full::Peer);
        let other = admission.admit(address("10.0.0.2")).unwrap();
        assert_eq!(admission.admit(address("10.0.0.3")).unwrap_err(), Full::Server);
        drop(first);
        let again = admission.admit(address("10.0.0.1")).unwrap();
        assert_eq!(admission.admit(address("10.0.0.1")).unwrap_err(), Full::Server);
        drop((second, other, again));
        assert!(lock(&admission.open).of_peer.is_empty(), "peers that are gone are forgotten");
    }
}
