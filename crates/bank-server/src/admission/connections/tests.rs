use super::*;

fn admit(connections: &mut Connections, address: &str) -> Result<Permit, LimitScope> {
    connections.admit(Peer((address.parse::<IpAddr>().unwrap(), 1).into()))
}

#[test]
fn a_peer_at_its_limit_does_not_keep_others_out_and_a_permit_is_free_again() {
    let mut connections = Connections::new(ConnectionLimits { total_max: 3, per_peer_max: 2 });
    let first = admit(&mut connections, "10.0.0.1").unwrap();
    let second = admit(&mut connections, "10.0.0.1").unwrap();
    assert_eq!(admit(&mut connections, "10.0.0.1").unwrap_err(), LimitScope::PerCaller);
    let other = admit(&mut connections, "10.0.0.2").unwrap();
    assert_eq!(admit(&mut connections, "10.0.0.3").unwrap_err(), LimitScope::Total);
    drop(first);
    let again = admit(&mut connections, "10.0.0.1").unwrap();
    drop((second, other, again));
    for index in 0..100 {
        drop(admit(&mut connections, &format!("10.0.1.{index}")).unwrap());
        assert!(connections.peers.len() <= 6, "peers that are gone are forgotten");
    }
}
