//! The secret of a bank.

use std::fmt;

use bank_domain::EntryHash;
use uuid::Uuid;

/// A secret key that all servers of a bank share. They authenticate tokens with it that callers bring back.
///
/// It is drawn when the bank is initialized and stored beside its id. It is in no backup, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; Self::BYTES]);

impl Secret {
    /// The length of the key in bytes.
    pub const BYTES: usize = 32;

    /// Draws a new one: 244 bits from the system's source of randomness.
    pub(crate) fn draw() -> Self {
        let mut bytes = [0; Self::BYTES];
        for half in bytes.chunks_exact_mut(Self::BYTES / 2) {
            half.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        Self(bytes)
    }

    /// The key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The stored form: hexadecimal, like a hash.
    pub(crate) fn to_hex(&self) -> String {
        EntryHash::from_bytes(self.0).to_string()
    }

    /// Parses the stored form.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        text.parse().ok().map(|hash: EntryHash| Self(*hash.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests;
