use super::*;

#[test]
fn the_bounds_print_and_times_beyond_are_rejected() {
    assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
    assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    assert_eq!(Timestamp::UNIX_EPOCH.to_string(), "1970-01-01T00:00:00Z");
    for unix_ms in [i64::MIN, Timestamp::MIN.unix_ms() - 1, Timestamp::MAX.unix_ms() + 1, i64::MAX] {
        assert_eq!(Timestamp::try_from_unix_ms(unix_ms), Err(InvalidTimestamp));
    }
}
