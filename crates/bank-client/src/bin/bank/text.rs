//! Text for people.

use std::fmt;

use bank_domain::visible;

/// Text that can be shown as it is: characters that are not seen, or steer the terminal, have been escaped
/// ([`visible`]). Results and complaints are made of it, so nothing that a stranger or a server has written
/// reaches a terminal otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    /// A text from anywhere, which stays on one line.
    pub(crate) fn line(text: &str) -> Self {
        Self(visible::line(text).into_owned())
    }

    /// A text that was laid out in lines. What it was made of cannot have brought newlines along.
    pub(crate) fn lines(text: &str) -> Self {
        Self(visible::lines(text).into_owned())
    }

    /// One below the other, less those that are empty.
    pub(crate) fn stack(texts: impl IntoIterator<Item = Self>) -> Self {
        let texts: Vec<_> =
            texts.into_iter().map(|Self(text)| text).filter(|text| !text.is_empty()).collect();
        Self(texts.join("\n"))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::line(text)
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::line(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::line(&text)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
