//! What a bank's file is on: the file system, or what tests put in its place.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use redb::{Builder, Database, DatabaseError};
use rustix::fs::{Advice, fadvise, statvfs};

use super::file::unusable;
use crate::StoreError;

/// Writes a new bank into an empty file.
pub(super) type Found<'a> = &'a dyn Fn(&Database) -> Result<(), StoreError>;

/// What a bank's file is on.
pub(super) trait Medium: fmt::Debug + Send + Sync + 'static {
    /// The file's name, for messages.
    fn name(&self) -> String;

    /// If there is no file, makes one with the bank that `found` puts into it: all of it or nothing.
    fn create(&self, builder: &Builder, found: Found<'_>) -> Result<Option<Database>, StoreError>;

    /// Opens the file that is there.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// After a write has failed: forgets what the system believes to be in the file, so that what is
    /// read next is what the disk has.
    fn forget_cached(&self);

    /// What is in the way of writing, as far as it can be known before.
    fn obstacle(&self) -> Option<String>;
}

/// A file in a directory.
#[derive(Debug)]
pub(super) struct FileMedium {
    path: PathBuf,
    free_bytes_min: u64,
    /// The device and number of the file that is open, which its name may cease to stand for.
    opened: Mutex<Option<(u64, u64)>>,
}

impl FileMedium {
    pub(super) fn new(path: &Path, free_bytes_min: u64) -> Self {
        Self { path: path.to_owned(), free_bytes_min, opened: Mutex::new(None) }
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    fn remember(&self) {
        let identity = fs::metadata(&self.path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

impl Medium for FileMedium {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The file gets its name once the bank is in it, and only if nobody else was faster.
    fn create(&self, builder: &Builder, found: Found<'_>) -> Result<Option<Database>, StoreError> {
        if self.path.try_exists().map_err(|error| unusable(&self.name(), &error))? {
            return Ok(None);
        }
        let directory = self.directory();
        let in_directory = |error| unusable(&directory.display().to_string(), &error);
        make_directory(directory).map_err(in_directory)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let unnamed = tempfile::Builder::new()
            .prefix(&format!("{name}."))
            .suffix(".new")
            .tempfile_in(directory)
            .map_err(in_directory)?;
        let database = builder
            .create(unnamed.path())
            .map_err(|error| StoreError::Unavailable(format!("{} cannot be made: {error}", self.name())))?;
        found(&database)?;
        match unnamed.persist_noclobber(&self.path) {
            Ok(_) => {
                sync_directory(directory).map_err(in_directory)?;
                self.remember();
                Ok(Some(database))
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(unusable(&self.name(), &error.error)),
        }
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        let database = builder.open(&self.path)?;
        self.remember();
        Ok(database)
    }

    /// When the disk does not take what was written, Linux keeps it in memory as if it had. Read from
    /// there, a commit would look as if it were durable.
    fn forget_cached(&self) {
        let Ok(file) = File::open(&self.path) else { return };
        // What is still to be written would stay: a failure shows again when it is synced.
        let _ = file.sync_all();
        if let Err(error) = fadvise(&file, 0, None, Advice::DontNeed) {
            tracing::warn!(%error, file = self.name(), "the system's memory of the file cannot be cleared");
        }
    }

    fn obstacle(&self) -> Option<String> {
        let identity = fs::metadata(&self.path).map(|metadata| (metadata.dev(), metadata.ino()));
        let opened = *self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if identity.as_ref().ok() != opened.as_ref() {
            let what = identity.map_or_else(|error| error.to_string(), |_| "it is another one".to_owned());
            return Some(format!(
                "{} is not the file any more that was opened ({what}); put that one back",
                self.name()
            ));
        }
        let disk = match statvfs(self.directory()) {
            Ok(disk) => disk,
            Err(error) => return Some(format!("{}: {error}", self.directory().display())),
        };
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        (free_bytes < self.free_bytes_min).then(|| {
            format!(
                "the disk of {} has only {free_bytes} bytes left, and store.embedded.free_bytes_min is {}; make \
                 room, and the bank goes on by itself",
                self.name(),
                self.free_bytes_min
            )
        })
    }
}

/// Makes a directory and those above it, so that they last.
fn make_directory(directory: &Path) -> io::Result<()> {
    let missing: Vec<_> = directory.ancestors().take_while(|ancestor| !ancestor.is_dir()).collect();
    fs::create_dir_all(directory)?;
    for made in missing {
        sync_directory(made.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
