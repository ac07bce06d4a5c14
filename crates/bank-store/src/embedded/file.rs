//! The file: how it is found or founded, what it says about itself, and what its errors mean.

use std::{cell::Cell, io, time::Duration};

use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, StorageError, TableError};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    EmbeddedOptions, log,
    medium::Medium,
    tables::{LOG, META, WriteTables},
};
use crate::{Secret, StoreError, partition::Partitions};

/// The layout of tables and rows that this version reads and writes.
const LAYOUT: &str = "2";
/// How many windows of request records a commit looks at, at most.
const WINDOWS_MAX: u64 = 31;
/// How often a long check of the file says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What a bank is, from its founding on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) bank_id: String,
    /// Drawn when it is opened, where a version that knew none has founded it.
    pub(super) secret: Secret,
    pub(super) partitions: Partitions,
    pub(super) request_window_seconds: u64,
}

/// Opens the bank in the file, and founds one if there is no file.
pub(super) fn open_or_found(
    medium: &dyn Medium,
    options: &EmbeddedOptions,
) -> Result<(Database, Identity), StoreError> {
    let wanted = Identity {
        bank_id: Uuid::new_v4().to_string(),
        secret: Secret::draw(),
        partitions: Partitions::try_new(options.partitions)?,
        request_window_seconds: retention_seconds(options),
    };
    let builder = builder(medium.name(), options);
    if let Some(database) = medium.create(&builder, &|database| wanted.write(database))? {
        return Ok((database, wanted));
    }
    let (database, found) = open(medium, options)?;
    if found.partitions != wanted.partitions {
        return Err(StoreError::Misconfigured(format!(
            "the bank in {} has {} partitions, store.partitions is {}; set it to what the bank has",
            medium.name(),
            found.partitions.count(),
            wanted.partitions.count(),
        )));
    }
    let window_seconds = found.request_window_seconds;
    if wanted.request_window_seconds / window_seconds > WINDOWS_MAX {
        return Err(StoreError::Misconfigured(format!(
            "the bank in {} keeps request records in windows of {window_seconds} s, and every commit looks at \
             each; ledger.request_retention_seconds can be {} at most",
            medium.name(),
            window_seconds * WINDOWS_MAX,
        )));
    }
    found.keep_secret(&database)?;
    Ok((database, found))
}

/// Refuses a bank whose newest entry is ahead of the clock.
pub(super) fn require_past(
    database: &Database,
    file: &str,
    options: &EmbeddedOptions,
) -> Result<(), StoreError> {
    let transaction = database.begin_read().map_err(storage_error)?;
    let log = transaction.open_table(LOG).map_err(storage_error)?;
    let (now, ahead_max) = (options.clock.estimate(), options.clock.ahead_max());
    let Some((account_id, time)) =
        log::newest_entry(&log)?.filter(|(_, time)| time.is_ahead_of(now, ahead_max))
    else {
        return Ok(());
    };
    let text = format!(
        "the newest entry in {file} is of {time}, on account {account_id}, and the clock of this machine says {now}"
    );
    if options.entries_ahead_allowed {
        tracing::warn!("{text}; it is taken to be right, as clock.entries_ahead_allowed says");
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "{text}: set the clock; if it is right, and the bank was changed while it was wrong, read docs/clocks.md before \
         you start with clock.entries_ahead_allowed = true"
    )))
}

/// Opens the bank in the file that is there.
pub(super) fn open(
    medium: &dyn Medium,
    options: &EmbeddedOptions,
) -> Result<(Database, Identity), StoreError> {
    let builder = builder(medium.name(), options);
    let database = medium.open(&builder).map_err(|error| opening_error(&medium.name(), error))?;
    let identity = Identity::read(&database, &medium.name())?;
    Ok((database, identity))
}

/// Opens the file anew after a write has failed. It must be the same bank.
pub(super) fn reopen(
    medium: &dyn Medium,
    options: &EmbeddedOptions,
    identity: &Identity,
) -> Result<Database, StoreError> {
    medium.forget_cached();
    let (database, found) = open(medium, options)?;
    if found == *identity {
        return Ok(database);
    }
    Err(StoreError::Misconfigured(format!("{} is another bank now; start the server again", medium.name())))
}

/// Whole seconds, and no fewer than were asked for.
pub(super) fn retention_seconds(options: &EmbeddedOptions) -> u64 {
    let retention = options.request_retention;
    (retention.as_secs() + u64::from(retention.subsec_nanos() > 0)).max(1)
}

impl Identity {
    fn write(&self, database: &Database) -> Result<(), StoreError> {
        let transaction = database.begin_write().map_err(storage_error)?;
        {
            let mut tables = WriteTables::open(&transaction)?;
            for (field, value) in [
                ("layout", LAYOUT),
                ("bank_id", &self.bank_id),
                ("secret", &self.secret.to_hex()),
                ("partitions", &self.partitions.count().to_string()),
                ("request_window_seconds", &self.request_window_seconds.to_string()),
            ] {
                tables.meta.insert(field, value).map_err(storage_error)?;
            }
        }
        transaction.commit().map_err(storage_error)
    }

    /// Writes the secret down, where there was none.
    fn keep_secret(&self, database: &Database) -> Result<(), StoreError> {
        let reading = database.begin_read().map_err(storage_error)?;
        let meta = reading.open_table(META).map_err(storage_error)?;
        if meta.get("secret").map_err(storage_error)?.is_some() {
            return Ok(());
        }
        let transaction = database.begin_write().map_err(storage_error)?;
        let mut tables = WriteTables::open(&transaction)?;
        tables.meta.insert("secret", &*self.secret.to_hex()).map_err(storage_error)?;
        drop(tables);
        transaction.commit().map_err(storage_error)
    }

    fn read(database: &Database, file: &str) -> Result<Self, StoreError> {
        let transaction = database.begin_read().map_err(storage_error)?;
        let no_bank = || {
            StoreError::Misconfigured(format!(
                "{file} is a database, but not of a bank; choose another file with store.embedded.path"
            ))
        };
        let meta = match transaction.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::Storage(error)) => return Err(storage_error(error)),
            Err(_) => return Err(no_bank()),
        };
        let of = |field: &str| -> Result<String, StoreError> {
            let value = meta.get(field).map_err(storage_error)?;
            value.map(|value| value.value().to_owned()).ok_or_else(no_bank)
        };
        let layout = of("layout")?;
        if layout != LAYOUT {
            return Err(StoreError::Misconfigured(format!(
                "the bank in {file} has layout {layout:?}, this server reads {LAYOUT:?}; use the version of \
                 the server that wrote it"
            )));
        }
        let damaged =
            |field: &str| StoreError::Corrupt(format!("the bank in {file}: field {field:?} is malformed"));
        let partitions = of("partitions")?.parse().ok().and_then(|count| Partitions::try_new(count).ok());
        let window_seconds = of("request_window_seconds")?.parse().ok().filter(|seconds| *seconds > 0);
        let secret = match meta.get("secret").map_err(storage_error)? {
            Some(text) => Secret::from_hex(text.value()).ok_or_else(|| damaged("secret"))?,
            None => Secret::draw(),
        };
        Ok(Self {
            bank_id: of("bank_id")?,
            secret,
            partitions: partitions.ok_or_else(|| damaged("partitions"))?,
            request_window_seconds: window_seconds.ok_or_else(|| damaged("request_window_seconds"))?,
        })
    }
}

fn builder(file: String, options: &EmbeddedOptions) -> Builder {
    let mut builder = Database::builder();
    let began_at = Instant::now();
    let said_at = Cell::new(None);
    builder.set_cache_size(options.page_bytes_max()).set_repair_callback(move |repair| {
        let is_due = said_at.get().is_none_or(|at: Instant| at.elapsed() >= PROGRESS_EVERY);
        if is_due {
            said_at.set(Some(Instant::now()));
            let percent = format!("{:.0}", repair.progress() * 100.0);
            let seconds = began_at.elapsed().as_secs();
            tracing::info!(file, percent, seconds, "checking a file that was not closed in order");
        }
    });
    builder
}

/// What an error of an open file means: nothing was done.
pub(super) fn storage_error(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(what) => StoreError::Corrupt(damaged(&what)),
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_)) => StoreError::Corrupt(damaged(&error.to_string())),
        error => StoreError::Unavailable(format!("the file of the bank: {error}")),
    }
}

/// What to say about a file that is damaged.
pub(super) fn damaged(what: &str) -> String {
    format!(
        "the file of the bank is damaged ({what}); stop the server, run bank-server --check-store to see how \
         far, and restore the bank from a backup"
    )
}

/// Why a file cannot be opened, and what to do.
fn opening_error(file: &str, error: DatabaseError) -> StoreError {
    let misconfigured = |why: &str| StoreError::Misconfigured(format!("{file} {why}"));
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => misconfigured(
            "is open in another bank-server, and one file serves one server; stop that one, or choose another \
             file with store.embedded.path",
        ),
        DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => {
            misconfigured(&format!("cannot be used by this version of the server: {error}"))
        }
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            misconfigured(
                "is not a file of a bank, or its beginning is damaged; choose another with \
                 store.embedded.path, or restore the bank from a backup",
            )
        }
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            StoreError::Corrupt(damaged("it is shorter than it says"))
        }
        DatabaseError::Storage(StorageError::Io(error)) => unusable(file, &error),
        DatabaseError::Storage(error) => storage_error(error),
        error => StoreError::Unavailable(format!("{file} cannot be opened: {error}")),
    }
}

/// Why the system does not let a file or directory be used.
pub(super) fn unusable(path: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename => StoreError::Misconfigured(format!(
            "{path} cannot be used: {error}; let the server read and write there, or choose another place \
             with store.embedded.path"
        )),
        _ => StoreError::Unavailable(format!("{path} cannot be used: {error}")),
    }
}
