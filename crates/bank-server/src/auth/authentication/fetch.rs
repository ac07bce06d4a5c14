//! Fetches keys from a URL: one GET of bounded size. The caller sets the timeout.
//!
//! Redirects are not followed: only the operator decides where keys come from.

use std::{error::Error, net::IpAddr};

use anyhow::{Context as _, anyhow, ensure};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio_rustls::rustls::crypto::ring;

/// The largest key set that is read. Those of large identity providers have a few kilobytes.
const BYTES_MAX: usize = 1 << 20;

const USER_AGENT: &str = concat!("bank-server/", env!("CARGO_PKG_VERSION"));

/// An HTTP client that trusts the root certificates of the system.
pub(super) struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

fn root_cause(error: &legacy::Error) -> &dyn Error {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

impl Fetcher {
    pub(super) fn new() -> anyhow::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(ring::default_provider())
            .context("the system's root certificates cannot be used")?
            .https_or_http()
            .enable_http1()
            .build();
        // Reads are rare: a connection that is kept would be closed by the other side meanwhile.
        Ok(Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)))
    }

    pub(super) async fn fetch(&self, uri: &Uri) -> anyhow::Result<Vec<u8>> {
        let mut request = Request::new(Empty::new());
        request.uri_mut().clone_from(uri);
        for (name, value) in [(header::ACCEPT, "application/json"), (header::USER_AGENT, USER_AGENT)] {
            request.headers_mut().insert(name, header::HeaderValue::from_static(value));
        }
        let response = self.0.request(request).await.map_err(|error| {
            let what = if error.is_connect() { "cannot connect" } else { "the connection failed" };
            anyhow!("{what}: {}", root_cause(&error))
        })?;
        ensure!(response.status() == StatusCode::OK, "the answer is {}", response.status());
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("the answer cannot be read: {error}"))?;
        Ok(body.to_bytes().into())
    }
}

/// Whether keys may be fetched from a URL: only by `https`, or from this machine, and without credentials.
pub(crate) fn is_key_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else { return false };
    let has_credentials = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => !has_credentials,
        Some("http") => !has_credentials && is_loopback,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
