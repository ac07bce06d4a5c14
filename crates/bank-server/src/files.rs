//! Small files that an operator may replace while the server runs: certificates and keys.
//!
//! Their contents show whether they were replaced. Modification times do not: a mounted secret is replaced by moving a
//! symbolic link.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use anyhow::anyhow;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

/// The largest file that is read. Certificates and keys are a few kilobytes.
const BYTES_MAX: u64 = 1 << 20;

/// A digest of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The digest of several contents, in order.
    pub(crate) fn of<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let each = contents.into_iter().flat_map(Sha256::digest);
        Self(Sha256::digest(each.collect::<Vec<_>>()).into())
    }

    /// The digest of the same contents under a name.
    pub(crate) fn named(self, name: &str) -> Self {
        Self::of([name.as_bytes(), &self.0])
    }
}

/// Reads a whole file, on a thread for blocking work.
pub(crate) async fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shared = path.to_owned();
    let reading = spawn_blocking(move || {
        let mut contents = Vec::new();
        File::open(shared)?.take(BYTES_MAX + 1).read_to_end(&mut contents)?;
        Ok(contents)
    });
    let result = match reading.await {
        Ok(Ok(contents)) if contents.len() as u64 > BYTES_MAX => {
            Err(io::Error::other(format!("it has more than {BYTES_MAX} bytes")))
        }
        Ok(result) => result,
        Err(stopped) => Err(io::Error::other(stopped)),
    };
    result.map_err(|error| anyhow!("{}: cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests;
