//! Opens the file, or creates it, and checks its identity.

use std::{cell::Cell, collections::HashMap, time::Duration};

use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableError};
use tokio::time::Instant;

use super::{
    errors::{opening_error, storage_error},
    log,
    medium::Medium,
    options::EmbeddedOptions,
    tables::{LOG, META, WriteTables},
};
use crate::{StoreError, identity::Identity, placement::PlacementRule};

/// The version of the format of tables and rows.
const LAYOUT: &str = "3";
/// The layouts that can be read. Those before the current one placed accounts by their whole ids, and still do.
const LAYOUTS: [(&str, PlacementRule); 2] = [("2", PlacementRule::AccountId), (LAYOUT, PlacementRule::Route)];
/// How often the progress of a long check is logged.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Opens the file, or creates it with a new bank.
pub(super) fn open_or_create(
    medium: &dyn Medium,
    options: &EmbeddedOptions,
) -> Result<(Database, Identity), StoreError> {
    let new = Identity::try_new(options.partitions, options.request_retention)?;
    let builder = builder(medium.name(), options);
    if let Some(database) = medium.create(&builder, &|database| write_missing_fields(database, &new))? {
        return Ok((database, new));
    }
    let (database, found) = open(medium, options)?;
    found.require_suitable(&medium.name())?;
    let has_secret = database.begin_read()?.open_table(META)?.get("secret")?.is_some();
    if !has_secret {
        write_missing_fields(&database, &found)?;
    }
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
    let identity = read_identity(&database, &medium.name(), options)?;
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

fn write_missing_fields(database: &Database, identity: &Identity) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    let mut tables = WriteTables::open(&transaction)?;
    for (field, value) in identity.fields(LAYOUT) {
        if tables.meta.get(field)?.is_none() {
            tables.meta.insert(field, value.as_str())?;
        }
    }
    drop(tables);
    transaction.commit().map_err(storage_error)
}

fn read_identity(database: &Database, file: &str, options: &EmbeddedOptions) -> Result<Identity, StoreError> {
    let not_a_bank = || {
        StoreError::Misconfigured(format!(
            "{file} is a database, but not of a bank; choose another file with store.embedded.path"
        ))
    };
    let meta = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(storage_error(error)),
        Err(_) => return Err(not_a_bank()),
    };
    let mut fields = HashMap::new();
    for field in meta.iter()? {
        let (name, value) = field?;
        fields.insert(name.value().to_owned(), value.value().to_owned());
    }
    if !fields.contains_key("bank_id") {
        return Err(not_a_bank());
    }
    let new = Identity::try_new(options.partitions, options.request_retention)?;
    Identity::read(file, &LAYOUTS, &new, |name| fields.get(name).cloned())
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
