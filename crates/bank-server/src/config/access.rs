//! Who may call: the sections `tls` and `auth`.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use bank_store::clock::Timekeeper;
use serde::Deserialize;

use super::{Config, Problem};
use crate::{
    auth::authentication::{KeySource, TokenOptions, Upkeep},
    tls::{ClientCa, TlsOptions, TlsVersion},
};

/// How connections are secured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Tls {
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    pub client_ca_file: PathBuf,
    pub client_certificate_required: bool,
    pub version_min: TlsVersion,
    pub handshake_timeout_ms: u64,
    pub reload_interval_ms: u64,
}

/// How callers are known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Auth {
    pub mode: AuthMode,
    pub allow_unauthenticated_network: bool,
    pub allow_tokens_without_tls: bool,
    pub jwt: Jwt,
}

/// How callers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// They are not asked.
    Disabled,
    /// By signed tokens.
    Jwt,
}

/// Which tokens are good.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Jwt {
    pub issuer: String,
    pub audience: String,
    pub jwks_file: PathBuf,
    pub jwks_url: String,
    pub public_key_file: PathBuf,
    pub development_secret_file: PathBuf,
    pub leeway_seconds: u64,
    pub token_bytes_max: usize,
    pub tokens_remembered_max: NonZeroUsize,
    pub refresh_interval_ms: u64,
    pub refresh_pause_ms_min: u64,
    pub fetch_timeout_ms: u64,
    pub keys_unconfirmed_seconds_max: u64,
}

impl Config {
    /// What is wrong with who may call.
    pub(super) fn open_doors(&self) -> Vec<Problem> {
        let Self { server, tls, auth, .. } = self;
        let mut problems = Vec::new();
        let mut wrong = |problem: String| problems.push(Problem::Contradiction(problem));
        if given(&tls.certificate_file).is_some() != given(&tls.key_file).is_some() {
            wrong("tls.certificate_file and tls.key_file go together: set both, or neither".to_owned());
        }
        if given(&tls.client_ca_file).is_some() && !self.has_tls() {
            wrong("tls.client_ca_file is of no use without tls.certificate_file and tls.key_file".to_owned());
        }
        if auth.mode == AuthMode::Jwt {
            for (key, value) in [("issuer", &auth.jwt.issuer), ("audience", &auth.jwt.audience)] {
                if value.is_empty() {
                    wrong(format!("auth.mode = \"jwt\" needs auth.jwt.{key}"));
                }
            }
            if auth.jwt.key_sources().count() != 1 {
                wrong(
                    "auth.mode = \"jwt\" needs exactly one of auth.jwt.jwks_file, jwks_url, public_key_file \
                     and development_secret_file"
                        .to_owned(),
                );
            }
        }
        if is_for_others(server.listen) {
            let listen = server.listen;
            match auth.mode {
                AuthMode::Disabled if !auth.allow_unauthenticated_network => wrong(format!(
                    "server.listen = \"{listen}\" is for other machines, and with auth.mode = \"disabled\" \
                     whoever reaches it can move anyone's money: set auth.mode = \"jwt\", listen on a loopback \
                     address such as 127.0.0.1, or set auth.allow_unauthenticated_network = true"
                )),
                AuthMode::Jwt if !self.has_tls() && !auth.allow_tokens_without_tls => wrong(format!(
                    "server.listen = \"{listen}\" is for other machines, and without TLS whoever is on the way \
                     can read the tokens and use them: set tls.certificate_file and tls.key_file, listen on a \
                     loopback address such as 127.0.0.1, or, if all connections come by way of something that \
                     ends TLS, set auth.allow_tokens_without_tls = true"
                )),
                AuthMode::Disabled | AuthMode::Jwt => {}
            }
        }
        problems
    }

    fn has_tls(&self) -> bool {
        given(&self.tls.certificate_file).is_some() && given(&self.tls.key_file).is_some()
    }

    /// Whether other machines can reach the server.
    pub(super) fn is_for_others(&self) -> bool {
        is_for_others(self.server.listen)
    }

    /// What TLS is set up with; `None` for none.
    pub(super) fn tls_options(&self, clock: &Timekeeper) -> Option<TlsOptions> {
        let Tls { certificate_file, key_file, client_ca_file, client_certificate_required, .. } = &self.tls;
        let client_ca = given(client_ca_file);
        Some(TlsOptions {
            certificate_file: given(certificate_file)?,
            key_file: given(key_file)?,
            client_ca: client_ca.map(|file| ClientCa { file, required: *client_certificate_required }),
            version_min: self.tls.version_min,
            handshake_timeout: Duration::from_millis(self.tls.handshake_timeout_ms),
            reload_interval: Duration::from_millis(self.tls.reload_interval_ms),
            clock: clock.clone(),
        })
    }

    /// How callers are known by their tokens; `None` if they are not asked for any.
    pub(super) fn token_options(&self, clock: &Timekeeper) -> Option<TokenOptions> {
        let jwt = &self.auth.jwt;
        let keys = jwt.key_sources().next().filter(|_| self.auth.mode == AuthMode::Jwt)?;
        Some(TokenOptions {
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            keys,
            keys_timeout: Duration::from_millis(jwt.fetch_timeout_ms),
            upkeep: Upkeep {
                refresh_interval: Duration::from_millis(jwt.refresh_interval_ms),
                refresh_pause_min: Duration::from_millis(jwt.refresh_pause_ms_min),
                unconfirmed_max: Duration::from_secs(jwt.keys_unconfirmed_seconds_max),
                tokens_remembered_max: jwt.tokens_remembered_max,
            },
            leeway: Duration::from_secs(jwt.leeway_seconds),
            token_bytes_max: jwt.token_bytes_max,
            clock: clock.clone(),
        })
    }
}

impl Jwt {
    fn key_sources(&self) -> impl Iterator<Item = KeySource> {
        let url = Some(&self.jwks_url).filter(|url| !url.is_empty());
        [
            given(&self.jwks_file).map(KeySource::JwksFile),
            url.and_then(|url| url.parse().ok()).map(KeySource::JwksUrl),
            given(&self.public_key_file).map(KeySource::PublicKeyFile),
            given(&self.development_secret_file).map(KeySource::DevelopmentSecretFile),
        ]
        .into_iter()
        .flatten()
    }
}

fn is_for_others(listen: SocketAddr) -> bool {
    !listen.ip().to_canonical().is_loopback()
}

fn given(path: &PathBuf) -> Option<PathBuf> {
    Some(path).filter(|path| !path.as_os_str().is_empty()).cloned()
}
