//! Where keys come from: a file or a URL.

use std::{fmt, path::PathBuf, time::Duration};

use bank_domain::redacted;
use http::Uri;
use tokio::time::timeout;

use super::{
    fetch::{FetchError, Fetcher},
    keys::Format,
};
use crate::files::{self, Unreadable};

/// The source of the keys that verify tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a JSON Web Key Set.
    JwksFile(PathBuf),
    /// A URL of a JSON Web Key Set.
    JwksUrl(Uri),
    /// A file with one public key in PEM form.
    PublicKeyFile(PathBuf),
    /// A file with a secret that the issuer of tokens has too; for development.
    DevelopmentSecretFile(PathBuf),
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// The URL does not return keys.
    #[error("{place}: {source}")]
    Url {
        /// The URL, without credentials.
        place: String,
        /// What went wrong.
        source: FetchError,
    },
    /// The timeout has passed.
    #[error("{place}: no answer within {timeout_ms} ms")]
    Timeout {
        /// The path or URL.
        place: String,
        /// The timeout.
        timeout_ms: u128,
    },
}

/// A source that can be read.
pub(super) struct Source {
    location: Location,
    pub(super) format: Format,
    read_timeout: Duration,
}

enum Location {
    File(PathBuf),
    Url(Uri, Box<Fetcher>),
}

impl Source {
    pub(super) fn open(source: &KeySource, read_timeout: Duration) -> Result<Self, Unavailable> {
        let (location, format) = match source {
            KeySource::JwksFile(path) => (Location::File(path.clone()), Format::Jwks),
            KeySource::JwksUrl(uri) => {
                let unavailable = |source| Unavailable::Url { place: redacted(&uri.to_string()), source };
                (Location::Url(uri.clone(), Box::new(Fetcher::new().map_err(unavailable)?)), Format::Jwks)
            }
            KeySource::PublicKeyFile(path) => (Location::File(path.clone()), Format::Pem),
            KeySource::DevelopmentSecretFile(path) => (Location::File(path.clone()), Format::Secret),
        };
        Ok(Self { location, format, read_timeout })
    }

    /// Reads the current contents.
    pub(super) async fn read(&self) -> Result<Vec<u8>, Unavailable> {
        let read = async {
            match &self.location {
                Location::File(path) => Ok(files::read(path).await?),
                Location::Url(uri, fetcher) => fetcher
                    .fetch(uri)
                    .await
                    .map_err(|source| Unavailable::Url { place: self.place(), source }),
            }
        };
        timeout(self.read_timeout, read).await.unwrap_or_else(|_| {
            Err(Unavailable::Timeout { place: self.place(), timeout_ms: self.read_timeout.as_millis() })
        })
    }

    /// The path or URL, without credentials.
    pub(super) fn place(&self) -> String {
        match &self.location {
            Location::File(path) => path.display().to_string(),
            Location::Url(uri, _) => redacted(&uri.to_string()),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.place()).finish()
    }
}
