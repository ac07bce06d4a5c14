use super::*;

#[test]
fn message_boundaries_are_found_however_the_bytes_are_split() {
    let messages = [&[0, 0, 0, 0, 3, 1, 1, 1][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[2; 256]].concat();
    for step in 1..=messages.len() {
        let mut framing = Framing::default();
        let mut unfinished = None;
        for part in messages.chunks(step) {
            unfinished = framing.advance(part);
        }
        assert_eq!((unfinished, framing.number), (None, 3), "{step} bytes at a time");
        assert_eq!(framing.advance(&[0, 0, 0]), None);
        assert_eq!(framing.advance(&[1, 1, 7]), Some((257, 0)));
        assert_eq!(framing.advance(&[7; 255]), Some((257, 0)));
        assert_eq!(framing.advance(&[7]), None);
        assert_eq!(framing.advance(&[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 2, 7]), Some((2, 6)));
    }
}
