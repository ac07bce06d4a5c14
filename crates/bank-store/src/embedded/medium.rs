//! Where the file is: in the file system, or in a simulated disk of a test.

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

use super::errors::unusable;
use crate::StoreError;

/// Initializes a bank in an empty database.
pub(super) type Initialize<'a> = &'a dyn Fn(&Database) -> Result<(), StoreError>;

/// Where the file is.
pub(super) trait Medium: fmt::Debug + Send + Sync + 'static {
    /// The name of the file, for messages.
    fn name(&self) -> String;

    /// Creates and initializes the file, as a whole or not at all. Returns `None` if it already exists.
    fn create(&self, builder: &Builder, initialize: Initialize<'_>) -> Result<Option<Database>, StoreError>;

    /// Opens an existing file.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// After a failed write, drops the cache of the operating system, so that the next reads show what is on the disk.
    fn drop_cache(&self);

    /// Why the file cannot be written, as far as that is known in advance.
    fn obstacle(&self) -> Option<String>;
}

/// A file in a directory.
#[derive(Debug)]
pub(super) struct FileMedium {
    path: PathBuf,
    free_bytes_min: u64,
    /// The device and inode of the open file. The path may come to name another one.
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

    fn note_identity(&self) {
        let identity = fs::metadata(&self.path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

impl Medium for FileMedium {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The file gets its name when the bank is initialized, and only if no other process was faster.
    fn create(&self, builder: &Builder, initialize: Initialize<'_>) -> Result<Option<Database>, StoreError> {
        if self.path.try_exists().map_err(|error| unusable(&self.name(), &error))? {
            return Ok(None);
        }
        let directory = self.directory();
        let in_directory = |error| unusable(&directory.display().to_string(), &error);
        create_directory(directory).map_err(in_directory)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let unnamed = tempfile::Builder::new()
            .prefix(&format!("{name}."))
            .suffix(".new")
            .tempfile_in(directory)
            .map_err(in_directory)?;
        let database = builder.create(unnamed.path()).map_err(|error| {
            StoreError::Unavailable(format!("{} cannot be created: {error}", self.name()))
        })?;
        initialize(&database)?;
        match unnamed.persist_noclobber(&self.path) {
            Ok(_) => {
                sync_directory(directory).map_err(in_directory)?;
                self.note_identity();
                Ok(Some(database))
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(unusable(&self.name(), &error.error)),
        }
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        let database = builder.open(&self.path)?;
        self.note_identity();
        Ok(database)
    }

    /// After a failed write, Linux keeps the data in its cache as if the disk had it. Read from there, a commit would look
    /// durable.
    fn drop_cache(&self) {
        let Ok(file) = File::open(&self.path) else { return };
        // Dirty pages would stay in the cache. A failure shows again at the next sync.
        let _ = file.sync_all();
        if let Err(error) = fadvise(&file, 0, None, Advice::DontNeed) {
            tracing::warn!(%error, file = self.name(), "the system's cache of the file cannot be dropped");
        }
    }

    fn obstacle(&self) -> Option<String> {
        let identity = fs::metadata(&self.path).map(|metadata| (metadata.dev(), metadata.ino()));
        let opened = *self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if identity.as_ref().ok() != opened.as_ref() {
            let what = identity.map_or_else(|error| error.to_string(), |_| "it is another file".to_owned());
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
                "the disk of {} has only {free_bytes} bytes left, and store.embedded.free_bytes_min is {}; free some \
                 space, and the bank continues",
                self.name(),
                self.free_bytes_min
            )
        })
    }
}

/// Creates a directory and its parents durably.
fn create_directory(directory: &Path) -> io::Result<()> {
    let missing: Vec<_> = directory.ancestors().take_while(|ancestor| !ancestor.is_dir()).collect();
    fs::create_dir_all(directory)?;
    for created in missing {
        sync_directory(created.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
