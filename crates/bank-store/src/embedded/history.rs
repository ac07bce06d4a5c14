//! Reads histories: lists that run backwards through the log.
//!
//! All accounts share one log, so that whatever a commit writes is written side by side. Each entry
//! says where the one before it on its account is, and the account where its newest is. Every
//! [`MILESTONE_EVERY`](super::tables::MILESTONE_EVERY)th entry of an account is a milestone, by which
//! a reader finds its place: it never walks over more entries than that to get there.

use std::{iter, ops::RangeInclusive};

use bank_domain::{Account, AccountId, Currency, Entry, EntryId, Timestamp};
use redb::ReadableTable;

use super::{
    codec::{self, Linked},
    file::storage_error,
    list::{Filed, filed},
    log,
    tables::{MILESTONES, MilestoneKey, Position, ReadTables, Row},
    writer::Snapshot,
};
use crate::{EntriesQuery, Order, StoreError};

/// Entries as a query asks for them.
pub(super) fn entries(snapshot: &Snapshot, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
    let Snapshot { transaction, recent, partitions } = snapshot;
    let tables = ReadTables::open(transaction)?;
    let Some(Filed { account, head }) = filed(&tables, recent, *partitions, &query.account_id)? else {
        return Ok(Vec::new());
    };
    let history = History {
        newest: Place { position: head.newest, sequence: Some(account.version) },
        account,
        log: tables.log,
        milestones: transaction.open_table(MILESTONES).map_err(storage_error)?,
    };
    match query.order {
        Order::NewestFirst => history.newest_first(&stretch(query), query.limit),
        Order::OldestFirst => history.oldest_first(&stretch(query), query.limit),
    }
}

/// Where in the log an entry is, and which of its account it is; `None` for its newest, whichever that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) sequence: Option<u64>,
}

impl Place {
    fn named(self) -> String {
        self.sequence.map_or("its newest entry".to_owned(), |sequence| format!("its entry {sequence}"))
    }
}

/// One entry of an account.
pub(super) fn entry_at(
    log: &impl ReadableTable<Position, Row>,
    account_id: &AccountId,
    currency: Currency,
    place: Place,
) -> Result<Linked, StoreError> {
    let read = |row: &[u8]| codec::entry(place.position, currency, row);
    let found = log::read(log, place.position, read)?;
    own(account_id, place, found)
}

/// The entry that was found at a place, if it is the one that belongs there.
pub(super) fn own(account_id: &AccountId, place: Place, found: Option<Linked>) -> Result<Linked, StoreError> {
    let damaged = |what: String| StoreError::Corrupt(format!("account {account_id}: {what}"));
    let linked = found.ok_or_else(|| damaged(format!("{} is not in the log", place.named())))?;
    let Entry { account_id: found, sequence, .. } = &linked.entry;
    if found != account_id || place.sequence.is_some_and(|expected| expected != *sequence) {
        let what =
            format!("where {} should be in the log is entry {sequence} of account {found}", place.named());
        return Err(damaged(what));
    }
    Ok(linked)
}

/// The ids of the entries that a query asks for, as far as they exist. Sequences begin at 1.
fn stretch(query: &EntriesQuery) -> RangeInclusive<EntryId> {
    let lowest = EntryId { time: query.start.unwrap_or(Timestamp::MIN), sequence: 0 };
    let highest = EntryId { time: query.end.unwrap_or(Timestamp::MAX), sequence: u64::MAX };
    let Some(after) = query.after else { return lowest..=highest };
    match query.order {
        Order::OldestFirst => {
            let next = EntryId { sequence: after.sequence.saturating_add(1), ..after };
            lowest.max(next)..=highest
        }
        Order::NewestFirst => {
            let next = EntryId { sequence: after.sequence.saturating_sub(1), ..after };
            lowest..=highest.min(next)
        }
    }
}

/// The history of one account, in one snapshot.
struct History<L, M> {
    account: Account,
    newest: Place,
    log: L,
    milestones: M,
}

impl<L, M> History<L, M>
where
    L: ReadableTable<Position, Row>,
    M: ReadableTable<MilestoneKey, Position>,
{
    fn newest_first(
        &self,
        stretch: &RangeInclusive<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let start = self.milestones_from(*stretch.end())?.next().unwrap_or(Ok(self.newest))?;
        let within = |entry: &Result<Entry, _>| {
            entry.as_ref().map_or(true, |entry: &Entry| entry.id() >= *stretch.start())
        };
        let beyond =
            |entry: &Result<Entry, _>| entry.as_ref().is_ok_and(|entry: &Entry| entry.id() > *stretch.end());
        self.back_from(start).skip_while(beyond).take_while(within).take(limit).collect()
    }

    /// Each milestone ends a block, and so does the newest entry. A block is read backwards and then
    /// turned round.
    fn oldest_first(
        &self,
        stretch: &RangeInclusive<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        let mut lowest = *stretch.start();
        for block_end in self.milestones_from(lowest)?.chain(iter::once(Ok(self.newest))) {
            let mut block = Vec::new();
            for entry in self.back_from(block_end?) {
                let entry = entry?;
                if entry.id() < lowest {
                    break;
                }
                block.push(entry);
            }
            for entry in block.into_iter().rev() {
                if entries.len() == limit || entry.id() > *stretch.end() {
                    return Ok(entries);
                }
                lowest = EntryId { sequence: entry.sequence + 1, ..entry.id() };
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// The milestones of the account from an id on, oldest first.
    fn milestones_from(
        &self,
        lowest: EntryId,
    ) -> Result<impl Iterator<Item = Result<Place, StoreError>>, StoreError> {
        let id = self.account.id.as_str();
        let first = (id, lowest.time.unix_ms(), lowest.sequence);
        let last = (id, i64::MAX, u64::MAX);
        let rows = self.milestones.range(first..=last).map_err(storage_error)?;
        Ok(rows.map(|row| {
            let (key, position) = row.map_err(storage_error)?;
            let (_, _, sequence) = key.value();
            Ok(Place { position: position.value(), sequence: Some(sequence) })
        }))
    }

    /// The entry at a place, and all before it, newest first.
    fn back_from(&self, place: Place) -> impl Iterator<Item = Result<Entry, StoreError>> {
        let mut next = Some(place);
        iter::from_fn(move || {
            let place = next.take()?;
            let linked = entry_at(&self.log, &self.account.id, self.account.currency, place);
            Some(linked.map(|Linked { entry, previous }| {
                next = previous.map(|position| Place { position, sequence: Some(entry.sequence - 1) });
                entry
            }))
        })
    }
}
