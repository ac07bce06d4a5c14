//! How values become bytes for a hash: unambiguous, and the same from version to version.

use sha2::{Digest as _, Sha256};

use crate::Money;

/// Feeds fields to a SHA-256 so that no two lists of fields look the same.
///
/// A text is its length in bytes as a number, then its UTF-8. A number is 8 bytes, little-endian,
/// two's complement. Money is the code of its currency as text, then its minor units.
#[derive(Default)]
pub(crate) struct Encoder(Sha256);

impl Encoder {
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len() as u64).bytes(text.as_bytes())
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

    /// Bytes as they are, of a length that whoever reads them knows.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
