//! Connections to the bank, set up from the command line and the environment.

use std::{env, fs, future, path::Path};

use bank_client::{BankClient, Builder, TokenError, tls};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    args::{Credentials, Global},
    failure::Failure,
};

/// Holds a token if there is no file for it. There is no option: other users of the machine can read those.
const TOKEN: &str = "BANK_TOKEN";

pub(crate) async fn connect(global: &Global) -> Result<BankClient, Failure> {
    Ok(builder(global)?.connect().await?)
}

pub(crate) fn builder(global: &Global) -> Result<Builder, Failure> {
    let mut urls = global.server.iter();
    let first = urls.next().map_or("", String::as_str);
    let builder = urls.fold(BankClient::builder(first), Builder::endpoint);
    let builder = builder.timeout(global.timeout).connect_timeout(global.timeout).user_agent("bank-cli");
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
        (Some(_), None) => return Err(Failure::incomplete("--cert-file", "--key-file")),
        (None, Some(_)) => return Err(Failure::incomplete("--key-file", "--cert-file")),
    };
    if let Some(name) = server_name {
        config = config.domain_name(name);
    }
    Ok(builder.tls(config))
}

fn authenticated(builder: Builder, credentials: &Credentials) -> Result<Builder, Failure> {
    // Read once now even if it is in a file, so that a missing file is a usage error.
    let Some(token) = token(credentials)? else { return Ok(builder) };
    let builder = match credentials.token_file.clone() {
        // Then read for each call, so that a token is renewed by writing another one.
        Some(path) => {
            builder.token_source(move || future::ready(read_token(&path).map_err(TokenError::from)))
        }
        None => builder.token(token),
    };
    Ok(if credentials.allow_token_without_tls { builder.allow_token_without_tls() } else { builder })
}

/// The access token that calls carry now, if any.
pub(crate) fn token(credentials: &Credentials) -> Result<Option<String>, Failure> {
    match &credentials.token_file {
        Some(path) => read_token(path).map(Some).map_err(|error| Failure::unreadable(path, &error)),
        None => {
            Ok(env::var(TOKEN).ok().filter(|token| !token.is_empty()).map(|token| token.trim().to_owned()))
        }
    }
}

fn read_token(path: &Path) -> std::io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

fn certificates(path: &Path) -> Result<Vec<u8>, Failure> {
    let contents = read(path)?;
    let mut found = CertificateDer::pem_slice_iter(&contents).peekable();
    if found.peek().is_none() || found.any(|certificate| certificate.is_err()) {
        return Err(Failure::file(path, "contains no certificate in PEM form"));
    }
    Ok(contents)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::unreadable(path, &error))
}
