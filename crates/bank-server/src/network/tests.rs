use super::*;

#[test]
fn a_peer_is_an_ipv4_address_or_half_an_ipv6_address() {
    for (address, network) in [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
    ] {
        let peer = Peer((address.parse::<IpAddr>().unwrap(), 1).into());
        assert_eq!(peer.network(), network.parse::<IpAddr>().unwrap());
    }
}
