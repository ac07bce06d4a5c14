//! Text for people.

use std::fmt;

use bank_domain::visible;

/// Text that is safe to show: hidden characters and those that control a terminal have been escaped ([`visible`]).
/// All results and errors are made of it, so text from a server or a file reaches a terminal only in this form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    /// Text from anywhere; line breaks are escaped too.
    pub(crate) fn line(text: &str) -> Self {
        Self(visible::line(text).into_owned())
    }

    /// Text that has been laid out in lines. The texts in it must have been escaped before.
    pub(crate) fn lines(text: &str) -> Self {
        Self(visible::lines(text).into_owned())
    }

    /// Texts below each other, without the empty ones.
    pub(crate) fn stack(texts: impl IntoIterator<Item = Self>) -> Self {
        let texts: Vec<_> =
            texts.into_iter().map(|Self(text)| text).filter(|text| !text.is_empty()).collect();
        Self(texts.join("\n"))
    }
}

impl<T: AsRef<str>> From<T> for Text {
    fn from(text: T) -> Self {
        Self::line(text.as_ref())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
