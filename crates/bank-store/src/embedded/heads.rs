//! Where in the log the newest entries of accounts are: their heads.
//!
//! Of all that a commit changes, heads alone are scattered over as many pages as there are accounts. So a
//! commit does not write them: the log says what they are. They are remembered, and go to their table once in a
//! while, those of many commits together; and when the file is opened, those that are not in the table
//! are gathered from the end of the log.
//!
//! Every reader has the heads as they were when what it reads was committed.

use std::sync::Arc;

use bank_domain::{AccountId, EntryHash};
use hashbrown::HashMap;
use lru::LruCache;
use redb::{ReadTransaction, ReadableTable, Table};

use super::{
    codec,
    file::storage_error,
    log::LogRow,
    tables::{META, Number, Position, ReadTables, Row, WriteTables},
};
use crate::{StoreError, partition::Partitions};

/// How many heads are in a row: with what redb adds it fills a page.
const HEADS_PER_ROW: u64 = 500;
const HEAD_BYTES: usize = size_of::<Position>();
/// After how many entries heads go to their table: so many are read when the file is opened.
const ENTRIES_MAX: u64 = 65_536;
/// After how many commits they do.
const COMMITS_MAX: usize = 256;
/// How many layers there are, of one commit each, before they become one.
const LAYERS_MAX: usize = 32;
/// Where it says up to which position the table has heads.
const FILED_THROUGH: &str = "heads_through";
/// How much memory a head takes that is remembered by the name of its account, in bytes, about.
const REMEMBERED_BYTES: usize = 192;

/// All that a commit has to know of an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) number: Number,
    pub(super) newest: Position,
    pub(super) hash: EntryHash,
}

/// The newest positions of accounts that their table does not have yet, at one instant.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// The oldest first.
    layers: Vec<Arc<HashMap<Number, Position>>>,
    commits: usize,
    filed_through: Position,
    newest: Position,
}

impl Recent {
    /// Gathers them from the log.
    pub(super) fn read(transaction: &ReadTransaction, partitions: Partitions) -> Result<Self, StoreError> {
        let tables = ReadTables::open(transaction)?;
        let meta = transaction.open_table(META).map_err(storage_error)?;
        let through = meta.get(FILED_THROUGH).map_err(storage_error)?;
        let filed_through = through
            .map_or(Ok(0), |through| through.value().parse())
            .map_err(|_| StoreError::Corrupt(format!("the bank's field {FILED_THROUGH:?} is malformed")))?;
        let mut numbers = HashMap::new();
        let mut layer = HashMap::new();
        let mut newest = filed_through;
        for row in tables.log.range(filed_through + 1..).map_err(storage_error)? {
            let (first, row) = row.map_err(storage_error)?;
            for (position, entry) in LogRow::parse(first.value(), row.value())?.entries() {
                newest = position;
                let (id, _) = codec::place_of(position, entry)?;
                let number = match numbers.get(&id) {
                    Some(number) => *number,
                    None => {
                        let row = tables.accounts.get((partitions.of(&id), id.as_str()));
                        // Whoever asks for an account that cannot be read is told so.
                        let row = row.map_err(storage_error)?;
                        let number = row.and_then(|row| codec::opened(&id, row.value()).ok());
                        let number = number.map(|opened| opened.number);
                        *numbers.entry(id).or_insert(number)
                    }
                };
                layer.extend(number.map(|number| (number, position)));
            }
        }
        Ok(Self { layers: vec![Arc::new(layer)], commits: 0, filed_through, newest })
    }

    /// The position of the newest entry of an account; `None` if nobody knows.
    pub(super) fn find(
        &self,
        heads: &impl ReadableTable<Number, Row>,
        number: Number,
    ) -> Result<Option<Position>, StoreError> {
        if let Some(position) = self.layers.iter().rev().find_map(|layer| layer.get(&number)) {
            return Ok(Some(*position));
        }
        let row = heads.get(number / HEADS_PER_ROW).map_err(storage_error)?;
        let place = place(number);
        let position = row.as_ref().and_then(|row| row.value().as_chunks().0.get(place).copied());
        Ok(position.map(Position::from_le_bytes).filter(|position| *position > 0))
    }

    /// With those of one more commit.
    fn and(&self, changed: HashMap<Number, Position>, newest: Position) -> Self {
        let mut layers = self.layers.clone();
        if layers.len() == LAYERS_MAX {
            layers = vec![Arc::new(self.all())];
        }
        if !changed.is_empty() {
            layers.push(Arc::new(changed));
        }
        Self { layers, commits: self.commits + 1, filed_through: self.filed_through, newest }
    }

    fn all(&self) -> HashMap<Number, Position> {
        let mut all = HashMap::with_capacity(self.layers.iter().map(|layer| layer.len()).sum());
        self.layers.iter().for_each(|layer| all.extend(layer.iter()));
        all
    }

    /// Whether there is anything that the table does not have.
    pub(super) fn is_ahead(&self) -> bool {
        self.newest > self.filed_through
    }

    /// Adds those of a commit, which writes them all once it is time.
    pub(super) fn extend(
        &self,
        tables: &mut WriteTables<'_>,
        changed: HashMap<Number, Position>,
        newest: Position,
    ) -> Result<Self, StoreError> {
        let recent = self.and(changed, newest);
        let is_due = newest - recent.filed_through >= ENTRIES_MAX || recent.commits >= COMMITS_MAX;
        if is_due { recent.file(tables) } else { Ok(recent) }
    }

    /// Writes all of them to their table.
    pub(super) fn file(&self, tables: &mut WriteTables<'_>) -> Result<Self, StoreError> {
        write(&mut tables.heads, self.all())?;
        let through = self.newest.to_string();
        tables.meta.insert(FILED_THROUGH, through.as_str()).map_err(storage_error)?;
        Ok(Self { filed_through: self.newest, newest: self.newest, ..Self::default() })
    }
}

/// The heads of a bank whose accounts have all been removed.
pub(super) fn forget(tables: &mut WriteTables<'_>) -> Result<Recent, StoreError> {
    tables.meta.remove(FILED_THROUGH).map_err(storage_error)?;
    Ok(Recent::default())
}

fn place(number: Number) -> usize {
    usize::try_from(number % HEADS_PER_ROW).unwrap_or_default()
}

fn write(table: &mut Table<'_, Number, Row>, heads: HashMap<Number, Position>) -> Result<(), StoreError> {
    let mut heads: Vec<_> = heads.into_iter().collect();
    heads.sort_unstable();
    for of_row in heads.chunk_by(|(one, _), (next, _)| one / HEADS_PER_ROW == next / HEADS_PER_ROW) {
        let key = of_row[0].0 / HEADS_PER_ROW;
        let mut row =
            table.get(key).map_err(storage_error)?.map_or_else(Vec::new, |row| row.value().to_vec());
        for (number, position) in of_row {
            let start = HEAD_BYTES * place(*number);
            row.resize(row.len().max(start + HEAD_BYTES), 0);
            row[start..start + HEAD_BYTES].copy_from_slice(&position.to_le_bytes());
        }
        table.insert(key, row.as_slice()).map_err(storage_error)?;
    }
    Ok(())
}

/// The heads of accounts that were used last, so that a commit need not read them.
pub(super) struct Remembered {
    heads: LruCache<AccountId, Head>,
    count_max: usize,
}

impl Remembered {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { heads: LruCache::unbounded(), count_max: bytes_max / REMEMBERED_BYTES }
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
