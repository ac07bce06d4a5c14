//! Small files that an operator may replace while the server runs: certificates and keys.
//!
//! Whether one was replaced is told by what is in it. Dates lie: a secret that is mounted is replaced by
//! moving a link.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

/// The largest file that is read. Certificates and keys are a few kilobytes.
const BYTES_MAX: u64 = 1 << 20;

/// A file that is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be read: {source}", path.display())]
pub struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

/// What contents have in common only with their equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of several contents, in order.
    pub(crate) fn of<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let each = contents.into_iter().flat_map(Sha256::digest);
        Self(Sha256::digest(each.collect::<Vec<_>>()).into())
    }

    /// That of the same contents under a name.
    pub(crate) fn named(self, name: &str) -> Self {
        Self::of([name.as_bytes(), &self.0])
    }
}

/// Reads a file whole, on a thread that may wait for the disk.
pub(crate) async fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
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
    result.map_err(|source| Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_apart_where_one_content_ends() {
        let of = |contents: &[&'static str]| Fingerprint::of(contents.iter().map(|text| text.as_bytes()));
        assert_eq!(of(&["a", "bc"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "bc"]), of(&["ab", "c"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }

    #[tokio::test]
    async fn what_cannot_be_a_key_file_is_not_read() {
        let error = read(Path::new("/nowhere/key.pem")).await.unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/key.pem: cannot be read: No such file"), "{error}");
        let error = read(Path::new("/dev/zero")).await.unwrap_err().to_string();
        assert_eq!(error, "/dev/zero: cannot be read: it has more than 1048576 bytes");
    }
}
