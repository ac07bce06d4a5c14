//! Ids that callers choose: of accounts and of requests.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// The longest id, in bytes.
const LENGTH_MAX: usize = 64;

/// The text is not a valid id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("is empty; use 1 to {LENGTH_MAX} {allowed}")]
    Empty {
        /// The characters that an id may have.
        allowed: &'static str,
    },
    /// The text is longer than 64 bytes.
    #[error("has {length} bytes; at most {LENGTH_MAX} are allowed")]
    TooLong {
        /// In bytes.
        length: usize,
    },
    /// The text has a character that is not allowed.
    #[error("has {character:?} at position {position}; allowed are {allowed}")]
    Character {
        /// The first character that is not allowed.
        character: char,
        /// In bytes from 0.
        position: usize,
        /// The characters that an id may have.
        allowed: &'static str,
    },
}

fn checked(
    text: &str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<Arc<str>, InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty { allowed });
    }
    if text.len() > LENGTH_MAX {
        return Err(InvalidId::TooLong { length: text.len() });
    }
    match text.char_indices().find(|&(_, c)| !is_allowed(c)) {
        Some((position, character)) => Err(InvalidId::Character { character, position, allowed }),
        None => Ok(text.into()),
    }
}

macro_rules! id {
    ($(#[$attribute:meta])* $name:ident, $allowed:literal, $is_allowed:expr) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest id, in bytes.
            pub const LENGTH_MAX: usize = LENGTH_MAX;

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                checked(text, $allowed, $is_allowed).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        text_newtype!($name, InvalidId, as_str);
    };
}

id! {
    /// The id of an account, chosen by whoever opens it: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
    ///
    /// Cloning is cheap: the text is shared.
    ///
    /// ```
    /// use bank_domain::AccountId;
    ///
    /// assert_eq!("123".parse::<AccountId>()?.as_str(), "123");
    /// assert!("a b".parse::<AccountId>().is_err());
    /// # Ok::<(), bank_domain::InvalidId>(())
    /// ```
    AccountId, "A-Z a-z 0-9 . _ : -",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-')
}

id! {
    /// The idempotency key of a request, chosen by its caller: 1 to 64 visible ASCII characters, a UUID by
    /// convention.
    RequestId, "visible ASCII characters", |c| c.is_ascii_graphic()
}

#[cfg(test)]
mod tests;
