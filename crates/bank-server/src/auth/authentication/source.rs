//! Where keys come from.

use std::{path::PathBuf, time::Duration};

use bank_domain::redacted;
use http::Uri;
use tokio::time::timeout;

use super::{
    fetch::{Endpoint, FetchError},
    keys::Format,
};
use crate::files::{self, Unreadable};

/// Where the keys come from that tokens are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a JSON Web Key Set.
    JwksFile(PathBuf),
    /// A URL that answers with a JSON Web Key Set.
    JwksUrl(Uri),
    /// A file with one public key in PEM form.
    PublicKeyFile(PathBuf),
    /// A file with a secret that whoever issues tokens has too; for development.
    DevelopmentSecretFile(PathBuf),
}

/// Why keys are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// The URL does not answer with keys.
    #[error("{}: {source}", redacted(&uri.to_string()))]
    Url {
        /// Which.
        uri: Uri,
        /// Why.
        source: FetchError,
    },
    /// It takes too long.
    #[error("{place}: no answer within {within_ms} ms")]
    TooSlow {
        /// From where.
        place: String,
        /// How long it had.
        within_ms: u128,
    },
}

/// A source that is ready to be read.
#[derive(Clone)]
pub(super) struct OpenSource {
    place: Place,
    pub(super) format: Format,
    patience: Duration,
}

#[derive(Clone)]
enum Place {
    File(PathBuf),
    Url(Uri, Endpoint),
}

impl OpenSource {
    pub(super) fn open(source: &KeySource, patience: Duration) -> Result<Self, Unavailable> {
        let (place, format) = match source {
            KeySource::JwksFile(path) => (Place::File(path.clone()), Format::Jwks),
            KeySource::JwksUrl(uri) => {
                let unavailable = |source| Unavailable::Url { uri: uri.clone(), source };
                let endpoint = Endpoint::open(uri.clone()).map_err(unavailable)?;
                (Place::Url(uri.clone(), endpoint), Format::Jwks)
            }
            KeySource::PublicKeyFile(path) => (Place::File(path.clone()), Format::Pem),
            KeySource::DevelopmentSecretFile(path) => (Place::File(path.clone()), Format::Secret),
        };
        Ok(Self { place, format, patience })
    }

    /// What is there now.
    pub(super) async fn read(&self) -> Result<Vec<u8>, Unavailable> {
        let read = async {
            match &self.place {
                Place::File(path) => Ok(files::read(path).await?),
                Place::Url(uri, endpoint) => match endpoint.fetch().await {
                    Ok(contents) => Ok(contents.into()),
                    Err(source) => Err(Unavailable::Url { uri: uri.clone(), source }),
                },
            }
        };
        let too_slow = || Unavailable::TooSlow { place: self.place(), within_ms: self.patience.as_millis() };
        timeout(self.patience, read).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// What it is called, for people.
    pub(super) fn place(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Url(uri, _) => redacted(&uri.to_string()),
        }
    }
}
