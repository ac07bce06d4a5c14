//! The tokens that were found good of late, so that a call does not cost a signature each.
//!
//! They are known by their hash: what is in memory is no token that somebody could use.

use std::num::NonZeroUsize;

use lru::LruCache;
use sha2::{Digest as _, Sha256};

use crate::{auth::Identity, files::Fingerprint};

/// The tokens that were used last.
pub(super) struct VerifiedTokens(LruCache<TokenHash, Verified>);

/// What a token is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who it is of.
    pub identity: Identity,
    /// Until when it is good, in seconds since the Unix epoch; with the leeway.
    pub good_until: u64,
    /// The key that has verified it.
    pub(super) key: Fingerprint,
}

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl VerifiedTokens {
    pub(super) fn new(tokens_max: NonZeroUsize) -> Self {
        Self(LruCache::new(tokens_max))
    }

    pub(super) fn get(&mut self, token: TokenHash, now: u64) -> Option<Verified> {
        let verified = self.0.get(&token)?;
        if now > verified.good_until {
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
mod tests {
    use super::*;
    use crate::auth::Scopes;

    #[test]
    fn a_token_is_remembered_until_it_ends_or_others_take_its_place() {
        let identity = |subject| Identity::try_new(subject, Scopes::ALL).unwrap();
        let mut tokens = VerifiedTokens::new(NonZeroUsize::new(2).unwrap());
        let found = |tokens: &mut VerifiedTokens, token, now| Some(tokens.get(token, now)?.identity);
        let key = Fingerprint::of([]);
        let [a, b, c] = ["a", "b", "c"].map(TokenHash::of);
        tokens.put(a, Verified { identity: identity("a"), good_until: 100, key });
        tokens.put(b, Verified { identity: identity("b"), good_until: 200, key });
        assert_eq!(found(&mut tokens, a, 100), Some(identity("a")));
        tokens.put(c, Verified { identity: identity("c"), good_until: 200, key });
        assert_eq!(found(&mut tokens, b, 100), None, "it was used least recently");
        assert_eq!(found(&mut tokens, a, 101), None);
        assert_eq!(found(&mut tokens, a, 100), None, "it is gone for good");
        assert_eq!(found(&mut tokens, c, 100), Some(identity("c")));
    }
}
