//! Bounded texts that people attach: owners, labels, descriptions.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// Who an account belongs to: at most 128 visible ASCII characters, empty for nobody in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(Option<Arc<str>>);

/// The text cannot name an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be at most 128 visible ASCII characters")]
pub struct InvalidOwner;

impl Owner {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl FromStr for Owner {
    type Err = InvalidOwner;

    fn from_str(text: &str) -> Result<Self, InvalidOwner> {
        if text.len() > Self::LENGTH_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidOwner);
        }
        Ok(Self(shared(text)))
    }
}

/// What a movement was for: at most 256 characters, none of them control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Description(Option<Arc<str>>);

/// The text cannot be a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be at most 256 characters, none of them control characters")]
pub struct InvalidDescription;

impl Description {
    /// The longest description, in characters.
    pub const LENGTH_MAX: usize = 256;

    /// The description as text.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl FromStr for Description {
    type Err = InvalidDescription;

    fn from_str(text: &str) -> Result<Self, InvalidDescription> {
        if text.chars().count() > Self::LENGTH_MAX || text.chars().any(char::is_control) {
            return Err(InvalidDescription);
        }
        Ok(Self(shared(text)))
    }
}

/// Pairs that an operator hangs on an account: at most 16, keys of 1 to 32 of `a-z 0-9 . _ -`,
/// values of at most 64 characters without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(Arc<BTreeMap<String, String>>);

/// The pairs cannot be labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// There are more than 16.
    #[error("has {count} labels; at most 16 are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A key is not one.
    #[error("has the key {key:?}; keys are 1 to 32 of a-z 0-9 . _ -")]
    Key {
        /// The first one that is not allowed, cut to a readable length.
        key: String,
    },
    /// A value is too long or has a control character.
    #[error("has a value at {key:?} that is not at most 64 characters without control characters")]
    Value {
        /// The key of the first one that is not allowed.
        key: String,
    },
}

impl Labels {
    /// The most labels that an account has.
    pub const COUNT_MAX: usize = 16;
    /// The longest key, in bytes.
    pub const KEY_LENGTH_MAX: usize = 32;
    /// The longest value, in characters.
    pub const VALUE_LENGTH_MAX: usize = 64;

    /// The pairs in the order of their keys.
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

/// A text that is cloned often; none if it is empty, as most are.
fn shared(text: &str) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}

text_newtype!(Owner, InvalidOwner);

text_newtype!(Description, InvalidDescription);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_descriptions_are_bounded() {
        assert!("auth0|alice@example.com".parse::<Owner>().is_ok());
        assert!("".parse::<Owner>().unwrap().is_empty());
        for bad in ["a b", "é", "a\n", &"a".repeat(129)] {
            assert_eq!(bad.parse::<Owner>(), Err(InvalidOwner), "{bad:?}");
        }
        assert!("Loyer de février, 12 €".parse::<Description>().is_ok());
        assert!("é".repeat(256).parse::<Description>().is_ok());
        for bad in ["a\nb", "\0", &"é".repeat(257)] {
            assert_eq!(bad.parse::<Description>(), Err(InvalidDescription), "{bad:?}");
        }
    }

    #[test]
    fn labels_are_bounded() {
        let labels = |pairs: &[(&str, &str)]| {
            Labels::try_from(
                pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect::<BTreeMap<_, _>>(),
            )
        };
        assert!(labels(&[("branch", "Zürich"), ("cost.center", "")]).is_ok());
        assert!(matches!(labels(&[("Branch", "x")]), Err(InvalidLabels::Key { .. })));
        assert!(matches!(labels(&[("", "x")]), Err(InvalidLabels::Key { .. })));
        assert!(matches!(labels(&[("a", &"x".repeat(65))]), Err(InvalidLabels::Value { .. })));
        assert!(matches!(labels(&[("a", "\n")]), Err(InvalidLabels::Value { .. })));
        let many: BTreeMap<_, _> = (0..17).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(Labels::try_from(many), Err(InvalidLabels::TooMany { count: 17 }));
    }
}
