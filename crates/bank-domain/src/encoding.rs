//! The encoding of values for hashes: unambiguous, and the same in every version.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};

use crate::Money;

/// The initial capacity, in bytes: most encodings are shorter.
const USUAL_LENGTH: usize = 256;
/// The bytes of an encoded length.
const LENGTH_BYTES: usize = 8;

/// Encodes fields for a SHA-256 so that different lists of fields have different encodings. All bytes are hashed in
/// one call, which is faster than many calls.
///
/// A text is its length in bytes as a number, then its UTF-8. A number is 8 bytes, little-endian,
/// two's complement. Money is the code of its currency as text, then its minor units.
pub(crate) struct Encoder(Vec<u8>);

impl Default for Encoder {
    fn default() -> Self {
        Self(Vec::with_capacity(USUAL_LENGTH))
    }
}

impl Encoder {
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len() as u64).bytes(text.as_bytes())
    }

    /// A value as the text that it prints.
    pub(crate) fn printed(&mut self, value: &impl fmt::Display) -> &mut Self {
        let start = self.0.len();
        self.count(0);
        // Writing to memory cannot fail.
        let _ = write!(self, "{value}");
        let length = (self.0.len() - start - LENGTH_BYTES) as u64;
        self.0[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        self
    }

    pub(crate) fn number(&mut self, number: i64) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    pub(crate) fn count(&mut self, count: u64) -> &mut Self {
        self.bytes(&count.to_le_bytes())
    }

    pub(crate) fn money(&mut self, money: Money) -> &mut Self {
        self.text(money.currency.code()).number(money.minor_units)
    }

    /// Bytes of a fixed length.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl fmt::Write for Encoder {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}
