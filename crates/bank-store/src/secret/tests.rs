use super::*;

#[test]
fn it_is_read_as_it_was_written_and_does_not_print() {
    let (one, other) = (Secret::draw(), Secret::draw());
    assert_ne!(one, other);
    let text = one.to_hex();
    assert_eq!((text.len(), Secret::from_hex(&text)), (64, Some(one.clone())));
    assert_eq!(format!("{one:?}"), "Secret(..)");
    for bad in ["", "x", &text[1..], &text.replace(&text[..1], "x"), &"é".repeat(32), &"F".repeat(64)] {
        assert_eq!(Secret::from_hex(bad), None, "{bad:?}");
    }
}
