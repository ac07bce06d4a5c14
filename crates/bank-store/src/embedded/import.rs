//! Imports in write transactions: the mark of an import, and its batches.

use std::{collections::HashMap, sync::Arc};

use bank_domain::{AccountId, Change, EntryId};
use redb::{ReadableTable, WriteTransaction};

use super::{
    accounts::{self, StoredAccount},
    codec::RecordedEntry,
    commit::{After, Before, Commit, KnownAccount},
    heads::RecentHeads,
    history::History,
    tables::{ACCOUNTS, HEADS, LOG, META, MILESTONES, OWNERS, Position, REQUESTS, WriteTables},
};
use crate::{
    HistoryPart, ImportBatch, ImportId, RequestKey, StoreError,
    backup::{marked, taken_over, without_entry},
};

/// The field of `meta` with the latest import.
const MARK: &str = "import";
/// The states of an import, as they are written.
pub(super) const IN_PROGRESS: &str = "under way: ";
pub(super) const ENDED: &str = "over: ";

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

/// Whether the latest import is this one, in this state.
pub(super) fn has_mark(
    transaction: &WriteTransaction,
    state: &str,
    import: &ImportId,
) -> Result<bool, StoreError> {
    let meta = transaction.open_table(META)?;
    let mark = meta.get(MARK)?;
    Ok(mark.is_some_and(|mark| mark.value() == format!("{state}{import}")))
}

pub(super) fn set_mark(
    transaction: &WriteTransaction,
    state: &str,
    import: &ImportId,
) -> Result<(), StoreError> {
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
    let recent = RecentHeads::default().write(&mut WriteTables::open(transaction)?)?;
    Ok(After { recent, heads: Vec::new() })
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
    // The number of entries that earlier batches have written of each account.
    let mut written = HashMap::new();
    let mut positions = HashMap::new();
    for change in &changes {
        let Change { account, entry } = change;
        let written = match written.get(&account.id) {
            Some(written) => *written,
            None => {
                let stored = commit.incomplete(&account.id)?;
                let head = stored.as_ref().map(|stored| stored.head);
                commit.known.insert(&account.id, KnownAccount { head, changed: None });
                *written.entry(&account.id).or_insert(stored.map_or(0, |stored| stored.account.version))
            }
        };
        if entry.sequence > written {
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
    /// An account with the entries that earlier batches have written. It need not be sound yet.
    fn incomplete(&self, id: &AccountId) -> Result<Option<StoredAccount>, StoreError> {
        accounts::read_unchecked(&self.tables, self.before.recent, self.before.placement, id)
    }

    /// The position of an entry that an earlier batch has written.
    fn position(&self, key: &RequestKey, wanted: EntryId) -> Result<Position, StoreError> {
        let missing = || without_entry(key, wanted);
        let StoredAccount { account, head } = self.incomplete(&key.account_id)?.ok_or_else(missing)?;
        let history = History::new(&account, head.newest, &self.tables.log, &self.tables.milestones);
        history.position_of(wanted)?.ok_or_else(missing)
    }
}
