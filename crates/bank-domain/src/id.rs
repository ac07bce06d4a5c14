//! Names that callers choose: of accounts and of requests.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// The name of an account, chosen by whoever opens it: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
///
/// Cloning is cheap: the text is shared.
///
/// ```
/// use bank_domain::AccountId;
///
/// assert_eq!("123".parse::<AccountId>()?.as_str(), "123");
/// assert!("a b".parse::<AccountId>().is_err());
/// # Ok::<(), bank_domain::InvalidAccountId>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(Arc<str>);

/// The text cannot name an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccountId {
    /// It is empty.
    #[error("is empty; use 1 to 64 of A-Z a-z 0-9 . _ : -")]
    Empty,
    /// It is longer than 64 characters.
    #[error("has {length} bytes; at most 64 are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It has a character outside the allowed ones.
    #[error("has {character:?} at position {position}; allowed are A-Z a-z 0-9 . _ : -")]
    Character {
        /// The first one that is not allowed.
        character: char,
        /// Where it is, counted in bytes from 0.
        position: usize,
    },
}

impl AccountId {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = InvalidAccountId;

    fn from_str(text: &str) -> Result<Self, InvalidAccountId> {
        if text.is_empty() {
            return Err(InvalidAccountId::Empty);
        }
        if text.len() > Self::LENGTH_MAX {
            return Err(InvalidAccountId::TooLong { length: text.len() });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        match text.char_indices().find(|&(_, c)| !allowed(c)) {
            Some((position, character)) => Err(InvalidAccountId::Character { character, position }),
            None => Ok(Self(text.into())),
        }
    }
}

text_newtype!(AccountId, InvalidAccountId);

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({self})")
    }
}

/// The name of a request, chosen by its caller so that it can be repeated safely: 1 to 64 visible
/// ASCII characters, a UUID by convention.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(Arc<str>);

/// The text cannot name a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequestId {
    /// It is empty.
    #[error("is empty; use 1 to 64 visible ASCII characters, such as a UUID")]
    Empty,
    /// It is longer than 64 characters.
    #[error("has {length} bytes; at most 64 are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It has a character that is not visible ASCII.
    #[error("has {character:?} at position {position}; allowed are visible ASCII characters")]
    Character {
        /// The first one that is not allowed.
        character: char,
        /// Where it is, counted in bytes from 0.
        position: usize,
    },
}

impl RequestId {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        if text.is_empty() {
            return Err(InvalidRequestId::Empty);
        }
        if text.len() > Self::LENGTH_MAX {
            return Err(InvalidRequestId::TooLong { length: text.len() });
        }
        match text.char_indices().find(|&(_, c)| !c.is_ascii_graphic()) {
            Some((position, character)) => Err(InvalidRequestId::Character { character, position }),
            None => Ok(Self(text.into())),
        }
    }
}

text_newtype!(RequestId, InvalidRequestId);

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_take_what_is_documented_and_nothing_else() {
        for good in ["1", "123", "A-z_0.9:x", "alice:savings", &"a".repeat(64)] {
            assert_eq!(good.parse::<AccountId>().unwrap().as_str(), good);
        }
        let character = |character, position| InvalidAccountId::Character { character, position };
        for (bad, error) in [
            ("", InvalidAccountId::Empty),
            (&*"a".repeat(65), InvalidAccountId::TooLong { length: 65 }),
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
}
