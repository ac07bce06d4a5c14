//! The hash of an entry.

use std::{
    fmt,
    str::{self, FromStr},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// The SHA-256 of an entry. It covers the entries before it too: see [`chain`](crate::chain).
///
/// It prints as 64 hexadecimal digits in lower case.
///
/// ```
/// use bank_domain::EntryHash;
///
/// let text = "00ff".repeat(16);
/// let hash: EntryHash = text.parse()?;
/// assert_eq!(hash.to_string(), text);
/// assert_eq!(hash.as_bytes()[1], 0xff);
/// # Ok::<(), bank_domain::InvalidEntryHash>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryHash([u8; 32]);

/// The text is not an entry hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a hash; it has 64 of 0-9 a-f")]
pub struct InvalidEntryHash;

impl EntryHash {
    /// The hash of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Every commit prints hashes: formatting them digit by digit takes ten times as long.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({self})")
    }
}

impl FromStr for EntryHash {
    type Err = InvalidEntryHash;

    fn from_str(text: &str) -> Result<Self, InvalidEntryHash> {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(InvalidEntryHash),
        };
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return Err(InvalidEntryHash);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = 16 * digit(pair[0])? + digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for EntryHash {
    /// As text in human-readable formats, as bytes in binary ones.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for EntryHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hash;

        impl Visitor<'_> for Hash {
            type Value = EntryHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the hash of an entry")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EntryHash, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<EntryHash, E> {
                bytes.try_into().map(EntryHash).map_err(|_| E::custom(InvalidEntryHash))
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Hash)
        } else {
            deserializer.deserialize_bytes(Hash)
        }
    }
}
