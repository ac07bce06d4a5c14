//! Keys from a URL: one GET, bounded in size; whoever asks bounds its time.
//!
//! Redirects are not followed: where keys come from is for the operator to say, and for nobody else.

use std::{io, sync::Arc};

use http::{
    Request, StatusCode, Uri,
    header::{self, HeaderValue},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tokio_util::{either::Either, task::AbortOnDropHandle};

/// The largest key set that is read. Those of large identity providers are a few kilobytes.
const BYTES_MAX: usize = 1 << 20;

const USER_AGENT: &str = concat!("bank-server/", env!("CARGO_PKG_VERSION"));

/// A place that keys can be fetched from.
#[derive(Clone)]
pub(super) struct Endpoint {
    uri: Uri,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

/// Why there are no keys from a URL.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The system's root certificates cannot be used.
    #[error("the system's root certificates cannot be used: {0}")]
    Roots(String),
    /// There is no connection, or no trust in whoever is at its other end.
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    /// It is not HTTP, or broke off.
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is not the keys.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The answer is too large, or broke off.
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// Whether keys may be fetched from a URL: by `https`, or from this machine.
pub(crate) fn is_key_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else { return false };
    // What comes before an @ would be credentials, which have no place here.
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") => plain,
        Some("http") => plain && is_loopback(without_brackets(host)),
        _ => false,
    }
}

impl Endpoint {
    /// A place by its URL, which is one that keys may be fetched from.
    pub(super) fn open(uri: Uri) -> Result<Self, FetchError> {
        let secure = uri.scheme_str() == Some("https");
        let tls = if secure { Some(Arc::new(client_config()?)) } else { None };
        let host = without_brackets(uri.host().unwrap_or_default()).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { uri, host, port, tls })
    }

    /// Gets what is there now.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                Either::Right(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
            }
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender.send_request(self.request()).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await.map_err(FetchError::Body)?;
        Ok(body.to_bytes())
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().unwrap_or_default();
        let host = self.uri.authority().and_then(|authority| authority.as_str().parse().ok());
        let headers = request.headers_mut();
        headers.extend(host.map(|host| (header::HOST, host)));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        request
    }
}

/// Trusts whom the system trusts.
fn client_config() -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(FetchError::Roots(format!("there are none; {}", errors.join("; "))));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Roots(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        for (url, expected) in [
            ("https://id.example.com/.well-known/jwks.json", true),
            ("https://10.0.0.1:8443", true),
            ("http://127.0.0.1:8080/jwks", true),
            ("http://[::1]:8080/jwks", true),
            ("http://localhost/jwks", true),
            ("http://id.example.com/jwks", false),
            ("http://localhost.example.com/jwks", false),
            ("http://127.0.0.1@id.example.com/jwks", false),
            ("https://user:s3cret@id.example.com/jwks", false),
            ("ftp://127.0.0.1/jwks", false),
            ("/etc/jwks.json", false),
            ("https://", false),
            ("", false),
        ] {
            assert_eq!(is_key_url(url), expected, "{url}");
        }
    }
}
