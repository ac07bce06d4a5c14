use super::*;

fn id(text: &str) -> AccountId {
    text.parse().unwrap()
}

#[test]
fn accounts_stay_on_their_partitions() {
    let placement = Placement::try_new(256).unwrap();
    assert_eq!((placement.of(&id("123")), placement.of(&id("alice"))), (27, 231));
    assert_eq!(Placement::default().of(&id("123")), 795);
    assert!(Placement::try_new(0).is_err() && Placement::try_new(16_385).is_err());
}

#[test]
fn accounts_of_one_route_share_a_partition() {
    let placement = Placement::default();
    let owner: Owner = "alice".parse().unwrap();
    for name in ["alice", "alice:checking", "alice:savings:2026", "alice:"] {
        assert_eq!(placement.of(&id(name)), placement.of_owner(&owner), "{name}");
    }
    let former = placement.with_rule(PlacementRule::AccountId);
    assert_eq!(former.of(&id("alice")), placement.of(&id("alice")));
    assert_ne!(former.of(&id("alice:checking")), former.of(&id("alice:savings")));
}

#[test]
fn rules_are_parsed_as_they_are_stored() {
    for rule in [PlacementRule::Route, PlacementRule::AccountId] {
        assert_eq!(PlacementRule::from_name(rule.as_str()), Some(rule));
    }
    assert_eq!(PlacementRule::from_name("slot"), None);
}

#[test]
fn accounts_spread_evenly() {
    let placement = Placement::default();
    let mut counts = [0_u32; 1_024];
    for number in 0..1_024_000 {
        counts[placement.of_name(&format!("account-{number}")) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
}
