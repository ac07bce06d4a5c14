//! A cache of verified tokens, so that a call does not cost a signature.
//!
//! Tokens are identified by their hash: nothing in memory can be used as a token.

use std::num::NonZeroUsize;

use lru::LruCache;
use sha2::{Digest as _, Sha256};

use crate::{auth::Identity, files::Fingerprint};

/// How many tokens are cached. Each takes about 200 bytes, and a bank with more callers at a time than this verifies
/// some signatures more than once.
const TOKENS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// The tokens that were used last.
pub(super) struct VerifiedTokens(LruCache<TokenHash, Verified>);

/// The hash of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

/// The contents of a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The caller.
    pub identity: Identity,
    /// The last second in which the token is valid, since the Unix epoch and including the leeway.
    pub valid_until: u64,
    /// The key that verified the token.
    pub(super) key: Fingerprint,
}

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(LruCache::new(TOKENS_MAX))
    }
}

impl VerifiedTokens {
    pub(super) fn get(&mut self, token: TokenHash, now: u64) -> Option<Verified> {
        let verified = self.0.get(&token)?;
        if now > verified.valid_until {
            self.0.pop(&token);
            return None;
        }
        Some(verified.clone())
    }

    pub(super) fn put(&mut self, token: TokenHash, verified: Verified) {
        self.0.put(token, verified);
    }
}

#[cfg(test)]
mod tests;
