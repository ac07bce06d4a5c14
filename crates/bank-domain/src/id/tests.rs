use super::*;

#[test]
fn account_ids_take_what_is_documented_and_nothing_else() {
    for good in ["1", "123", "A-z_0.9:x", "alice:savings", &"a".repeat(64)] {
        assert_eq!(good.parse::<AccountId>().unwrap().as_str(), good);
    }
    let allowed = "A-Z a-z 0-9 . _ : -";
    let character = |character, position| InvalidId::Character { character, position, allowed };
    for (bad, error) in [
        ("", InvalidId::Empty { allowed }),
        (&*"a".repeat(65), InvalidId::TooLong { length: 65 }),
        ("a{b}", character('{', 1)),
        ("a b", character(' ', 1)),
        ("a\n", character('\n', 1)),
        ("\0", character('\0', 0)),
        ("café", character('é', 3)),
        ("a/b", character('/', 1)),
    ] {
        assert_eq!(bad.parse::<AccountId>(), Err(error), "{bad:?}");
    }
}

#[test]
fn request_ids_are_visible_ascii() {
    for good in ["1", "{x}/y", "550e8400-e29b-41d4-a716-446655440000", &"~".repeat(64)] {
        assert_eq!(good.parse::<RequestId>().unwrap().as_str(), good);
    }
    for bad in ["", "a b", "a\tb", "a\u{7f}", "é", &"a".repeat(65)] {
        assert!(bad.parse::<RequestId>().is_err(), "{bad:?}");
    }
}
