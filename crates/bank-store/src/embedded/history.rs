//! Reads histories.
//!
//! All accounts share the log. An account has the position of its newest entry, and each entry that of the previous one.
//! Every [`MILESTONE_EVERY`](super::tables::MILESTONE_EVERY)th entry of an account is a milestone, so that a reader never
//! passes more entries than that to find the first one it wants.

use std::{iter, ops::RangeInclusive};

use bank_domain::{Account, Entry, EntryId};
use redb::ReadableTable;

use super::{
    accounts::{self, StoredAccount},
    codec::LogEntry,
    log::{self, EntryRef},
    snapshot::Snapshot,
    tables::{MILESTONES, MilestoneKey, Position, ReadTables, Row},
};
use crate::{EntriesQuery, Order, StoreError};

/// Reads the entries that a query selects.
pub(super) fn entries(snapshot: &Snapshot, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
    let Snapshot { transaction, recent, placement } = snapshot;
    let tables = ReadTables::open(transaction)?;
    let Some(StoredAccount { account, head }) =
        accounts::read(&tables, recent, *placement, &query.account_id)?
    else {
        return Ok(Vec::new());
    };
    let milestones = transaction.open_table(MILESTONES)?;
    let history = History::new(&account, head.newest, &tables.log, &milestones);
    match query.order {
        Order::NewestFirst => history.newest_first(&query.ids(), query.limit),
        Order::OldestFirst => history.oldest_first(&query.ids(), query.limit),
    }
}

/// The history of one account.
pub(super) struct History<'a, L, M> {
    account: &'a Account,
    newest: EntryRef,
    log: &'a L,
    milestones: &'a M,
}

impl<'a, L, M> History<'a, L, M>
where
    L: ReadableTable<Position, Row>,
    M: ReadableTable<MilestoneKey, Position>,
{
    pub(super) fn new(account: &'a Account, newest: Position, log: &'a L, milestones: &'a M) -> Self {
        let newest = EntryRef { position: newest, sequence: Some(account.version) };
        Self { account, newest, log, milestones }
    }

    fn newest_first(&self, ids: &RangeInclusive<EntryId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let start = self.milestones_from(*ids.end())?.next().unwrap_or(Ok(self.newest))?;
        let id = |entry: &Result<Entry, StoreError>| entry.as_ref().map(Entry::id).ok();
        self.back_from(start)
            .map(|found| found.map(|(_, entry)| entry))
            .skip_while(|entry| id(entry).is_some_and(|id| id > *ids.end()))
            .take_while(|entry| id(entry).is_none_or(|id| id >= *ids.start()))
            .take(limit)
            .collect()
    }

    fn oldest_first(&self, ids: &RangeInclusive<EntryId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        self.walk(*ids.start(), |entry| {
            let is_selected = entry.id() <= *ids.end() && entries.len() < limit;
            entries.extend(is_selected.then_some(entry));
            Ok(is_selected && entries.len() < limit)
        })?;
        Ok(entries)
    }

    /// Visits the entries from an id on, oldest first, for as long as `visit` returns true.
    ///
    /// Each milestone ends a block, and so does the newest entry. A block is read backwards and then reversed.
    pub(super) fn walk(
        &self,
        mut lowest: EntryId,
        mut visit: impl FnMut(Entry) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        for block_end in self.milestones_from(lowest)?.chain(iter::once(Ok(self.newest))) {
            let mut block = Vec::new();
            for found in self.back_from(block_end?) {
                let (_, entry) = found?;
                if entry.id() < lowest {
                    break;
                }
                block.push(entry);
            }
            for entry in block.into_iter().rev() {
                lowest = EntryId { sequence: entry.sequence + 1, ..entry.id() };
                if !visit(entry)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The position of an entry; `None` if it does not exist.
    pub(super) fn position_of(&self, wanted: EntryId) -> Result<Option<Position>, StoreError> {
        let start = self.milestones_from(wanted)?.next().unwrap_or(Ok(self.newest))?;
        for found in self.back_from(start) {
            let (position, entry) = found?;
            if entry.id() <= wanted {
                return Ok((entry.id() == wanted).then_some(position));
            }
        }
        Ok(None)
    }

    /// The milestones of the account from an id on, oldest first.
    fn milestones_from(
        &self,
        lowest: EntryId,
    ) -> Result<impl Iterator<Item = Result<EntryRef, StoreError>>, StoreError> {
        let id = self.account.id.as_str();
        let first = (id, lowest.time.unix_ms(), lowest.sequence);
        let last = (id, i64::MAX, u64::MAX);
        let rows = self.milestones.range(first..=last)?;
        Ok(rows.map(|row| {
            let (key, position) = row?;
            let (_, _, sequence) = key.value();
            Ok(EntryRef { position: position.value(), sequence: Some(sequence) })
        }))
    }

    /// An entry and all before it with their positions, newest first.
    fn back_from(&self, entry: EntryRef) -> impl Iterator<Item = Result<(Position, Entry), StoreError>> {
        let mut next = Some(entry);
        iter::from_fn(move || {
            let entry = next.take()?;
            let found = log::read(self.log, &self.account.id, self.account.currency, entry);
            Some(found.map(|LogEntry { entry: found, previous }| {
                next = previous.map(|position| EntryRef { position, sequence: Some(found.sequence - 1) });
                (entry.position, found)
            }))
        })
    }
}
