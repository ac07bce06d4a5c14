use super::*;

#[test]
fn times_cross_the_wire_before_and_after_the_epoch() {
    for unix_ms in [0, 1, -1, -1_001, 1_767_225_600_123, Timestamp::MIN.unix_ms(), Timestamp::MAX.unix_ms()] {
        let time = Timestamp::try_from_unix_ms(unix_ms).unwrap();
        let wire = timestamp(time);
        assert!((0..1_000_000_000).contains(&wire.nanos), "{wire:?}");
        assert_eq!(Timestamp::from_wire(wire).unwrap(), time);
    }
    let beyond = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    assert!(Timestamp::from_wire(beyond).is_err());
}

#[test]
fn a_malformed_reply_names_the_missing_field() {
    let Malformed(problem) = required::<v1::Money, Money>("balance", None).unwrap_err();
    assert_eq!(problem, "balance is missing");
    let wire = v1::Money { currency_code: "GALLEON".into(), minor_units: 1 };
    let Malformed(problem) = Money::from_wire(wire).unwrap_err();
    assert!(problem.starts_with("currency_code \"GALLEON\""), "{problem}");
}
