//! Who calls: whoever a signed token says it is (JWT, RFC 7519), if the bank has the key that signed it,
//! and if it is from the right issuer, for this bank, and of this time.
//!
//! Before its signature was verified nothing is taken from a token but the id of the key to verify it
//! with; after that, no more than [`Identity`](super::Identity) holds.

mod crypto;
mod fetch;
mod keyring;
mod keys;
mod rejection;
mod source;
mod token;
mod verified;

use std::{sync::Arc, time::Duration};

use bank_store::clock::Timekeeper;
use http::HeaderMap;

pub(crate) use self::fetch::is_key_url;
pub use self::{
    fetch::FetchError,
    keyring::Upkeep,
    keys::InvalidKeys,
    rejection::TokenRejection,
    source::{KeySource, Unavailable},
    verified::Verified,
};
use self::{keyring::Keyring, keys::KeySet, source::OpenSource, token::Rules, verified::TokenHash};

/// How callers are known by tokens.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// Who issues the tokens: their claim `iss`.
    pub issuer: String,
    /// What this bank is called in them: their claim `aud`.
    pub audience: String,
    /// Where the keys come from.
    pub keys: KeySource,
    /// How long a look at the keys may take.
    pub keys_timeout: Duration,
    /// How the keys are kept up.
    pub upkeep: Upkeep,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// The longest token that is looked at.
    pub token_bytes_max: usize,
    /// What says whether a token has expired.
    pub clock: Timekeeper,
}

/// Why tokens cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The keys are not to be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// They are none.
    #[error("{place} {reason}")]
    Invalid {
        /// Where.
        place: String,
        /// What is wrong.
        reason: InvalidKeys,
    },
}

/// How callers are known; cheap to clone.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// Nobody is asked: whoever reaches the server is its operator.
    Disabled,
    /// By the token that each call carries.
    Tokens(Authenticator),
}

/// Knows callers by their tokens; cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    keyring: Keyring,
    rules: Arc<Rules>,
    clock: Timekeeper,
}

impl Authenticator {
    /// Reads the keys, and keeps up with them from then on.
    ///
    /// # Errors
    /// [`KeysError`], if there are none that can be used.
    pub async fn open(options: TokenOptions) -> Result<Self, KeysError> {
        crypto::install();
        let source = OpenSource::open(&options.keys, options.keys_timeout)?;
        let keyring = Keyring::open(source, options.upkeep).await?;
        let rules = Rules {
            issuer: options.issuer,
            audience: options.audience,
            leeway_seconds: options.leeway.as_secs(),
            token_bytes_max: options.token_bytes_max,
        };
        Ok(Self { keyring, rules: Arc::new(rules), clock: options.clock })
    }

    /// How much longer a caller is known by what was verified.
    pub(crate) fn time_left(&self, verified: &Verified) -> Duration {
        // It is good through its last second.
        let ends_at = Duration::from_secs(verified.good_until.saturating_add(1));
        let now = u64::try_from(self.clock.estimate().unix_ms()).unwrap_or_default();
        ends_at.saturating_sub(Duration::from_millis(now))
    }

    /// What the keys in effect are called.
    pub fn keys(&self) -> String {
        self.keyring.keys().map(|keys| keys.names()).unwrap_or_default()
    }

    /// Who sends a request with these headers, and until when that is so.
    ///
    /// Waits only for a look at the keys, and only if the token names one that is not known.
    ///
    /// # Errors
    /// [`TokenRejection`].
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Verified, TokenRejection> {
        let token = self.rules.bearer(headers)?;
        match self.verify(token) {
            Err(TokenRejection::UnknownKey { id: Some(id) }) => {
                self.keyring.look_for(&id).await;
                self.verify(token)
            }
            result => result,
        }
    }

    /// Waits until the key that verified a token is no longer accepted, and says why.
    pub(crate) async fn withdrawn(&self, verified: &Verified) -> TokenRejection {
        self.keyring.withdrawn(verified.key).await
    }

    fn verify(&self, token: &str) -> Result<Verified, TokenRejection> {
        let keys: Arc<KeySet> = self.keyring.keys().ok_or(TokenRejection::KeysUnavailable)?;
        let hash = TokenHash::of(token);
        let now = self.clock.estimate_seconds();
        if let Some(verified) = keys.verified().get(hash, now) {
            return Ok(verified);
        }
        let verified = self.rules.verify(token, &keys)?;
        keys.verified().put(hash, verified.clone());
        Ok(verified)
    }
}
