use super::*;

#[test]
fn scopes_are_read_as_tokens_have_them() {
    for (list, expected) in [
        ("", ""),
        ("bank.read", "bank.read"),
        ("bank.admin openid bank.write", "bank.write bank.admin"),
        ("bank.read bank.read", "bank.read"),
        ("BANK.READ bank bank.reads bank.read,bank.write", ""),
    ] {
        assert_eq!(Scopes::parse(list).to_string(), expected, "{list:?}");
    }
    assert_eq!(Scopes::parse("bank.read bank.write bank.admin"), Scopes::ALL);
    assert!(!Scopes::parse("bank.admin").contains(Scope::Read), "no scope includes another");
}

#[test]
fn only_the_operator_has_no_name() {
    for bad in ["", "a b", "é", "a\n", &"a".repeat(129)] {
        assert_eq!(Identity::try_new(bad, Scopes::ALL), Err(InvalidSubject), "{bad:?}");
    }
    let (alice, bob): (Owner, Owner) = ("alice".parse().unwrap(), "bob".parse().unwrap());
    let caller = Identity::try_new("alice", Scopes::ALL).unwrap();
    assert!(caller.owns(&alice) && !caller.owns(&bob) && !caller.owns(&Owner::default()));
    assert!(Identity::operator().owns(&alice) && Identity::operator().owns(&Owner::default()));
}
