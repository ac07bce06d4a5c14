//! Entry points for fuzzing: sets of keys, and tokens verified with them.

use http::HeaderMap;

pub use super::Format;
use super::{InvalidKeys, TokenRejection, Verified, crypto, keys::KeySet, token::Rules};

/// Keys that can verify tokens.
pub struct Keys(KeySet);

/// Parses the contents of a key file or the reply of a key server; with what is wrong with keys that are left out.
///
/// # Errors
/// [`InvalidKeys`].
pub fn keys(format: Format, contents: &[u8]) -> Result<(Keys, Vec<String>), InvalidKeys> {
    crypto::install();
    let (keys, unusable) = KeySet::parse(format, contents)?;
    Ok((Keys(keys), unusable))
}

impl Keys {
    /// What they are called.
    pub fn names(&self) -> String {
        self.0.names()
    }

    /// Whether a token with this key id can be verified.
    pub fn has(&self, id: &str) -> bool {
        self.0.find(Some(id)).is_some()
    }

    /// The caller of a request with these headers.
    ///
    /// # Errors
    /// [`TokenRejection`].
    pub fn verify(&self, headers: &HeaderMap) -> Result<Verified, TokenRejection> {
        let rules = Rules {
            issuer: "https://issuer.test".to_owned(),
            audience: "bank".to_owned(),
            leeway_seconds: 60,
            token_bytes_max: 8192,
        };
        rules.verify(rules.bearer(headers)?, &self.0)
    }
}
