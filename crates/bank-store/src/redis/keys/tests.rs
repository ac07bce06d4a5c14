use super::*;

#[test]
fn names_match_the_documented_layout() {
    let keys = Keys::new("bank", Placement::try_new(256).unwrap());
    let id: AccountId = "123".parse().unwrap();
    assert_eq!(keys.meta(27), "bank:{27}:meta");
    assert_eq!(keys.barrier(27), "bank:{27}:barrier");
    assert_eq!(keys.account(&id), "bank:{27}:account:123");
    assert_eq!(keys.entries(&id), "bank:{27}:entries:123");
    assert_eq!(keys.windows(27), "bank:{27}:requests");
    assert_eq!(keys.requests(27, 20_780), "bank:{27}:requests:20780");
    assert_eq!(keys.accounts(17), "bank:{17}:accounts");
    assert_eq!(keys.owner(&"alice".parse().unwrap()), "bank:{231}:owner:alice");
}
