//! Where keys come from: a file or a URL.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow};
use bank_domain::redacted;
use http::Uri;
use tokio::time::timeout;

use super::{fetch::Fetcher, keys::Format};
use crate::files;

/// The source of the keys that verify tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf, Format),
    /// The URL of a JSON Web Key Set.
    JwksUrl(Uri),
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
    pub(super) fn open(source: &KeySource, read_timeout: Duration) -> anyhow::Result<Self> {
        let (location, format) = match source {
            KeySource::File(path, format) => (Location::File(path.clone()), *format),
            KeySource::JwksUrl(uri) => {
                let fetcher = Fetcher::new().with_context(|| redacted(&uri.to_string()))?;
                (Location::Url(uri.clone(), Box::new(fetcher)), Format::Jwks)
            }
        };
        Ok(Self { location, format, read_timeout })
    }

    /// Reads the current contents.
    pub(super) async fn read(&self) -> anyhow::Result<Vec<u8>> {
        let read = async {
            match &self.location {
                Location::File(path) => files::read(path).await,
                Location::Url(uri, fetcher) => fetcher.fetch(uri).await.with_context(|| self.place()),
            }
        };
        let late = |_| anyhow!("{}: no answer within {} ms", self.place(), self.read_timeout.as_millis());
        timeout(self.read_timeout, read).await.map_err(late)?
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
