//! Who is behind an address, as far as it tells.

use std::net::{IpAddr, Ipv6Addr};

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
