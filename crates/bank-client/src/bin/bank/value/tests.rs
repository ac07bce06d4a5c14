use super::*;

#[test]
fn durations_are_positive() {
    assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
    assert_eq!(duration("1m 30s").unwrap(), Duration::from_secs(90));
    for text in ["", "10", "0s", "-1s", "soon"] {
        assert!(duration(text).is_err(), "{text}");
    }
}
