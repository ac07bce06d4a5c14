//! A connection to the bank, as the command line and the environment say.

use std::{env, fs, path::Path};

use bank_client::{BankClient, Builder, TokenError, tls};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    args::{Credentials, Global},
    failure::{Failure, Unusable},
};

/// Holds a token for who has no file for it. It is no flag: other users of the machine can read those.
const TOKEN: &str = "BANK_TOKEN";

pub(crate) async fn connect(global: &Global) -> Result<BankClient, Failure> {
    Ok(builder(global)?.connect().await?)
}

pub(crate) fn builder(global: &Global) -> Result<Builder, Failure> {
    let builder = BankClient::builder(&global.server)
        .timeout(global.timeout)
        .connect_timeout(global.timeout)
        .user_agent("bank-cli");
    let builder = secured(builder, &global.credentials)?;
    authenticated(builder, &global.credentials)
}

fn secured(builder: Builder, credentials: &Credentials) -> Result<Builder, Failure> {
    let Credentials { ca_file, cert_file, key_file, server_name, .. } = credentials;
    if ca_file.is_none() && cert_file.is_none() && key_file.is_none() && server_name.is_none() {
        return Ok(builder);
    }
    let mut config = tls::ClientTlsConfig::new();
    config = match ca_file {
        Some(path) => config.ca_certificate(tls::Certificate::from_pem(certificates(path)?)),
        None => config.with_native_roots(),
    };
    config = match (cert_file, key_file) {
        (Some(cert), Some(key)) => config.identity(tls::Identity::from_pem(certificates(cert)?, read(key)?)),
        (None, None) => config,
        (Some(_), None) => return Err(Failure::Incomplete { given: "--cert-file", missing: "--key-file" }),
        (None, Some(_)) => return Err(Failure::Incomplete { given: "--key-file", missing: "--cert-file" }),
    };
    if let Some(name) = server_name {
        config = config.domain_name(name);
    }
    Ok(builder.tls(config))
}

fn authenticated(builder: Builder, credentials: &Credentials) -> Result<Builder, Failure> {
    let builder = match (credentials.token_file.clone(), env::var(TOKEN)) {
        (Some(path), _) => {
            // Once now, so that a file that is not there is told as such; then for each call, so that a
            // token is renewed by writing another one.
            read(&path)?;
            builder.token_source(move || {
                let token = fs::read_to_string(&path).map(|text| text.trim().to_owned());
                std::future::ready(token.map_err(TokenError::from))
            })
        }
        (None, Ok(token)) if !token.is_empty() => builder.token(token.trim()),
        (None, _) => return Ok(builder),
    };
    Ok(if credentials.allow_token_without_tls { builder.allow_token_without_tls() } else { builder })
}

/// The token that calls carry now, if they carry one.
pub(crate) fn token(credentials: &Credentials) -> Result<Option<String>, Failure> {
    match (&credentials.token_file, env::var(TOKEN)) {
        (Some(path), _) => {
            let text = fs::read_to_string(path).map_err(|error| Unusable::Unreadable(error).of(path))?;
            Ok(Some(text.trim().to_owned()))
        }
        (None, Ok(token)) if !token.is_empty() => Ok(Some(token.trim().to_owned())),
        (None, _) => Ok(None),
    }
}

fn certificates(path: &Path) -> Result<Vec<u8>, Failure> {
    let contents = read(path)?;
    let mut found = CertificateDer::pem_slice_iter(&contents).peekable();
    if found.peek().is_none() || found.any(|certificate| certificate.is_err()) {
        return Err(Unusable::NoCertificate.of(path));
    }
    Ok(contents)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Unusable::Unreadable(error).of(path))
}
