//! Records in order, and imports: a mark in `meta`, then batch after batch, each in one transaction.

use async_trait::async_trait;
use bank_domain::{AccountId, EntryId};
use redb::{ReadableTable, ReadableTableMetadata as _, WriteTransaction};

use super::{
    EmbeddedStore,
    codec::{self, Filed, Linked, Record, RecordedOutcome},
    file::storage_error,
    history::{Place, entry_at},
    list::filed,
    requests::{Retention, Windows, now_seconds},
    tables::{ACCOUNTS, LOG, META, MILESTONE_EVERY, MILESTONES, OWNERS, Position, REQUESTS, WriteTables},
};
use crate::{
    Backup, Caller, HistoryPart, ImportBatch, ImportBegun, ImportId, KeptOutcome, KeptRequest, RequestKey,
    RequestsQuery, StoreError,
    backup::{RequestsPage, marked, taken_over, without_entry},
    partition::Partitions,
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
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<KeptRequest>, StoreError> {
        let (query, retention) = (query.clone(), self.retention);
        self.read(move |transaction, partitions| {
            let table = transaction.open_table(REQUESTS).map_err(storage_error)?;
            let mut page = RequestsPage::new(&query, partitions);
            for window in Windows::at(now_seconds(), retention, &table)?.oldest_first() {
                let rows = table.range((window, "", "", "")..(window + 1, "", "", ""));
                for row in rows.map_err(storage_error)? {
                    let (key, row) = row.map_err(storage_error)?;
                    let (_, request_id, account_id, caller) = key.value();
                    page.offer(request_key(request_id, account_id, caller)?, |key| {
                        Ok(kept(key, codec::record(row.value())?))
                    })?;
                }
            }
            Ok(page.finish())
        })
        .await
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportBegun, StoreError> {
        let mark = format!("{UNDER_WAY}{import}");
        self.writer
            .write(move |transaction| {
                let is_empty = {
                    let meta = transaction.open_table(META).map_err(storage_error)?;
                    let accounts = transaction.open_table(ACCOUNTS).map_err(storage_error)?;
                    is_marked(&meta)? || accounts.is_empty().map_err(storage_error)?
                };
                if !is_empty {
                    return Ok(ImportBegun::NotEmpty);
                }
                set_mark(transaction, &mark)?;
                clear(transaction)?;
                Ok(ImportBegun::Marked)
            })
            .await
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        let (partitions, retention) = (self.partitions, self.retention);
        let (import, batch) = (import.clone(), batch.clone());
        self.writer
            .write(move |transaction| {
                require_under_way(transaction, &import)?;
                let mut importing = Importing { tables: WriteTables::open(transaction)?, partitions };
                for part in &batch.histories {
                    importing.history(part)?;
                }
                importing.requests(&batch.requests, retention)
            })
            .await
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end(import, |_| Ok(())).await
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end(import, clear).await
    }
}

impl EmbeddedStore {
    async fn end(
        &self,
        import: &ImportId,
        end: fn(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let import = import.clone();
        self.writer
            .write(move |transaction| {
                let over = format!("{OVER}{import}");
                if mark(transaction)? == over {
                    return Ok(());
                }
                require_under_way(transaction, &import)?;
                end(transaction)?;
                set_mark(transaction, &over)
            })
            .await
    }
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

/// Removes all but what the bank is.
fn clear(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.delete_table(ACCOUNTS).map_err(storage_error)?;
    transaction.delete_table(LOG).map_err(storage_error)?;
    transaction.delete_table(MILESTONES).map_err(storage_error)?;
    transaction.delete_table(OWNERS).map_err(storage_error)?;
    transaction.delete_table(REQUESTS).map_err(storage_error)?;
    WriteTables::open(transaction).map(drop)
}

fn request_key(request_id: &str, account_id: &str, caller: &str) -> Result<RequestKey, StoreError> {
    let (Ok(account_id), Ok(request_id)) = (account_id.parse(), request_id.parse()) else {
        return Err(StoreError::Corrupt(format!(
            "there is a record of a request {request_id:?} of account {account_id:?}, which cannot be"
        )));
    };
    Ok(RequestKey { account_id, request_id, caller: Caller::new(caller) })
}

fn kept(key: RequestKey, record: Record) -> KeptRequest {
    let Record { fingerprint, attempt, recorded_at_seconds: recorded_at, outcome } = record;
    let outcome = match outcome {
        RecordedOutcome::Entry { id, .. } => KeptOutcome::Entry(id),
        RecordedOutcome::Refused(refusal) => KeptOutcome::Refused(refusal),
    };
    KeptRequest { key, fingerprint, attempt, outcome, recorded_at }
}

/// A batch under way.
struct Importing<'t> {
    tables: WriteTables<'t>,
    partitions: Partitions,
}

impl Importing<'_> {
    /// Writes entries at the end of the log, but for those that are there already.
    fn history(&mut self, part: &HistoryPart) -> Result<(), StoreError> {
        let HistoryPart { account, entries } = part;
        let id = account.id.as_str();
        let last = self.tables.log.last().map_err(storage_error)?;
        let mut next_position = last.map_or(0, |(position, _)| position.value()) + 1;
        let mut newest = self.newest(&account.id)?;
        for entry in entries {
            if newest.is_some_and(|newest| entry.sequence <= newest.sequence) {
                continue;
            }
            let row = codec::encode_entry(entry, newest.map(|newest| newest.position))?;
            self.tables.log.insert(next_position, row.as_slice()).map_err(storage_error)?;
            if entry.sequence.is_multiple_of(MILESTONE_EVERY) {
                let milestone = (id, entry.time.unix_ms(), entry.sequence);
                self.tables.milestones.insert(milestone, next_position).map_err(storage_error)?;
            }
            newest = Some(Place { position: next_position, sequence: entry.sequence });
            next_position += 1;
        }
        let Some(newest) = newest else { return Ok(()) };
        let row = codec::encode_account(account, newest.position)?;
        let key = (self.partitions.of(&account.id), id);
        self.tables.accounts.insert(key, row.as_slice()).map_err(storage_error)?;
        if !account.owner.is_empty() {
            self.tables.owners.insert((account.owner.as_str(), id), ()).map_err(storage_error)?;
        }
        Ok(())
    }

    fn requests(&mut self, requests: &[KeptRequest], retention: Retention) -> Result<(), StoreError> {
        let windows = Windows::at(now_seconds(), retention, &self.tables.requests)?;
        for request in requests {
            let outcome = match &request.outcome {
                KeptOutcome::Refused(refusal) => RecordedOutcome::Refused(refusal.clone()),
                KeptOutcome::Entry(id) => {
                    RecordedOutcome::Entry { position: self.position(&request.key, *id)?, id: *id }
                }
            };
            let KeptRequest { fingerprint, attempt, recorded_at: recorded_at_seconds, .. } = *request;
            let record = Record { fingerprint, attempt, recorded_at_seconds, outcome };
            windows.import(&mut self.tables.requests, retention, &request.key, &record)?;
        }
        Ok(())
    }

    /// The newest entry that is there of an account.
    fn newest(&self, id: &AccountId) -> Result<Option<Place>, StoreError> {
        let Some(Filed { account, newest: position }) = filed(&self.tables.accounts, self.partitions, id)?
        else {
            return Ok(None);
        };
        let row = self.tables.log.get(position).map_err(storage_error)?;
        let row =
            row.ok_or_else(|| StoreError::Corrupt(format!("account {id}: its newest entry is gone")))?;
        let sequence = codec::entry(position, account.currency, row.value())?.entry.sequence;
        Ok(Some(Place { position, sequence }))
    }

    /// Where in the log an entry is.
    fn position(&self, key: &RequestKey, wanted: EntryId) -> Result<Position, StoreError> {
        let id = &key.account_id;
        let absent = || without_entry(key, wanted);
        let newest = self.newest(id)?.ok_or_else(absent)?;
        let account = filed(&self.tables.accounts, self.partitions, id)?.ok_or_else(absent)?.account;
        let lowest = (id.as_str(), wanted.time.unix_ms(), wanted.sequence);
        let mut later = self
            .tables
            .milestones
            .range(lowest..=(id.as_str(), i64::MAX, u64::MAX))
            .map_err(storage_error)?;
        let mut place = match later.next() {
            Some(row) => {
                let (milestone, position) = row.map_err(storage_error)?;
                Place { position: position.value(), sequence: milestone.value().2 }
            }
            None => newest,
        };
        loop {
            let Linked { entry, previous } = entry_at(&self.tables.log, id, account.currency, place)?;
            if entry.id() == wanted {
                return Ok(place.position);
            }
            let previous = previous.filter(|_| entry.id() > wanted).ok_or_else(absent)?;
            place = Place { position: previous, sequence: place.sequence - 1 };
        }
    }
}
