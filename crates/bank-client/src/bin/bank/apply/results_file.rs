//! The results file on disk.

use std::{
    ffi::OsString,
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use super::journal::{Disk, History, Run};
use crate::{
    failure::{Exit, Failure},
    files::{PRIVATE, directory},
};

/// The name of a results file is that of the file of operations and this.
const SUFFIX: &str = ".results.jsonl";
/// The name of standard input.
pub(super) const STANDARD: &str = "-";

/// Where a results file is, and whose results it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) path: PathBuf,
    /// The path of the file of operations, relative to the directory of the results file; `-` for a pipe.
    pub(super) input: String,
}

/// A results file, locked by this process until it is dropped.
#[derive(Debug)]
pub(super) struct ResultsFile(File);

/// A results file that cannot be used. Nothing was sent.
fn unusable(path: &Path, problem: impl fmt::Display) -> Failure {
    Failure::new(Exit::Usage, "RESULTS_FILE", format!("{} {problem}", path.display())).with_hint(
        "nothing was sent; if the run has results already, restore that file: with a new one, lines can be applied \
         twice; otherwise choose another file with --results",
    )
}

pub(super) fn not_opened(path: &Path, error: &io::Error) -> Failure {
    unusable(path, format_args!("cannot be opened: {error}"))
}

impl Location {
    /// The location that the command line names, or that next to the file of operations. None for standard input
    /// without `--results`.
    ///
    /// # Errors
    /// If the file of operations or the directory of the results file does not exist.
    pub(super) fn of(input: &Path, results: Option<&Path>) -> Result<Option<Self>, Failure> {
        let is_standard = input == Path::new(STANDARD);
        let path = match results {
            Some(path) => path.to_owned(),
            None if is_standard => return Ok(None),
            None => {
                let mut path = OsString::from(input);
                path.push(SUFFIX);
                path.into()
            }
        };
        let unreadable = |error| Failure::unreadable(input, &error);
        let input = if is_standard || !input.metadata().map_err(unreadable)?.is_file() {
            STANDARD.to_owned()
        } else {
            let directory = directory(&path).canonicalize().map_err(|error| not_opened(&path, &error))?;
            relative_to(&directory, input).map_err(unreadable)?
        };
        Ok(Some(Self { path, input }))
    }

    /// Checks that the results file belongs to this run.
    pub(super) fn same_run(&self, recorded: &Run, run: &Run) -> Result<(), Failure> {
        let named = |name: &Option<String>| match name {
            Some(name) => format!("the run {name}"),
            None => "a run without a name".to_owned(),
        };
        let (recorded, this) = if recorded.name != run.name {
            (named(&recorded.name), named(&run.name))
        } else if recorded.input != run.input {
            (format!("the file {}", recorded.input), run.input.clone())
        } else if recorded.bank_id != run.bank_id {
            (format!("the bank {}", recorded.bank_id), run.bank_id.clone())
        } else {
            return Ok(());
        };
        Err(unusable(&self.path, format_args!("belongs to {recorded}; this is {this}"))
            .with_hint("nothing was sent; choose another file with --results, or the right run with --name"))
    }
}

/// The path of a file relative to a canonical directory. It stays the same if both are moved together.
fn relative_to(base: &Path, file: &Path) -> io::Result<String> {
    let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let file = directory(file).canonicalize()?.join(name);
    let shared = base.components().zip(file.components()).take_while(|(one, other)| one == other).count();
    let up = base.components().skip(shared).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(file.components().skip(shared)).collect();
    Ok(path.to_string_lossy().into_owned())
}

impl ResultsFile {
    /// Opens the file for this process alone, or creates it, and reads it. An incomplete line at its end is removed.
    pub(super) fn open(path: &Path) -> Result<(Self, History), Failure> {
        let not_opened = |error| not_opened(path, &error);
        let created = OpenOptions::new().append(true).read(true).create_new(true).mode(PRIVATE).open(path);
        let (file, is_new) = match created {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (OpenOptions::new().append(true).read(true).open(path).map_err(not_opened)?, false)
            }
            created => (created.map_err(not_opened)?, true),
        };
        if !file.metadata().map_err(not_opened)?.is_file() {
            return Err(unusable(path, "is not a file"));
        }
        locked(path, file.try_lock())?;
        let history = History::read(BufReader::new(&file)).map_err(|problem| unusable(path, problem))?;
        let prepare = || {
            if is_new {
                // Its name must survive a crash, too.
                File::open(directory(path))?.sync_all()?;
            }
            if file.metadata()?.len() != history.length {
                file.set_len(history.length)?;
                file.sync_all()?;
            }
            Ok(())
        };
        prepare().map_err(not_opened)?;
        Ok((Self(file), history))
    }

    /// Reads the file, if it exists, without changing anything.
    pub(super) fn read(path: &Path) -> Result<History, Failure> {
        let not_opened = |error| not_opened(path, &error);
        match path.metadata() {
            // Opening a pipe would wait for its other end.
            Ok(metadata) if !metadata.is_file() => Err(unusable(path, "is not a file")),
            Ok(_) => {
                let file = File::open(path).map_err(not_opened)?;
                locked(path, file.try_lock_shared())?;
                History::read(BufReader::new(&file)).map_err(|problem| unusable(path, problem))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(History::default()),
            Err(error) => Err(not_opened(error)),
        }
    }
}

fn locked(path: &Path, locked: Result<(), TryLockError>) -> Result<(), Failure> {
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => {
            let message = format!("{} is in use by another `bank apply`", path.display());
            Failure::new(Exit::Usage, "RESULTS_FILE", message)
        }
        TryLockError::Error(error) => not_opened(path, &error),
    })
}

impl Disk for ResultsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests;
