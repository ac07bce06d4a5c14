use super::*;

#[test]
fn tokens_are_sensitive_and_invalid_ones_are_not_sent() {
    let value = bearer("abc").unwrap();
    assert_eq!(value.to_str().unwrap(), "Bearer abc");
    assert!(value.is_sensitive());
    assert!(matches!(bearer("a\nb"), Err(Error::Token(_))));
    bearer(&"x".repeat(TOKEN_BYTES_MAX)).unwrap();
    assert!(matches!(bearer(&"x".repeat(TOKEN_BYTES_MAX + 1)), Err(Error::Token(_))));
}
