//! Files that the tool writes. They contain amounts, names and keys, so only their owner may read them. Nothing that
//! exists, not even a link, is overwritten.

use std::{
    ffi::OsString,
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Only its owner reads and writes the file.
pub(crate) const PRIVATE: u32 = 0o600;
/// Everybody reads the file.
pub(crate) const PUBLIC: u32 = 0o644;

/// Creates a file with these contents. After an error there is no file.
pub(crate) fn write(path: &Path, mode: u32, contents: &[u8]) -> Result<(), Failure> {
    let mut file = Unfinished::with_mode(path, mode)?;
    file.write(contents)?;
    file.finish()
}

/// A file that gets its name once it is complete and on the disk. Until then it has a temporary name in the
/// same directory; it is deleted if it is dropped.
pub(crate) struct Unfinished<'a> {
    path: &'a Path,
    file: NamedTempFile,
}

impl<'a> Unfinished<'a> {
    /// A private file.
    pub(crate) fn create(path: &'a Path) -> Result<Self, Failure> {
        Self::with_mode(path, PRIVATE)
    }

    fn with_mode(path: &'a Path, mode: u32) -> Result<Self, Failure> {
        // Fail before the work is done, not after it.
        if path.symlink_metadata().is_ok() {
            return Err(Failure::unwritable(path, &io::ErrorKind::AlreadyExists.into()));
        }
        let mut prefix = path.file_name().map(OsString::from).unwrap_or_default();
        prefix.push(".unfinished-");
        let mut builder = tempfile::Builder::new();
        let file =
            builder.permissions(Permissions::from_mode(mode)).prefix(&prefix).tempfile_in(directory(path));
        Ok(Self { path, file: file.map_err(|error| Failure::unwritable(path, &error))? })
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.file.as_file_mut().write_all(data).map_err(|error| Failure::unwritable(self.path, &error))
    }

    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Self { path, file } = self;
        let finished = file.as_file().sync_all().and_then(|()| {
            file.persist_noclobber(path).map_err(|error| error.error)?;
            // Without this the name may be lost in a crash.
            File::open(directory(path))?.sync_all()
        });
        finished.map_err(|error| Failure::unwritable(path, &error))
    }
}

/// The directory that a file is in.
pub(crate) fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests;
