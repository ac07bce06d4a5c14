//! The positions of the newest entries of accounts.
//!
//! A commit would change one page of the table of heads for each of its accounts. So the heads of recent commits are kept
//! in memory, and are written to the table once in a while, those of many commits together. When the file is opened, the
//! heads that are not in the table are read from the end of the log.
//!
//! Every snapshot has the heads of its own instant.

use std::sync::Arc;

use bank_domain::{AccountId, EntryHash};
use hashbrown::HashMap;
use lru::LruCache;
use redb::{ReadTransaction, ReadableTable, Table};

use super::{
    codec,
    log::LogRow,
    tables::{META, Number, Position, ReadTables, Row, WriteTables},
};
use crate::{StoreError, placement::Placement};

/// The number of heads in a row: with the overhead of redb it fills a page.
const HEADS_PER_ROW: u64 = 500;
const HEAD_BYTES: usize = size_of::<Position>();
/// After how many entries the heads are written to the table. Opening the file reads at most so many.
const ENTRIES_MAX: u64 = 65_536;
/// After how many commits they are written.
const COMMITS_MAX: usize = 256;
/// The number of layers, of one commit each, before they are merged.
const LAYERS_MAX: usize = 32;
/// The field of `meta` with the position up to which the table has the heads.
const WRITTEN_THROUGH: &str = "heads_through";
/// The approximate memory of a cached head with its account id.
const CACHED_HEAD_BYTES: usize = 192;

/// What a commit needs to know about an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) number: Number,
    pub(super) newest: Position,
    pub(super) hash: EntryHash,
}

/// The heads that are not in the table yet, at one instant.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentHeads {
    /// Oldest first.
    layers: Vec<Arc<HashMap<Number, Position>>>,
    commits: usize,
    written_through: Position,
    newest: Position,
}

impl RecentHeads {
    /// Reads them from the end of the log.
    pub(super) fn read(transaction: &ReadTransaction, placement: Placement) -> Result<Self, StoreError> {
        let tables = ReadTables::open(transaction)?;
        let meta = transaction.open_table(META)?;
        let through = meta.get(WRITTEN_THROUGH)?;
        let written_through = through.map_or(Ok(0), |through| through.value().parse()).map_err(|_| {
            StoreError::Corrupt(format!("field {WRITTEN_THROUGH:?} of the bank is malformed"))
        })?;
        let mut numbers = HashMap::new();
        let mut layer = HashMap::new();
        let mut newest = written_through;
        for row in tables.log.range(written_through + 1..)? {
            let (first, row) = row?;
            for (position, entry) in LogRow::parse(first.value(), row.value())?.entries() {
                newest = position;
                let (id, _) = codec::account_and_time(position, entry)?;
                let number = match numbers.get(&id) {
                    Some(number) => *number,
                    None => {
                        let row = tables.accounts.get((placement.of(&id), id.as_str()));
                        // A damaged account is reported when it is read.
                        let row = row?;
                        let number = row.and_then(|row| codec::opened(&id, row.value()).ok());
                        let number = number.map(|opened| opened.number);
                        *numbers.entry(id).or_insert(number)
                    }
                };
                layer.extend(number.map(|number| (number, position)));
            }
        }
        Ok(Self { layers: vec![Arc::new(layer)], commits: 0, written_through, newest })
    }

    /// The position of the newest entry of the account with a number; `None` if it is missing.
    pub(super) fn find(
        &self,
        heads: &impl ReadableTable<Number, Row>,
        number: Number,
    ) -> Result<Option<Position>, StoreError> {
        if let Some(position) = self.layers.iter().rev().find_map(|layer| layer.get(&number)) {
            return Ok(Some(*position));
        }
        let row = heads.get(number / HEADS_PER_ROW)?;
        let index = index_in_row(number);
        let position = row.as_ref().and_then(|row| row.value().as_chunks().0.get(index).copied());
        Ok(position.map(Position::from_le_bytes).filter(|position| *position > 0))
    }

    fn all(&self) -> HashMap<Number, Position> {
        let mut all = HashMap::with_capacity(self.layers.iter().map(|layer| layer.len()).sum());
        self.layers.iter().for_each(|layer| all.extend(layer.iter()));
        all
    }

    /// Whether some heads are not in the table.
    pub(super) fn is_ahead(&self) -> bool {
        self.newest > self.written_through
    }

    /// Adds the heads of a commit. Writes all of them to the table if it is time to.
    pub(super) fn extend(
        &self,
        tables: &mut WriteTables<'_>,
        changed: HashMap<Number, Position>,
        newest: Position,
    ) -> Result<Self, StoreError> {
        let mut layers = self.layers.clone();
        if layers.len() == LAYERS_MAX {
            layers = vec![Arc::new(self.all())];
        }
        if !changed.is_empty() {
            layers.push(Arc::new(changed));
        }
        let recent =
            Self { layers, commits: self.commits + 1, written_through: self.written_through, newest };
        let is_due = newest - recent.written_through >= ENTRIES_MAX || recent.commits >= COMMITS_MAX;
        if is_due { recent.write(tables) } else { Ok(recent) }
    }

    /// Writes all of them to the table.
    pub(super) fn write(&self, tables: &mut WriteTables<'_>) -> Result<Self, StoreError> {
        write_rows(&mut tables.heads, self.all())?;
        let through = self.newest.to_string();
        tables.meta.insert(WRITTEN_THROUGH, through.as_str())?;
        Ok(Self { written_through: self.newest, newest: self.newest, ..Self::default() })
    }
}

fn index_in_row(number: Number) -> usize {
    usize::try_from(number % HEADS_PER_ROW).unwrap_or_default()
}

fn write_rows(
    table: &mut Table<'_, Number, Row>,
    heads: HashMap<Number, Position>,
) -> Result<(), StoreError> {
    let mut heads: Vec<_> = heads.into_iter().collect();
    heads.sort_unstable();
    for of_row in heads.chunk_by(|(one, _), (next, _)| one / HEADS_PER_ROW == next / HEADS_PER_ROW) {
        let key = of_row[0].0 / HEADS_PER_ROW;
        let mut row = table.get(key)?.map_or_else(Vec::new, |row| row.value().to_vec());
        for (number, position) in of_row {
            let start = HEAD_BYTES * index_in_row(*number);
            row.resize(row.len().max(start + HEAD_BYTES), 0);
            row[start..start + HEAD_BYTES].copy_from_slice(&position.to_le_bytes());
        }
        table.insert(key, row.as_slice())?;
    }
    Ok(())
}

/// The heads of recently used accounts.
pub(super) struct HeadCache {
    heads: LruCache<AccountId, Head>,
    count_max: usize,
}

impl HeadCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { heads: LruCache::unbounded(), count_max: bytes_max / CACHED_HEAD_BYTES }
    }

    pub(super) fn get(&mut self, id: &AccountId) -> Option<Head> {
        self.heads.get(id).copied()
    }

    pub(super) fn put(&mut self, id: AccountId, head: Head) {
        if self.heads.put(id, head).is_none() && self.heads.len() > self.count_max {
            self.heads.pop_lru();
        }
    }
}
