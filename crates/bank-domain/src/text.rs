//! Bounded texts on accounts and entries: owners, labels, descriptions.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

macro_rules! optional_text {
    (
        $(#[$attribute:meta])* $name:ident, $length_max:literal $unit:literal, $is_valid:expr;
        $(#[$error_attribute:meta])* $error:ident
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Option<Arc<str>>);

        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        $(#[$error_attribute])*
        pub struct $error;

        impl $name {
            #[doc = concat!("The longest text, in ", $unit, ".")]
            pub const LENGTH_MAX: usize = $length_max;

            /// The text; empty if there is none.
            pub fn as_str(&self) -> &str {
                self.0.as_deref().unwrap_or_default()
            }

            /// Whether there is no text.
            pub fn is_empty(&self) -> bool {
                self.0.is_none()
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let is_valid: fn(&str) -> bool = $is_valid;
                // Most texts are empty; the others are shared, since they are cloned often.
                if is_valid(text) { Ok(Self((!text.is_empty()).then(|| text.into()))) } else { Err($error) }
            }
        }

        text_newtype!($name, $error, as_str);
    };
}

optional_text! {
    /// Who an account belongs to: at most 128 visible ASCII characters, empty for nobody.
    Owner, 128 "bytes", |text| {
        text.len() <= Owner::LENGTH_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    /// The text is not a valid owner.
    #[error("must be at most {} visible ASCII characters", Owner::LENGTH_MAX)]
    InvalidOwner
}

optional_text! {
    /// What a movement is for: at most 256 characters, none of them control characters.
    Description, 256 "characters", |text| {
        text.chars().count() <= Description::LENGTH_MAX && !text.chars().any(char::is_control)
    };
    /// The text is not a valid description.
    #[error("must be at most {} characters, none of them control characters", Description::LENGTH_MAX)]
    InvalidDescription
}

/// Key-value pairs on an account: at most 16, with keys of 1 to 32 of `a-z 0-9 . _ -` and values of
/// at most 64 characters, none of them control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(Arc<BTreeMap<String, String>>);

/// The pairs are not valid labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// There are more than 16.
    #[error("has {count} labels; at most {} are allowed", Labels::COUNT_MAX)]
    TooMany {
        /// The number of labels given.
        count: usize,
    },
    /// A key is malformed.
    #[error("has the key {key:?}; keys are 1 to 32 of a-z 0-9 . _ -")]
    Key {
        /// The first malformed key, cut to 64 characters.
        key: String,
    },
    /// A value is too long or has a control character.
    #[error("has a value at {key:?} that is not at most 64 characters without control characters")]
    Value {
        /// The key of the first malformed value.
        key: String,
    },
}

impl Labels {
    /// The most labels of an account.
    pub const COUNT_MAX: usize = 16;
    /// The longest key, in bytes.
    pub const KEY_LENGTH_MAX: usize = 32;
    /// The longest value, in characters.
    pub const VALUE_LENGTH_MAX: usize = 64;

    /// The pairs, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = InvalidLabels;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, InvalidLabels> {
        if labels.len() > Self::COUNT_MAX {
            return Err(InvalidLabels::TooMany { count: labels.len() });
        }
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        for (key, value) in &labels {
            if key.is_empty() || key.len() > Self::KEY_LENGTH_MAX || !key.bytes().all(allowed) {
                return Err(InvalidLabels::Key { key: key.chars().take(64).collect() });
            }
            if value.chars().count() > Self::VALUE_LENGTH_MAX || value.chars().any(char::is_control) {
                return Err(InvalidLabels::Value { key: key.clone() });
            }
        }
        Ok(Self(Arc::new(labels)))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        Arc::unwrap_or_clone(labels.0)
    }
}

#[cfg(test)]
mod tests;
