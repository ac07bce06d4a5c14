//! TLS and authentication, which are set up before the port opens.

use crate::{
    auth::authentication::{Authentication, Authenticator, KeySource, KeysError, TokenOptions},
    tls::{self, Tls, TlsOptions},
};

/// The options of TLS and authentication.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// None for connections without TLS.
    pub tls: Option<TlsOptions>,
    /// None if callers need no token.
    pub tokens: Option<TokenOptions>,
    /// Whether other machines can reach the server.
    pub is_for_others: bool,
}

/// TLS and authentication of the server.
#[derive(Clone, Debug)]
pub struct Gate {
    /// None for connections without TLS.
    pub tls: Option<Tls>,
    /// How callers are authenticated.
    pub authentication: Authentication,
}

/// Why the gate cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key is unusable.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] tls::Error),
    /// The keys that verify tokens are unavailable.
    #[error("cannot verify tokens: {0}")]
    Keys(#[from] KeysError),
}

impl Gate {
    /// Loads certificates and keys, keeps them up to date, and logs what is in effect.
    ///
    /// # Errors
    /// If a certificate or key is unusable.
    pub async fn open(options: GateOptions) -> Result<Self, Error> {
        let tls = secure(options.tls).await?;
        let authentication = authenticate(options.tokens, options.is_for_others, tls.is_some()).await?;
        Ok(Self { tls, authentication })
    }
}

async fn secure(options: Option<TlsOptions>) -> Result<Option<Tls>, Error> {
    let Some(options) = options else {
        tracing::info!("TLS is off: connections are not encrypted");
        return Ok(None);
    };
    let client_certificates = match &options.client_ca {
        None => "not requested",
        Some(ca) if ca.required => "required",
        Some(_) => "requested",
    };
    let tls = Tls::open(options).await?;
    tracing::info!(client_certificates, "connections use TLS");
    Ok(Some(tls))
}

async fn authenticate(
    options: Option<TokenOptions>,
    is_for_others: bool,
    secured: bool,
) -> Result<Authentication, Error> {
    let Some(options) = options else {
        tracing::info!("authentication is off: callers need no token");
        if is_for_others {
            tracing::warn!(
                "anyone who reaches the port can move all money (auth.allow_unauthenticated_network)"
            );
        }
        return Ok(Authentication::Disabled);
    };
    let (issuer, audience) = (options.issuer.clone(), options.audience.clone());
    let shared_secret = matches!(options.keys, KeySource::DevelopmentSecretFile(_));
    let authenticator = Authenticator::open(options).await?;
    tracing::info!(issuer, audience, keys = authenticator.keys(), "callers need a token");
    if shared_secret {
        tracing::warn!("tokens are signed with a shared secret: for development only");
    }
    if is_for_others && !secured {
        tracing::warn!("anyone on the network path can read and use tokens (auth.allow_tokens_without_tls)");
    }
    Ok(Authentication::Tokens(authenticator))
}
