use super::*;

/// The first and the last of each range of characters that deceive.
const HIDDEN: &[(&str, char, char)] = &[
    ("C0", '\0', '\u{1f}'),
    ("DEL and C1", '\u{7f}', '\u{9f}'),
    ("soft hyphen", '\u{ad}', '\u{ad}'),
    ("combining grapheme joiner", '\u{34f}', '\u{34f}'),
    ("Arabic letter mark", '\u{61c}', '\u{61c}'),
    ("Hangul fillers", '\u{115f}', '\u{1160}'),
    ("Khmer inherent vowels", '\u{17b4}', '\u{17b5}'),
    ("Mongolian selectors", '\u{180b}', '\u{180f}'),
    ("zero-width space, joiners and marks", '\u{200b}', '\u{200f}'),
    ("line and paragraph separator", '\u{2028}', '\u{2029}'),
    ("embeddings and overrides", '\u{202a}', '\u{202e}'),
    ("word joiner and invisible operators", '\u{2060}', '\u{2064}'),
    ("isolates and deprecated marks", '\u{2066}', '\u{206f}'),
    ("Hangul filler", '\u{3164}', '\u{3164}'),
    ("variation selectors", '\u{fe00}', '\u{fe0f}'),
    ("byte order mark", '\u{feff}', '\u{feff}'),
    ("halfwidth Hangul filler", '\u{ffa0}', '\u{ffa0}'),
    ("interlinear annotations", '\u{fff9}', '\u{fffb}'),
    ("musical format characters", '\u{1d173}', '\u{1d17a}'),
    ("tags", '\u{e0000}', '\u{e007f}'),
    ("variation selectors supplement", '\u{e0100}', '\u{e01ef}'),
];

#[test]
fn only_deceptive_characters_are_escaped() {
    for &(what, first, last) in HIDDEN {
        for character in first..=last {
            assert!(is_hidden(character), "{what}: {character:?}");
            let text = format!("a{character}b");
            assert_eq!(line(&text), format!("a{}b", character.escape_default()), "{what}");
            assert!(!line(&text).contains(character), "{what}");
        }
    }
    for shown in [
        " ~",
        "Zürich, 12\u{a0}€",
        "日本語",
        "ภาษาไทย",
        "עברית",
        "العربية",
        "e\u{301}",
        "🏦",
        "\\u{202e}",
        "\u{fffd}",
    ] {
        assert_eq!(line(shown), shown);
        assert!(matches!(line(shown), Cow::Borrowed(_)), "{shown}");
    }
}

#[test]
fn newlines_stay_only_between_lines() {
    assert_eq!(line("a\r\n\tb\u{1b}[31m"), r"a\r\n\tb\u{1b}[31m");
    assert_eq!(lines("a\r\n\tb\u{1b}[31m"), "a\\r\n\\tb\\u{1b}[31m");
}

#[test]
fn a_document_says_the_same_afterwards() {
    let hidden: String = HIDDEN.iter().flat_map(|&(_, first, last)| first..=last).collect();
    let value = serde_json::json!({ "text": hidden, "plain": "é🏦\\u202e" });
    let document = format!("{value}\n");
    let shown = json(&document);
    assert!(shown.chars().all(|character| character == '\n' || !is_hidden(character)), "{shown}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    assert!(shown.contains("\\udb40\\udc7f"), "what is beyond 16 bits is a pair: {shown}");
    assert!(shown.contains("é🏦\\\\u202e"), "{shown}");
}
