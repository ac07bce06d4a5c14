use super::*;

/// h2 asks for this.
#[test]
fn vectored_writes_are_hidden() {
    let (vectored, _other) = tokio::io::duplex(1);
    assert!(vectored.is_write_vectored());
    assert!(!Gathered(vectored).is_write_vectored());
}
