//! TLS and authentication, which are set up before the port opens.

use anyhow::Context as _;

use crate::{
    auth::authentication::{Authentication, Authenticator, Format, KeySource, TokenOptions},
    tls::{Tls, TlsOptions},
};

/// TLS and authentication of the server.
#[derive(Clone, Debug)]
pub struct Gate {
    /// None for connections without TLS.
    pub tls: Option<Tls>,
    /// How callers are authenticated.
    pub authentication: Authentication,
}

impl Gate {
    /// Loads certificates and keys, keeps them up to date, and logs what is in effect. Without options there is no TLS, or
    /// no authentication. `is_for_others` says whether other machines can reach the server.
    ///
    /// # Errors
    /// If a certificate or key is unusable.
    pub async fn open(
        tls: Option<TlsOptions>,
        tokens: Option<TokenOptions>,
        is_for_others: bool,
    ) -> anyhow::Result<Self> {
        let tls = secure(tls).await.context("cannot set up TLS")?;
        let authentication = authenticate(tokens, is_for_others, tls.is_some());
        Ok(Self { tls, authentication: authentication.await.context("cannot verify tokens")? })
    }
}

async fn secure(options: Option<TlsOptions>) -> anyhow::Result<Option<Tls>> {
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
) -> anyhow::Result<Authentication> {
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
    let shared_secret = matches!(options.keys, KeySource::File(_, Format::Secret));
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
