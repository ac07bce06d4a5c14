//! Records in order, and imports: a mark in `meta`, then batch after batch, each in one transaction.

use async_trait::async_trait;
use redb::{ReadableTable, ReadableTableMetadata as _, WriteTransaction};

use super::{
    EmbeddedStore,
    codec::{self, EntryPlace, Record},
    commit::{self, After, Before},
    file::storage_error,
    heads,
    requests::Windows,
    tables::{ACCOUNTS, HEADS, LOG, META, MILESTONES, OWNERS, REQUESTS, WriteTables},
};
use crate::{
    Backup, Caller, ImportBatch, ImportId, ImportStart, RecordedOutcome, RequestKey, RequestRecord,
    RequestsQuery, StoreError,
    backup::{RequestsPage, marked, taken_over},
};

/// The field of `meta` with the newest import.
const MARK: &str = "import";
const UNDER_WAY: &str = "under way: ";
const OVER: &str = "over: ";

/// Whether the bank is half of an import.
pub(super) fn is_marked(meta: &impl ReadableTable<&'static str, &'static str>) -> Result<bool, StoreError> {
    let mark = meta.get(MARK).map_err(storage_error)?;
    Ok(mark.is_some_and(|mark| mark.value().starts_with(UNDER_WAY)))
}

/// # Errors
/// [`StoreError::Unfit`] if the bank is half of an import.
pub(super) fn require_whole(meta: &impl ReadableTable<&'static str, &'static str>) -> Result<(), StoreError> {
    if is_marked(meta)? { Err(marked()) } else { Ok(()) }
}

#[async_trait]
impl Backup for EmbeddedStore {
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<(RequestKey, RequestRecord)>, StoreError> {
        let (query, retention) = (query.clone(), self.file.retention());
        let aged_to_seconds = self.file.aged_to_ms() / 1_000;
        self.read(move |snapshot| {
            let table = snapshot.transaction.open_table(REQUESTS).map_err(storage_error)?;
            let mut page = RequestsPage::new(&query, snapshot.partitions);
            for window in Windows::at(aged_to_seconds, retention, &table)?.oldest_first() {
                let rows = table.range((window, "", "", "")..(window + 1, "", "", ""));
                for row in rows.map_err(storage_error)? {
                    let (key, row) = row.map_err(storage_error)?;
                    let (_, request_id, account_id, caller) = key.value();
                    let key = request_key(request_id, account_id, caller)?;
                    page.offer(key, |_| Ok(by_entry_id(codec::record(row.value())?)))?;
                }
            }
            Ok(page.finish())
        })
        .await
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError> {
        let mark = format!("{UNDER_WAY}{import}");
        self.writer
            .write(move |transaction, before| {
                let is_empty = {
                    let meta = transaction.open_table(META).map_err(storage_error)?;
                    let accounts = transaction.open_table(ACCOUNTS).map_err(storage_error)?;
                    is_marked(&meta)? || accounts.is_empty().map_err(storage_error)?
                };
                if !is_empty {
                    return Ok((ImportStart::NotEmpty, unchanged(&before)));
                }
                set_mark(transaction, &mark)?;
                Ok((ImportStart::Started, clear(transaction, &before)?))
            })
            .await
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        let (import, batch, now_seconds) =
            (import.clone(), batch.clone(), self.file.clock().estimate_seconds());
        self.writer
            .write(move |transaction, before| {
                require_under_way(transaction, &import)?;
                commit::import(transaction, before, now_seconds, &batch)
            })
            .await
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end(import, |_, before| Ok(unchanged(before))).await
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end(import, clear).await
    }
}

impl EmbeddedStore {
    async fn end(
        &self,
        import: &ImportId,
        end: fn(&WriteTransaction, &Before<'_>) -> Result<After, StoreError>,
    ) -> Result<(), StoreError> {
        let import = import.clone();
        self.writer
            .write(move |transaction, before| {
                let over = format!("{OVER}{import}");
                if mark(transaction)? == over {
                    return Ok(((), unchanged(&before)));
                }
                require_under_way(transaction, &import)?;
                let after = end(transaction, &before)?;
                set_mark(transaction, &over)?;
                Ok(((), after))
            })
            .await
    }
}

fn unchanged(before: &Before<'_>) -> After {
    After { recent: before.recent.clone(), heads: Vec::new() }
}

fn mark(transaction: &WriteTransaction) -> Result<String, StoreError> {
    let meta = transaction.open_table(META).map_err(storage_error)?;
    let mark = meta.get(MARK).map_err(storage_error)?;
    Ok(mark.map(|mark| mark.value().to_owned()).unwrap_or_default())
}

fn set_mark(transaction: &WriteTransaction, mark: &str) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META).map_err(storage_error)?;
    meta.insert(MARK, mark).map_err(storage_error)?;
    Ok(())
}

fn require_under_way(transaction: &WriteTransaction, import: &ImportId) -> Result<(), StoreError> {
    if mark(transaction)? == format!("{UNDER_WAY}{import}") { Ok(()) } else { Err(taken_over()) }
}

/// Removes all but what the bank is. Nobody remembers anything of the accounts: there were none, or they
/// are half of an import.
fn clear(transaction: &WriteTransaction, _: &Before<'_>) -> Result<After, StoreError> {
    transaction.delete_table(ACCOUNTS).map_err(storage_error)?;
    transaction.delete_table(HEADS).map_err(storage_error)?;
    transaction.delete_table(LOG).map_err(storage_error)?;
    transaction.delete_table(MILESTONES).map_err(storage_error)?;
    transaction.delete_table(OWNERS).map_err(storage_error)?;
    transaction.delete_table(REQUESTS).map_err(storage_error)?;
    let recent = heads::forget(&mut WriteTables::open(transaction)?)?;
    Ok(After { recent, heads: Vec::new() })
}

fn request_key(request_id: &str, account_id: &str, caller: &str) -> Result<RequestKey, StoreError> {
    let (Ok(account_id), Ok(request_id)) = (account_id.parse(), request_id.parse()) else {
        return Err(StoreError::Corrupt(format!(
            "there is a record of a request {request_id:?} of account {account_id:?}, which cannot be"
        )));
    };
    Ok(RequestKey { account_id, request_id, caller: Caller::new(caller) })
}

fn by_entry_id(record: Record) -> RequestRecord {
    let Record { fingerprint, attempt, recorded_at, outcome } = record;
    let outcome = match outcome {
        RecordedOutcome::Entry(EntryPlace { id, .. }) => RecordedOutcome::Entry(id),
        RecordedOutcome::Rejected(rejection) => RecordedOutcome::Rejected(rejection),
    };
    RequestRecord { fingerprint, attempt, recorded_at, outcome }
}
