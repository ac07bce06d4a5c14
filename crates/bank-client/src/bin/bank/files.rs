//! Files that the tool writes. They hold money, names and keys, so nobody but their owner reads them, and what has
//! their name already, a link for one, is left alone.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::failure::{Failure, Unusable};

/// Its owner reads and writes it, and nobody else.
pub(crate) const PRIVATE: u32 = 0o600;
/// Everybody reads it.
pub(crate) const PUBLIC: u32 = 0o644;

/// A new file.
pub(crate) fn create(path: &Path, mode: u32) -> Result<File, Failure> {
    // Neither an existing file nor a link, not even one that leads nowhere, is opened so.
    let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    created.map_err(|error| unwritable(path, error))
}

/// A new file with these contents, or none.
pub(crate) fn write(path: &Path, mode: u32, contents: &[u8]) -> Result<(), Failure> {
    let mut file = create(path, mode)?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(|error| {
        // A part of it is of no use, and in the way of the next try.
        let _ = fs::remove_file(path);
        unwritable(path, error)
    })
}

/// Why a file could not be written.
pub(crate) fn unwritable(path: &Path, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Unusable::Exists.of(path),
        _ => Unusable::Unwritable(error).of(path),
    }
}

/// A private file that takes its place once it is whole and on the disk. Until then it lies beside it under a name of
/// its own, and goes away if it is dropped.
pub(crate) struct Unfinished<'a> {
    path: &'a Path,
    file: NamedTempFile,
}

impl<'a> Unfinished<'a> {
    pub(crate) fn create(path: &'a Path) -> Result<Self, Failure> {
        // What is there already is told before the work is done, not after it.
        if path.symlink_metadata().is_ok() {
            return Err(Unusable::Exists.of(path));
        }
        let mut prefix = path.file_name().map(OsString::from).unwrap_or_default();
        prefix.push(".unfinished-");
        let file = tempfile::Builder::new().prefix(&prefix).tempfile_in(directory(path));
        Ok(Self { path, file: file.map_err(|error| unwritable(path, error))? })
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.file.as_file_mut().write_all(data).map_err(|error| unwritable(self.path, error))
    }

    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Self { path, file } = self;
        file.as_file().sync_all().map_err(|error| unwritable(path, error))?;
        file.persist_noclobber(path).map_err(|error| unwritable(path, error.error))?;
        // Without this the name may be gone after a crash.
        let directory = File::open(directory(path)).and_then(|directory| directory.sync_all());
        directory.map_err(|error| unwritable(path, error))
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
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "mine").unwrap();
        symlink(path("file"), path("link")).unwrap();
        symlink(path("nowhere"), path("dangling")).unwrap();
        for name in ["file", "link", "dangling"] {
            for failure in [
                create(&path(name), PRIVATE).map(drop).unwrap_err(),
                write(&path(name), PUBLIC, b"theirs").unwrap_err(),
                Unfinished::create(&path(name)).map(drop).unwrap_err(),
            ] {
                assert!(failure.to_string().ends_with("is there already, and is left as it is"), "{failure}");
            }
        }
        assert_eq!(fs::read(path("file")).unwrap(), b"mine");
        assert!(!path("nowhere").exists());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
    }

    #[test]
    fn a_file_is_private_takes_its_place_when_it_is_whole_and_is_gone_otherwise() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("bank.jsonl");
        drop(Unfinished::create(&path).unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);

        let mut file = Unfinished::create(&path).unwrap();
        file.write(b"all of it").unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"all of it".to_vec(), PRIVATE));

        // Whatever came there meanwhile stays.
        let other = directory.path().join("other");
        let file = Unfinished::create(&other).unwrap();
        fs::write(&other, "came first").unwrap();
        assert!(file.finish().is_err());
        assert_eq!(fs::read(&other).unwrap(), b"came first");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    }
}
