//! What the servers of a bank know and its callers do not.

use std::fmt;

use uuid::Uuid;

/// A secret of a bank: drawn when it is founded, kept beside its id, and shared by all its servers. They make and
/// check with it what callers are to bring back as it was. It is in no back-up, and it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; Self::BYTES]);

impl Secret {
    /// How long it is.
    pub const BYTES: usize = 32;

    /// Draws another one: 244 bits from the system's source of randomness.
    pub(crate) fn draw() -> Self {
        let mut bytes = [0; Self::BYTES];
        for half in bytes.chunks_exact_mut(Self::BYTES / 2) {
            half.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        Self(bytes)
    }

    /// The bytes, as the key of a code.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it is stored.
    pub(crate) fn to_hex(&self) -> String {
        let (high, low) = self.0.split_at(Self::BYTES / 2);
        [high, low].map(|half| Uuid::from_slice(half).unwrap_or_default().simple().to_string()).concat()
    }

    /// Reads what [`Secret::to_hex`] has written.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let (high, low) = text.split_at_checked(Self::BYTES)?;
        let mut bytes = [0; Self::BYTES];
        for (half, text) in bytes.chunks_exact_mut(Self::BYTES / 2).zip([high, low]) {
            half.copy_from_slice(Uuid::try_parse(text).ok()?.as_bytes());
        }
        Some(Self(bytes)).filter(|secret| secret.to_hex() == text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_does_not_print() {
        let (one, other) = (Secret::draw(), Secret::draw());
        assert_ne!(one, other);
        let text = one.to_hex();
        assert_eq!((text.len(), Secret::from_hex(&text)), (64, Some(one.clone())));
        assert_eq!(format!("{one:?}"), "Secret(..)");
        for bad in ["", "x", &text[1..], &text.replace(&text[..1], "x"), &"é".repeat(32), &"F".repeat(64)] {
            assert_eq!(Secret::from_hex(bad), None, "{bad:?}");
        }
    }
}
