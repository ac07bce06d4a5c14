//! The results file on the disk.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use super::{Disk, History, Unreadable};
use crate::{
    failure::{Failure, Unusable},
    files::{PRIVATE, directory},
};

/// What is appended to the name of a file for that of its results.
const SUFFIX: &str = ".results.jsonl";
/// The name of standard input.
const STANDARD: &str = "-";

/// Where a results file is, and which file its results are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::apply) struct Place {
    pub(in crate::apply) path: PathBuf,
    /// The file of operations, seen from the directory of the results file; `-` for a pipe.
    pub(in crate::apply) input: String,
}

/// A results file that is this process's alone until it is dropped.
#[derive(Debug)]
pub(in crate::apply) struct ResultsFile(File);

/// Why a results file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error("cannot be opened: {0}")]
    Io(#[from] io::Error),
    #[error("is in use by another `bank apply`")]
    InUse,
    #[error("is not a file")]
    NotAFile,
    /// It is foreign or damaged.
    #[error("{0}")]
    Unreadable(String),
    #[error("belongs to {was}; this is {is}")]
    OfAnother { was: String, is: String },
}

impl From<Unreadable> for Unavailable {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Io(error) => Self::Io(error),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

impl Place {
    /// The place that the command line names, or that beside the file of operations. None for standard input, which
    /// is beside nothing.
    ///
    /// # Errors
    /// If there is no such file of operations, or no such directory for its results.
    pub(in crate::apply) fn of(input: &Path, results: Option<&Path>) -> Result<Option<Self>, Failure> {
        let path = match results {
            Some(path) => path.to_owned(),
            None if input == Path::new(STANDARD) => return Ok(None),
            None => {
                let mut path = OsString::from(input);
                path.push(SUFFIX);
                path.into()
            }
        };
        let unreadable = |error| Unusable::Unreadable(error).of(input);
        let input = if input == Path::new(STANDARD) || !input.metadata().map_err(unreadable)?.is_file() {
            STANDARD.to_owned()
        } else {
            match directory(&path).canonicalize() {
                Ok(directory) => seen_from(&directory, input).map_err(unreadable)?,
                Err(error) => return Err(Failure::Results { path, reason: error.into() }),
            }
        };
        Ok(Some(Self { path, input }))
    }
}

/// The path of a file from a canonical directory: the same wherever both are moved together, or are looked at from.
fn seen_from(directory: &Path, file: &Path) -> io::Result<String> {
    let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let file = crate::files::directory(file).canonicalize()?.join(name);
    let shared =
        directory.components().zip(file.components()).take_while(|(one, other)| one == other).count();
    let up = directory.components().skip(shared).map(|_| Component::ParentDir);
    let seen: PathBuf = up.chain(file.components().skip(shared)).collect();
    Ok(seen.to_string_lossy().into_owned())
}

impl ResultsFile {
    /// Opens the file for one process, or makes it if it is not there, and reads what it says. A line at its end
    /// that a crash has cut is removed.
    pub(in crate::apply) fn open(path: &Path) -> Result<(Self, History), Unavailable> {
        let created = OpenOptions::new().append(true).read(true).create_new(true).mode(PRIVATE).open(path);
        let (file, is_new) = match created {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (OpenOptions::new().append(true).read(true).open(path)?, false)
            }
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Err(Unavailable::NotAFile);
        }
        lock(file.try_lock())?;
        if is_new {
            // Its name must survive a crash, too.
            File::open(directory(path))?.sync_all()?;
        }
        let history = History::read(BufReader::new(&file))?;
        if file.metadata()?.len() != history.length {
            file.set_len(history.length)?;
            file.sync_all()?;
        }
        Ok((Self(file), history))
    }

    /// What the file says, if it is there. Nothing is changed.
    pub(in crate::apply) fn look(path: &Path) -> Result<History, Unavailable> {
        match path.metadata() {
            // To open a pipe would wait for its other end.
            Ok(metadata) if !metadata.is_file() => Err(Unavailable::NotAFile),
            Ok(_) => {
                let file = File::open(path)?;
                lock(file.try_lock_shared())?;
                Ok(History::read(BufReader::new(&file))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(History::default()),
            Err(error) => Err(error.into()),
        }
    }
}

fn lock(locked: Result<(), TryLockError>) -> Result<(), Unavailable> {
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => Unavailable::InUse,
        TryLockError::Error(error) => error.into(),
    })
}

impl Disk for ResultsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.sync_data()
    }
}
