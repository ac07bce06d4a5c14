//! Rows of the log: entries that were committed together lie together, as many as fill a page, so that
//! a commit inserts few rows.
//!
//! A row is how many entries it has, where each of them ends, and then the entries. Its key is the position
//! of the first. All lengths are 16 bits, little-endian.

use std::ops::Bound;

use bank_domain::{AccountId, Timestamp};
use redb::{ReadableTable, Table};

use super::{
    codec,
    file::storage_error,
    tables::{Position, Row},
};
use crate::StoreError;

/// How long a row becomes at most, in bytes: with what redb adds it fills a page. A row of one entry may
/// be longer.
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

    /// All entries, each with its position. One that cannot be is empty.
    pub(super) fn entries(self) -> impl Iterator<Item = (Position, &'a [u8])> {
        (self.first..=self.last()).map(move |position| (position, self.get(position).unwrap_or_default()))
    }

    fn get(&self, position: Position) -> Option<&'a [u8]> {
        let place = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let end = length(*self.ends.get(place)?);
        let start = place.checked_sub(1).map_or(0, |before| length(self.ends[before]));
        self.entries.get(start..end)
    }
}

fn length(bytes: [u8; LENGTH_BYTES]) -> usize {
    usize::from(u16::from_le_bytes(bytes))
}

/// The position of the newest entry of all; 0 if there is none.
pub(super) fn newest(log: &impl ReadableTable<Position, Row>) -> Result<Position, StoreError> {
    let Some((first, row)) = log.last().map_err(storage_error)? else { return Ok(0) };
    Ok(LogRow::parse(first.value(), row.value())?.last())
}

/// The account and the time of the newest entry of all; `None` if there is none.
pub(super) fn newest_entry(
    log: &impl ReadableTable<Position, Row>,
) -> Result<Option<(AccountId, Timestamp)>, StoreError> {
    let Some((first, row)) = log.last().map_err(storage_error)? else { return Ok(None) };
    let row = LogRow::parse(first.value(), row.value())?;
    row.entries().last().map(|(position, entry)| codec::place_of(position, entry)).transpose()
}

/// Reads the entry at a position; `None` if there is none.
pub(super) fn read<T>(
    log: &impl ReadableTable<Position, Row>,
    position: Position,
    read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut rows = log.upper_bound(Bound::Included(position)).map_err(storage_error)?;
    let Some((first, row)) = rows.prev().map_err(storage_error)? else { return Ok(None) };
    LogRow::parse(first.value(), row.value())?.get(position).map(read).transpose()
}

/// Entries that are about to be added to the log.
pub(super) struct Addition {
    first: Position,
    ends: Vec<usize>,
    entries: Vec<u8>,
}

impl Addition {
    /// Beyond the newest entry.
    pub(super) fn after(newest: Position) -> Self {
        Self { first: newest + 1, ends: Vec::new(), entries: Vec::new() }
    }

    /// The position that the next entry gets.
    pub(super) fn next(&self) -> Position {
        self.first + self.ends.len() as u64
    }

    /// Adds the entry that is written into the buffer.
    pub(super) fn push(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        encode(&mut self.entries)?;
        self.ends.push(self.entries.len());
        Ok(())
    }

    /// The entry at a position, if it is one of these.
    pub(super) fn get(&self, position: Position) -> Option<&[u8]> {
        let place = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.entries.get(self.start(place)..*self.ends.get(place)?)
    }

    fn start(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Writes all of them.
    pub(super) fn write(&self, log: &mut Table<'_, Position, Row>) -> Result<(), StoreError> {
        let mut cursor = log.upper_bound_mut(Bound::<Position>::Unbounded).map_err(storage_error)?;
        let mut row = Vec::with_capacity(ROW_BYTES_MAX);
        let mut from = 0;
        while from < self.ends.len() {
            let start = self.start(from);
            let fits =
                |(place, end): &(usize, &usize)| LENGTH_BYTES * (place + 2) + **end - start <= ROW_BYTES_MAX;
            let count = self.ends[from..].iter().enumerate().take_while(fits).count().max(1);
            let ends = &self.ends[from..from + count];
            row.clear();
            let lengths = [count].into_iter().chain(ends.iter().map(|end| end - start));
            for length in lengths {
                let length = u16::try_from(length).map_err(|_| {
                    StoreError::Misconfigured("an entry is too long to be written".to_owned())
                })?;
                row.extend(length.to_le_bytes());
            }
            row.extend(&self.entries[start..ends[count - 1]]);
            cursor.insert_before(self.first + from as u64, row.as_slice()).map_err(storage_error)?;
            from += count;
        }
        cursor.close().map_err(storage_error)
    }
}
