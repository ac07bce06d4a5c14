//! Reads histories: lists that run backwards through the log.
//!
//! All accounts share one log, so that whatever a commit writes is written side by side. Each entry
//! says where the one before it on its account is, and the account where its newest is. Every
//! [`MILESTONE_EVERY`](super::tables::MILESTONE_EVERY)th entry of an account is a milestone, by which
//! a reader finds its place: it never walks over more entries than that to get there.

use std::{iter, ops::RangeInclusive};

use bank_domain::{Account, AccountId, Currency, Entry, EntryId, Timestamp};
use redb::{ReadTransaction, ReadableTable};

use super::{
    codec::{self, Filed, Linked},
    file::storage_error,
    list::filed,
    tables::{ACCOUNTS, LOG, MILESTONES, MilestoneKey, Position, Row},
};
use crate::{EntriesQuery, Order, StoreError, partition::Partitions};

/// Entries as a query asks for them.
pub(super) fn entries(
    transaction: &ReadTransaction,
    partitions: Partitions,
    query: &EntriesQuery,
) -> Result<Vec<Entry>, StoreError> {
    let accounts = transaction.open_table(ACCOUNTS).map_err(storage_error)?;
    let Some(Filed { account, newest }) = filed(&accounts, partitions, &query.account_id)? else {
        return Ok(Vec::new());
    };
    let history = History {
        newest: Place { position: newest, sequence: account.version },
        account,
        log: transaction.open_table(LOG).map_err(storage_error)?,
        milestones: transaction.open_table(MILESTONES).map_err(storage_error)?,
    };
    match query.order {
        Order::NewestFirst => history.newest_first(&stretch(query), query.limit),
        Order::OldestFirst => history.oldest_first(&stretch(query), query.limit),
    }
}

/// Where in the log an entry is, and which of its account it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) sequence: u64,
}

/// One entry of an account.
pub(super) fn entry_at(
    log: &impl ReadableTable<Position, Row>,
    account_id: &AccountId,
    currency: Currency,
    place: Place,
) -> Result<Linked, StoreError> {
    let Place { position, sequence } = place;
    let damaged = |what: String| StoreError::Corrupt(format!("account {account_id}: {what}"));
    let row = log.get(position).map_err(storage_error)?;
    let row = row.ok_or_else(|| damaged(format!("its entry {sequence} is not in the log")))?;
    let linked = codec::entry(position, currency, row.value())?;
    let entry = &linked.entry;
    if entry.account_id != *account_id || entry.sequence != sequence {
        let found = format!("entry {} of account {}", entry.sequence, entry.account_id);
        return Err(damaged(format!("where its entry {sequence} should be in the log is {found}")));
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
            Ok(Place { position: position.value(), sequence })
        }))
    }

    /// The entry at a place, and all before it, newest first.
    fn back_from(&self, place: Place) -> impl Iterator<Item = Result<Entry, StoreError>> {
        let mut next = Some(place);
        iter::from_fn(move || {
            let place = next.take()?;
            let linked = entry_at(&self.log, &self.account.id, self.account.currency, place);
            Some(linked.map(|Linked { entry, previous }| {
                next = previous.map(|position| Place { position, sequence: place.sequence - 1 });
                entry
            }))
        })
    }
}
