use super::*;

#[test]
fn lines_are_named_in_ranges() {
    for (numbers, text) in
        [(&[][..], ""), (&[5], "line 5"), (&[5, 6], "lines 5-6"), (&[2, 5, 6, 7, 9], "lines 2, 5-7, 9")]
    {
        assert_eq!(ranges(numbers.iter().copied()), text);
    }
    let odd = ranges((0..100).map(|number| 2 * number + 1));
    assert!(odd.starts_with("lines 1, 3, 5") && odd.ends_with("39 and others, 100 in all"), "{odd}");
}
