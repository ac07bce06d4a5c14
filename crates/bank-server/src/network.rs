//! Addresses: the port that the server listens on, and where calls come from.

mod socket;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub use self::socket::{ListenError, Socket};

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// The network that stands for the peer.
    pub(crate) fn network(self) -> IpAddr {
        network_of(self.0.ip())
    }
}

/// The network that stands for one peer: an IPv4 address, or the first half of an IPv6 address. Whoever has one address
/// of the latter commonly has all that share its first half.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_is_an_address_or_the_network_that_one_has() {
        for (address, peer) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
        ] {
            assert_eq!(network_of(address.parse().unwrap()), peer.parse::<IpAddr>().unwrap());
        }
    }
}
