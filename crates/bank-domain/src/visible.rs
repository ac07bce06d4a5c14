//! Texts as they may be shown to people: on a terminal, in a table, in a log.
//!
//! Texts come from strangers: a description that a payer chose, a label, the message of a server. Shown as they are,
//! some of their characters deceive the reader. A terminal obeys control characters; a bidirectional override shows
//! `cod.exe` as `exe.doc`; others are not seen at all. [`is_hidden`] says which characters those are. What shows texts
//! replaces them by an escape that can be seen:
//!
//! * [`line()`] for a text that must stay on one line,
//! * [`lines`] for one that has been laid out in lines,
//! * [`json`] for a JSON document, which says the same afterwards.
//!
//! Texts are stored and sent as they are: nothing here is for what programs read, but for JSON, where an escape means
//! the character itself.

use std::{borrow::Cow, fmt::Write as _};

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};

/// Whether a character is not seen, or changes how others are seen. By the Unicode standard:
///
/// * control characters (general category Cc: C0, DEL, C1), among them tab, newline and escape;
/// * format characters (Cf): bidirectional embeddings, overrides, isolates and marks, zero-width joiners, the soft
///   hyphen, the byte order mark, interlinear annotations, tags;
/// * line and paragraph separators (Zl, Zp);
/// * what is ignored unless a font knows better (`Default_Ignorable_Code_Point`): variation selectors, fillers,
///   the combining grapheme joiner.
///
/// Blanks of any width are not hidden, and neither are marks that combine with the character before them.
///
/// ```
/// use bank_domain::visible::is_hidden;
///
/// assert!(is_hidden('\u{202e}') && is_hidden('\u{1b}') && is_hidden('\u{200b}'));
/// assert!(!is_hidden(' ') && !is_hidden('é') && !is_hidden('日') && !is_hidden('🏦'));
/// ```
pub fn is_hidden(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// The text with every hidden character as `\n`, `\t`, `\r` or `\u{202e}`.
///
/// ```
/// assert_eq!(bank_domain::visible::line("rent\nerror: \u{202e}"), r"rent\nerror: \u{202e}");
/// ```
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden, |shown, character| shown.extend(character.escape_default()))
}

/// The same for a text that is several lines: newlines stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    let is_hidden = |character| character != '\n' && is_hidden(character);
    escaped(text, is_hidden, |shown, character| shown.extend(character.escape_default()))
}

/// A JSON document, or several, with every hidden character of its strings as `\u202e`: the same document for whatever
/// reads it. Control characters below U+0020 cannot be in a string; between values they are blanks, and stay.
///
/// ```
/// assert_eq!(bank_domain::visible::json("[\"\u{202e}\"]"), r#"["\u202e"]"#);
/// ```
pub fn json(document: &str) -> Cow<'_, str> {
    let is_hidden = |character| character >= ' ' && is_hidden(character);
    escaped(document, is_hidden, |shown, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            // A string takes everything.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    })
}

/// Most texts have nothing to escape, and are not copied.
fn escaped(text: &str, is_hidden: impl Fn(char) -> bool, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let Some(first) = text.find(&is_hidden) else {
        return Cow::Borrowed(text);
    };
    let mut shown = text[..first].to_owned();
    for character in text[first..].chars() {
        if is_hidden(character) {
            escape(&mut shown, character);
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests;
