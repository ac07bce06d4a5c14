//! Authentication by signed tokens (JWT, RFC 7519): the bank must have the key, and issuer, audience and times must be
//! right.
//!
//! Before the signature is verified nothing of a token is used but the id of its key; afterwards, no more than what
//! [`Identity`](super::Identity) holds.

mod crypto;
mod fetch;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
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
    keyring::KeyRefreshOptions,
    keys::{Format, InvalidKeys},
    rejection::TokenRejection,
    source::KeySource,
    verified::Verified,
};
use self::{keyring::Keyring, source::Source, token::Rules, verified::TokenHash};

/// The options of authentication by tokens.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// The issuer: the claim `iss`.
    pub issuer: String,
    /// The name of this bank: the claim `aud`.
    pub audience: String,
    /// Where the keys come from.
    pub keys: KeySource,
    /// How the keys are refreshed.
    pub refresh: KeyRefreshOptions,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// The longest token, in bytes.
    pub token_bytes_max: usize,
    /// The clock that decides whether a token has expired.
    pub clock: Timekeeper,
}

/// How callers are authenticated; cheap to clone.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// Not at all: every caller is the operator.
    Disabled,
    /// By the token of each call.
    Tokens(Authenticator),
}

/// Authenticates callers by their tokens; cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    keyring: Keyring,
    rules: Arc<Rules>,
    clock: Timekeeper,
}

impl Authenticator {
    /// Reads the keys, and starts to refresh them.
    ///
    /// # Errors
    /// If there are no usable keys.
    pub async fn open(options: TokenOptions) -> anyhow::Result<Self> {
        crypto::install();
        let source = Source::open(&options.keys, options.refresh.read_timeout)?;
        let keyring = Keyring::open(source, options.refresh).await?;
        let rules = Rules {
            issuer: options.issuer,
            audience: options.audience,
            leeway_seconds: options.leeway.as_secs(),
            token_bytes_max: options.token_bytes_max,
        };
        Ok(Self { keyring, rules: Arc::new(rules), clock: options.clock })
    }

    /// How much longer a token is valid.
    pub(crate) fn time_left(&self, verified: &Verified) -> Duration {
        // It is valid through its last second.
        let ends_at = Duration::from_secs(verified.valid_until.saturating_add(1));
        let now = u64::try_from(self.clock.estimate().unix_ms()).unwrap_or_default();
        ends_at.saturating_sub(Duration::from_millis(now))
    }

    /// The names of the keys in effect.
    pub fn keys(&self) -> String {
        self.keyring.keys().map(|keys| keys.names()).unwrap_or_default()
    }

    /// The caller of a request with these headers.
    ///
    /// Waits only if the token names an unknown key, until the source of the keys was read.
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

    /// Waits until the key that verified a token is no longer accepted, and returns why.
    pub(crate) async fn withdrawn(&self, verified: &Verified) -> TokenRejection {
        self.keyring.withdrawn(verified.key).await
    }

    fn verify(&self, token: &str) -> Result<Verified, TokenRejection> {
        let keys = self.keyring.keys().ok_or(TokenRejection::KeysUnavailable)?;
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
