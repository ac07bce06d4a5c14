//! Imports in write transactions: the mark of an import, and its batches.

use std::{collections::HashMap, sync::Arc};

use bank_domain::{Account, AccountId, Change, Currency, EntryId};
use redb::{ReadableTable, WriteTransaction};

use super::{
    codec::{self, LogEntry, RecordedEntry},
    commit::{After, Before, Commit, KnownAccount},
    heads::{self, Head},
    log::{self, EntryRef},
    tables::{ACCOUNTS, HEADS, LOG, META, MILESTONES, OWNERS, Position, REQUESTS, WriteTables},
};
use crate::{
    HistoryPart, ImportBatch, ImportId, RequestKey, StoreError,
    backup::{marked, taken_over, without_entry},
};

/// The field of `meta` with the latest import.
const MARK: &str = "import";
const IN_PROGRESS: &str = "under way: ";
const ENDED: &str = "over: ";

/// Whether the bank is marked by an import in progress.
pub(super) fn is_marked(meta: &impl ReadableTable<&'static str, &'static str>) -> Result<bool, StoreError> {
    Ok(meta.get(MARK)?.is_some_and(|mark| mark.value().starts_with(IN_PROGRESS)))
}

/// # Errors
/// [`StoreError::Unfit`] if the bank is marked by an import in progress.
pub(super) fn require_unmarked(
    meta: &impl ReadableTable<&'static str, &'static str>,
) -> Result<(), StoreError> {
    if is_marked(meta)? { Err(marked()) } else { Ok(()) }
}

pub(super) fn require_in_progress(
    transaction: &WriteTransaction,
    import: &ImportId,
) -> Result<(), StoreError> {
    if has_mark(transaction, IN_PROGRESS, import)? { Ok(()) } else { Err(taken_over()) }
}

pub(super) fn has_ended(transaction: &WriteTransaction, import: &ImportId) -> Result<bool, StoreError> {
    has_mark(transaction, ENDED, import)
}

pub(super) fn set_in_progress(transaction: &WriteTransaction, import: &ImportId) -> Result<(), StoreError> {
    set_mark(transaction, IN_PROGRESS, import)
}

pub(super) fn set_ended(transaction: &WriteTransaction, import: &ImportId) -> Result<(), StoreError> {
    set_mark(transaction, ENDED, import)
}

fn has_mark(transaction: &WriteTransaction, state: &str, import: &ImportId) -> Result<bool, StoreError> {
    let meta = transaction.open_table(META)?;
    let mark = meta.get(MARK)?;
    Ok(mark.is_some_and(|mark| mark.value() == format!("{state}{import}")))
}

fn set_mark(transaction: &WriteTransaction, state: &str, import: &ImportId) -> Result<(), StoreError> {
    transaction.open_table(META)?.insert(MARK, format!("{state}{import}").as_str())?;
    Ok(())
}

/// Removes everything but the identity of the bank. No head is cached: there were no accounts, or they were imported.
pub(super) fn clear(transaction: &WriteTransaction) -> Result<After, StoreError> {
    transaction.delete_table(ACCOUNTS)?;
    transaction.delete_table(HEADS)?;
    transaction.delete_table(LOG)?;
    transaction.delete_table(MILESTONES)?;
    transaction.delete_table(OWNERS)?;
    transaction.delete_table(REQUESTS)?;
    let recent = heads::reset(&mut WriteTables::open(transaction)?)?;
    Ok(After { recent, heads: Vec::new() })
}

/// What has been imported of an account so far.
#[derive(Clone, Copy)]
struct Imported {
    head: Head,
    sequence: u64,
    currency: Currency,
}

/// Writes the entries of a batch that are not there yet, and its records.
pub(super) fn write(
    transaction: &WriteTransaction,
    before: Before<'_>,
    now_seconds: u64,
    batch: &ImportBatch,
) -> Result<After, StoreError> {
    let changes: Vec<_> = batch.histories.iter().flat_map(changes).collect();
    let (retention, aged_to_seconds) = (before.retention, before.aged_to_ms / 1_000);
    let mut commit = Commit::begin(transaction, before, changes.len())?;
    let mut accounts = HashMap::new();
    let mut positions = HashMap::new();
    for change in &changes {
        let Change { account, entry } = change;
        let imported = match accounts.get(&account.id) {
            Some(imported) => *imported,
            None => {
                let imported = commit.imported(&account.id, Some(account))?;
                let head = imported.map(|imported| imported.head);
                commit.known.insert(&account.id, KnownAccount { head, changed: None });
                *accounts.entry(&account.id).or_insert(imported)
            }
        };
        if imported.is_none_or(|imported| entry.sequence > imported.sequence) {
            positions.insert((&account.id, entry.id()), commit.log.next());
            commit.add_change(change)?;
        }
    }
    for (key, record) in &batch.requests {
        let record = record.clone().try_map(|id| {
            let position = match positions.get(&(&key.account_id, id)) {
                Some(position) => *position,
                None => commit.position(key, id)?,
            };
            Ok(RecordedEntry { position, id })
        })?;
        // Both banks date records by the wall clock. From now on, this bank counts their age by its own clock.
        let age_seconds = now_seconds.saturating_sub(record.recorded_at);
        let aged_to = aged_to_seconds.saturating_sub(age_seconds);
        commit.windows.import(&mut commit.tables.requests, retention, key, &record, aged_to)?;
    }
    let After { recent, .. } = commit.write(batch.requests.len())?;
    Ok(After { recent, heads: Vec::new() })
}

fn changes(part: &HistoryPart) -> impl Iterator<Item = Change> {
    let account = Arc::new(part.account.clone());
    part.entries
        .iter()
        .map(move |entry| Change { account: Arc::clone(&account), entry: Arc::new(entry.clone()) })
}

impl Commit<'_, '_, '_> {
    /// Reads what earlier batches have written of an account, without the checks of a complete one.
    fn imported(&self, id: &AccountId, account: Option<&Account>) -> Result<Option<Imported>, StoreError> {
        let Some(row) = self.tables.accounts.get((self.before.partitions.of(id), id.as_str()))? else {
            return Ok(None);
        };
        let opened = codec::opened(id, row.value())?;
        let (number, currency) = (opened.number, opened.currency());
        let newest = self.before.recent.find(&self.tables.heads, id, number)?;
        let entry = EntryRef { position: newest, sequence: None };
        let entry = log::read(&self.tables.log, id, currency, entry)?.entry;
        let hash = account.map_or(entry.hash, |account| account.head);
        Ok(Some(Imported { head: Head { number, newest, hash }, sequence: entry.sequence, currency }))
    }

    /// The position of an entry that an earlier batch has written.
    fn position(&self, key: &RequestKey, wanted: EntryId) -> Result<Position, StoreError> {
        let id = &key.account_id;
        let missing = || without_entry(key, wanted);
        let imported = self.imported(id, None)?.ok_or_else(missing)?;
        let lowest = (id.as_str(), wanted.time.unix_ms(), wanted.sequence);
        let highest = (id.as_str(), i64::MAX, u64::MAX);
        let mut position = match self.tables.milestones.range(lowest..=highest)?.next() {
            Some(row) => row?.1.value(),
            None => imported.head.newest,
        };
        loop {
            let entry = EntryRef { position, sequence: None };
            let LogEntry { entry, previous } = log::read(&self.tables.log, id, imported.currency, entry)?;
            if entry.id() == wanted {
                return Ok(position);
            }
            position = previous.filter(|_| entry.id() > wanted).ok_or_else(missing)?;
        }
    }
}
