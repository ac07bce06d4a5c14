//! Addresses: the port that the server listens on, and where calls come from.

mod socket;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

pub use self::socket::Socket;

/// The address that a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// The network that counts as one peer: an IPv4 address, or the first half of an IPv6 address. Whoever has one IPv6
    /// address usually has all that share its first half.
    pub(crate) fn network(self) -> IpAddr {
        match self.0.ip().to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            address @ IpAddr::V4(_) => address,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
