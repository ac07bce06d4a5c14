use super::*;

#[test]
fn timeouts_are_read_as_grpc_writes_them() {
    for (text, expected) in [
        ("1H", Some(Duration::from_hours(1))),
        ("2M", Some(Duration::from_mins(2))),
        ("3S", Some(Duration::from_secs(3))),
        ("100m", Some(Duration::from_millis(100))),
        ("99999999u", Some(Duration::from_micros(99_999_999))),
        ("1n", Some(Duration::from_nanos(1))),
        ("", None),
        ("S", None),
        ("1", None),
        ("1x", None),
        ("-1S", None),
        ("123456789S", None),
        ("1é", None),
    ] {
        assert_eq!(grpc_timeout(text), expected, "{text:?}");
    }
}
