//! The log: the entries of all accounts, in the order of commits.
//!
//! A row has as many entries of one commit as fill a page, so that a commit inserts few rows. It consists of the number of
//! entries, the offset of the end of each, and the entries. Its key is the position of the first entry. The number and the
//! offsets have 16 bits, little-endian.

use std::ops::Bound;

use bank_domain::{AccountId, Currency, Timestamp};
use redb::{ReadableTable, Table};

use super::{
    codec::{self, LogEntry},
    tables::{Position, Row},
};
use crate::StoreError;

/// The maximum size of a row: with the overhead of redb it fills a page. A row with a single entry may be larger.
const ROW_BYTES_MAX: usize = 4_000;
const LENGTH_BYTES: usize = size_of::<u16>();

/// The entries of one row, one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogRow<'a> {
    first: Position,
    ends: &'a [[u8; LENGTH_BYTES]],
    entries: &'a [u8],
}

impl<'a> LogRow<'a> {
    pub(super) fn parse(first: Position, row: &'a [u8]) -> Result<Self, StoreError> {
        let parse = || {
            let (count, rest) = row.split_first_chunk()?;
            let (ends, entries) = rest.split_at_checked(LENGTH_BYTES * length(*count))?;
            let (ends, _) = ends.as_chunks();
            (length(*ends.last()?) == entries.len()).then_some(Self { first, ends, entries })
        };
        parse().ok_or_else(|| StoreError::Corrupt(format!("entry {first} of the log: its row is malformed")))
    }

    /// The position of its last entry.
    pub(super) fn last(&self) -> Position {
        self.first + self.ends.len() as u64 - 1
    }

    /// All entries with their positions. An entry whose offsets are wrong is empty.
    pub(super) fn entries(self) -> impl Iterator<Item = (Position, &'a [u8])> {
        (self.first..=self.last()).map(move |position| (position, self.get(position).unwrap_or_default()))
    }

    fn get(&self, position: Position) -> Option<&'a [u8]> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let end = length(*self.ends.get(index)?);
        let start = index.checked_sub(1).map_or(0, |before| length(self.ends[before]));
        self.entries.get(start..end)
    }
}

fn length(bytes: [u8; LENGTH_BYTES]) -> usize {
    usize::from(u16::from_le_bytes(bytes))
}

/// The position of the newest entry; 0 if the log is empty.
pub(super) fn newest(log: &impl ReadableTable<Position, Row>) -> Result<Position, StoreError> {
    let Some((first, row)) = log.last()? else { return Ok(0) };
    Ok(LogRow::parse(first.value(), row.value())?.last())
}

/// The account and time of the newest entry.
pub(super) fn newest_entry(
    log: &impl ReadableTable<Position, Row>,
) -> Result<Option<(AccountId, Timestamp)>, StoreError> {
    let Some((first, row)) = log.last()? else { return Ok(None) };
    let row = LogRow::parse(first.value(), row.value())?;
    row.entries().last().map(|(position, entry)| codec::account_and_time(position, entry)).transpose()
}

/// Refers to an entry of a known account.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryRef {
    pub(super) position: Position,
    /// The expected sequence; `None` for the newest entry.
    pub(super) sequence: Option<u64>,
}

/// Reads an entry of an account.
pub(super) fn read(
    log: &impl ReadableTable<Position, Row>,
    account_id: &AccountId,
    currency: Currency,
    entry: EntryRef,
) -> Result<LogEntry, StoreError> {
    let mut rows = log.upper_bound(Bound::Included(entry.position))?;
    let found = match rows.prev()? {
        Some((first, row)) => {
            let row = LogRow::parse(first.value(), row.value())?;
            row.get(entry.position).map(|row| codec::entry(entry.position, currency, row)).transpose()?
        }
        None => None,
    };
    expect(account_id, entry, found)
}

/// Returns the entry that was found, if it is the right one.
fn expect(account_id: &AccountId, entry: EntryRef, found: Option<LogEntry>) -> Result<LogEntry, StoreError> {
    let name =
        || entry.sequence.map_or("its newest entry".to_owned(), |sequence| format!("its entry {sequence}"));
    let damaged = |what: String| codec::damaged_account(account_id, &what);
    let found = found.ok_or_else(|| damaged(format!("{} is not in the log", name())))?;
    let (found_id, sequence) = (&found.entry.account_id, found.entry.sequence);
    if found_id != account_id || entry.sequence.is_some_and(|expected| expected != sequence) {
        return Err(damaged(format!(
            "in the place of {} the log has entry {sequence} of account {found_id}",
            name()
        )));
    }
    Ok(found)
}

/// Entries to be added to the log.
pub(super) struct NewEntries {
    first: Position,
    ends: Vec<usize>,
    entries: Vec<u8>,
}

impl NewEntries {
    pub(super) fn after(newest: Position) -> Self {
        Self { first: newest + 1, ends: Vec::new(), entries: Vec::new() }
    }

    /// The position of the next entry.
    pub(super) fn next(&self) -> Position {
        self.first + self.ends.len() as u64
    }

    /// Adds an entry, which `encode` appends to a buffer.
    pub(super) fn push(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        encode(&mut self.entries)?;
        self.ends.push(self.entries.len());
        Ok(())
    }

    /// Returns an entry of an account if it was added.
    pub(super) fn read(
        &self,
        account_id: &AccountId,
        currency: Currency,
        entry: EntryRef,
    ) -> Option<Result<LogEntry, StoreError>> {
        let index = usize::try_from(entry.position.checked_sub(self.first)?).ok()?;
        let row = self.entries.get(self.start(index)..*self.ends.get(index)?)?;
        let found = codec::entry(entry.position, currency, row);
        Some(found.and_then(|found| expect(account_id, entry, Some(found))))
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Writes the entries to the log.
    pub(super) fn write(&self, log: &mut Table<'_, Position, Row>) -> Result<(), StoreError> {
        let mut cursor = log.upper_bound_mut(Bound::<Position>::Unbounded)?;
        let mut row = Vec::with_capacity(ROW_BYTES_MAX);
        let mut from = 0;
        while from < self.ends.len() {
            let start = self.start(from);
            let fits =
                |(index, end): &(usize, &usize)| LENGTH_BYTES * (index + 2) + **end - start <= ROW_BYTES_MAX;
            let count = self.ends[from..].iter().enumerate().take_while(fits).count().max(1);
            let ends = &self.ends[from..from + count];
            row.clear();
            let lengths = [count].into_iter().chain(ends.iter().map(|end| end - start));
            for length in lengths {
                let length = u16::try_from(length).map_err(|_| {
                    StoreError::Misconfigured("an entry is too long for a row of the log".to_owned())
                })?;
                row.extend(length.to_le_bytes());
            }
            row.extend(&self.entries[start..ends[count - 1]]);
            cursor.insert_before(self.first + from as u64, row.as_slice())?;
            from += count;
        }
        Ok(cursor.close()?)
    }
}
