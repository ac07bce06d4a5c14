use super::*;

fn asked() -> Server {
    Server::new("10.0.0.9", 7_000)
}

fn list<const N: usize>(values: [Value; N]) -> Value {
    Value::Array(values.into())
}

fn range(first: i64, last: i64, node: Value) -> Value {
    let replica = list(["10.0.0.8".into(), 7_009.into(), "id".into()]);
    list([first.into(), last.into(), node, replica])
}

fn node(host: impl Into<Value>, port: i64) -> Value {
    list([host.into(), port.into(), "id".into(), list([])])
}

#[test]
fn a_slot_is_that_of_the_hash_tag() {
    // `CLUSTER KEYSLOT`.
    for (key, slot) in [("bank:meta", 2_964), ("bank:barrier", 2_712), ("123456789", 12_739)] {
        assert_eq!(slot_of(key), slot, "{key}");
    }
    assert_eq!(slot_of("bank:{17}:meta"), slot_of("17"));
    assert_ne!(slot_of("bank:{}:meta"), slot_of(""));
}

#[test]
fn the_map_names_the_primary_of_each_slot() {
    let slots = list([
        range(0, 99, node("10.0.0.1", 7_001)),
        range(100, 200, node("10.0.0.2", 7_002)),
        range(16_383, 16_383, node("10.0.0.1", 7_001)),
    ]);
    let map = SlotMap::read(slots, &asked()).unwrap();
    let (one, two) = (Server::new("10.0.0.1", 7_001), Server::new("10.0.0.2", 7_002));
    assert_eq!(map.nodes(), [one.clone(), two.clone()]);
    for (slot, owner) in
        [(0, Some(&one)), (99, Some(&one)), (100, Some(&two)), (201, None), (16_383, Some(&one))]
    {
        assert_eq!(map.owner(slot), owner, "{slot}");
    }
    assert_eq!(map.missing(), 16_384 - 202);
    assert_eq!(SlotMap::read(list([]), &asked()).unwrap().missing(), 16_384);
}

/// As with `cluster-preferred-endpoint-type unknown-endpoint`, or `hostname` without `cluster-announce-hostname`.
#[test]
fn a_node_without_a_name_is_where_it_was_asked() {
    let named = list(["?".into(), 7_003.into(), "id".into(), list(["ip".into(), "10.0.0.3".into()])]);
    for (node, host) in [
        (node("", 7_003), "10.0.0.9"),
        (node(Value::Null, 7_003), "10.0.0.9"),
        (node("redis.test", 7_003), "redis.test"),
        (node("::1", 7_003), "::1"),
        (named, "10.0.0.3"),
    ] {
        let map = SlotMap::read(list([range(0, 1, node)]), &asked()).unwrap();
        assert_eq!(map.owner(1), Some(&Server::new(host, 7_003)));
    }
}

#[test]
fn a_malformed_map_is_an_error() {
    for slots in [
        "OK".into(),
        list([list([])]),
        list([range(0, 16_384, node("a", 1))]),
        list([range(-1, 5, node("a", 1))]),
        list([range(9, 5, node("a", 1))]),
        list([range(0, 5, node("a", 65_536))]),
        list([list([0.into(), 1.into(), list([])])]),
    ] {
        assert!(SlotMap::read(slots.clone(), &asked()).is_err(), "{slots:?}");
    }
}

/// As Redis 7.0.15, Redis 8.2.3 and Valkey 9.1.2 word them.
#[test]
fn redirections_are_understood() {
    let node = Server::new("127.0.0.1", 7_001);
    for (error, redirect) in [
        ("MOVED 9842 127.0.0.1:7001", Some(Redirect::Moved(node.clone()))),
        ("MOVED 9842 :7001", Some(Redirect::Moved(Server::new("10.0.0.9", 7_001)))),
        ("MOVED 9842 ::1:7001", Some(Redirect::Moved(Server::new("::1", 7_001)))),
        ("ASK 9842 127.0.0.1:7001", Some(Redirect::Ask(node))),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Some(Redirect::TryAgain)),
        ("CLUSTERDOWN Hash slot not served", Some(Redirect::Down)),
        ("CLUSTERDOWN The cluster is down", Some(Redirect::Down)),
        ("MOVED", None),
        ("MOVED 9842", None),
        ("MOVED 9842 127.0.0.1", None),
        ("ASK 9842 127.0.0.1:x", None),
        ("CROSSSLOT Keys in request don't hash to the same slot", None),
        ("ERR unknown command", None),
        ("", None),
    ] {
        assert_eq!(Redirect::of(error, &asked()), redirect, "{error}");
    }
}
