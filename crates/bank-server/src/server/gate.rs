//! What stands before the bank: TLS and authentication. It is up before the port opens.

use crate::{
    auth::authentication::{Authentication, Authenticator, KeySource, KeysError, TokenOptions},
    tls::{self, Tls, TlsOptions},
};

/// How callers are known, and their connections secured.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// None for connections in the clear.
    pub tls: Option<TlsOptions>,
    /// None for callers that need no token.
    pub tokens: Option<TokenOptions>,
    /// Whether other machines can reach the server.
    pub is_for_others: bool,
}

/// What stands before the bank.
#[derive(Clone, Debug)]
pub struct Gate {
    /// `None` for calls in the clear.
    pub tls: Option<Tls>,
    /// How callers are known.
    pub authentication: Authentication,
}

/// Why it is not up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no TLS as it was asked for.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] tls::Error),
    /// There are no keys to know callers by.
    #[error("cannot verify tokens: {0}")]
    Keys(#[from] KeysError),
}

impl Gate {
    /// Reads certificates and keys, keeps up with them from then on, and says what is in effect.
    ///
    /// # Errors
    /// If any of what was asked for is not to be had.
    pub async fn open(options: GateOptions) -> Result<Self, Error> {
        let tls = secure(options.tls).await?;
        let authentication = authenticate(options.tokens, options.is_for_others, tls.is_some()).await?;
        Ok(Self { tls, authentication })
    }
}

async fn secure(options: Option<TlsOptions>) -> Result<Option<Tls>, Error> {
    let Some(options) = options else {
        tracing::info!("connections are not secured: TLS is off");
        return Ok(None);
    };
    let client_certificates = match &options.client_ca {
        None => "not asked for",
        Some(ca) if ca.required => "required",
        Some(_) => "asked for",
    };
    let tls = Tls::open(options).await?;
    tracing::info!(client_certificates, "connections are secured with TLS");
    Ok(Some(tls))
}

async fn authenticate(
    options: Option<TokenOptions>,
    is_for_others: bool,
    secured: bool,
) -> Result<Authentication, Error> {
    let Some(options) = options else {
        tracing::info!("callers are not asked who they are: authentication is off");
        if is_for_others {
            tracing::warn!(
                "whoever reaches the port can move anyone's money (auth.allow_unauthenticated_network)"
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
        tracing::warn!(
            "whoever is on the way to the port can read tokens and use them (auth.allow_tokens_without_tls)"
        );
    }
    Ok(Authentication::Tokens(authenticator))
}
