//! Opens the file, or creates it, and checks its identity.

use std::{cell::Cell, time::Duration};

use redb::{Builder, Database, ReadableDatabase as _, TableError};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    errors::{opening_error, storage_error},
    log,
    medium::Medium,
    options::EmbeddedOptions,
    tables::{LOG, META, WriteTables},
};
use crate::{Secret, StoreError, partition::Partitions};

/// The version of the format of tables and rows.
const LAYOUT: &str = "2";
/// The maximum number of windows of request records, since every commit looks at each.
const WINDOWS_MAX: u64 = 31;
/// How often the progress of a long check is logged.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The fixed properties of a bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) bank_id: String,
    /// Drawn at the first start, if a version without secrets has initialized the bank.
    pub(super) secret: Secret,
    pub(super) partitions: Partitions,
    pub(super) request_window_seconds: u64,
}

/// Opens the file, or creates it with a new bank.
pub(super) fn open_or_create(
    medium: &dyn Medium,
    options: &EmbeddedOptions,
) -> Result<(Database, Identity), StoreError> {
    let wanted = Identity {
        bank_id: Uuid::new_v4().to_string(),
        secret: Secret::draw(),
        partitions: Partitions::try_new(options.partitions)?,
        request_window_seconds: options.retention_seconds(),
    };
    let builder = builder(medium.name(), options);
    if let Some(database) = medium.create(&builder, &|database| wanted.write(database))? {
        return Ok((database, wanted));
    }
    let (database, found) = open(medium, options)?;
    if found.partitions != wanted.partitions {
        return Err(StoreError::Misconfigured(format!(
            "the bank in {} has {} partitions, store.partitions is {}; set it to the number that the bank has",
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
    found.store_secret(&database)?;
    Ok((database, found))
}

/// Refuses to open a bank whose newest entry is ahead of the clock.
pub(super) fn require_past(
    database: &Database,
    file: &str,
    options: &EmbeddedOptions,
) -> Result<(), StoreError> {
    let transaction = database.begin_read()?;
    let log = transaction.open_table(LOG)?;
    let (now, ahead_max) = (options.clock.estimate(), options.clock.ahead_max());
    let Some((account_id, time)) =
        log::newest_entry(&log)?.filter(|(_, time)| time.is_ahead_of(now, ahead_max))
    else {
        return Ok(());
    };
    let text = format!(
        "the newest entry in {file}, on account {account_id}, is dated {time}, but the clock of this machine shows {now}"
    );
    if options.entries_ahead_allowed {
        tracing::warn!("{text}; the file is opened because of clock.entries_ahead_allowed");
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "{text}: set the clock; if it is right, and was wrong when the entry was written, read docs/clocks.md before \
         you start with clock.entries_ahead_allowed = true"
    )))
}

/// Opens an existing file.
pub(super) fn open(
    medium: &dyn Medium,
    options: &EmbeddedOptions,
) -> Result<(Database, Identity), StoreError> {
    let builder = builder(medium.name(), options);
    let database = medium.open(&builder).map_err(|error| opening_error(&medium.name(), error))?;
    let identity = Identity::read(&database, &medium.name())?;
    Ok((database, identity))
}

/// Reopens the file after a write has failed. It must have the same bank.
pub(super) fn reopen(
    medium: &dyn Medium,
    options: &EmbeddedOptions,
    identity: &Identity,
) -> Result<Database, StoreError> {
    medium.drop_cache();
    let (database, found) = open(medium, options)?;
    if found == *identity {
        return Ok(database);
    }
    Err(StoreError::Misconfigured(format!("{} has another bank now; restart the server", medium.name())))
}

impl Identity {
    fn write(&self, database: &Database) -> Result<(), StoreError> {
        let transaction = database.begin_write()?;
        {
            let mut tables = WriteTables::open(&transaction)?;
            for (field, value) in [
                ("layout", LAYOUT),
                ("bank_id", &self.bank_id),
                ("secret", &self.secret.to_hex()),
                ("partitions", &self.partitions.count().to_string()),
                ("request_window_seconds", &self.request_window_seconds.to_string()),
            ] {
                tables.meta.insert(field, value)?;
            }
        }
        transaction.commit().map_err(storage_error)
    }

    /// Stores the secret if the file has none.
    fn store_secret(&self, database: &Database) -> Result<(), StoreError> {
        let reading = database.begin_read()?;
        let meta = reading.open_table(META)?;
        if meta.get("secret")?.is_some() {
            return Ok(());
        }
        let transaction = database.begin_write()?;
        let mut tables = WriteTables::open(&transaction)?;
        tables.meta.insert("secret", &*self.secret.to_hex())?;
        drop(tables);
        transaction.commit().map_err(storage_error)
    }

    fn read(database: &Database, file: &str) -> Result<Self, StoreError> {
        let transaction = database.begin_read()?;
        let not_a_bank = || {
            StoreError::Misconfigured(format!(
                "{file} is a database, but not of a bank; choose another file with store.embedded.path"
            ))
        };
        let meta = match transaction.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::Storage(error)) => return Err(storage_error(error)),
            Err(_) => return Err(not_a_bank()),
        };
        let field = |field: &str| -> Result<String, StoreError> {
            let value = meta.get(field)?;
            value.map(|value| value.value().to_owned()).ok_or_else(not_a_bank)
        };
        let layout = field("layout")?;
        if layout != LAYOUT {
            return Err(StoreError::Misconfigured(format!(
                "the bank in {file} has layout {layout:?}, this server reads {LAYOUT:?}; use the version of \
                 the server that wrote it"
            )));
        }
        let malformed =
            |field: &str| StoreError::Corrupt(format!("the bank in {file}: field {field:?} is malformed"));
        let partitions = field("partitions")?.parse().ok().and_then(|count| Partitions::try_new(count).ok());
        let window_seconds = field("request_window_seconds")?.parse().ok().filter(|seconds| *seconds > 0);
        let secret = match meta.get("secret")? {
            Some(text) => Secret::from_hex(text.value()).ok_or_else(|| malformed("secret"))?,
            None => Secret::draw(),
        };
        Ok(Self {
            bank_id: field("bank_id")?,
            secret,
            partitions: partitions.ok_or_else(|| malformed("partitions"))?,
            request_window_seconds: window_seconds.ok_or_else(|| malformed("request_window_seconds"))?,
        })
    }
}

fn builder(file: String, options: &EmbeddedOptions) -> Builder {
    let mut builder = Database::builder();
    let began_at = Instant::now();
    let logged_at = Cell::new(None);
    builder.set_cache_size(options.page_bytes_max()).set_repair_callback(move |repair| {
        let is_due = logged_at.get().is_none_or(|at: Instant| at.elapsed() >= PROGRESS_EVERY);
        if is_due {
            logged_at.set(Some(Instant::now()));
            let percent = format!("{:.0}", repair.progress() * 100.0);
            let seconds = began_at.elapsed().as_secs();
            tracing::info!(file, percent, seconds, "checking a file that was not closed in order");
        }
    });
    builder
}
