//! The tables of the file, by name, key and value.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::file::storage_error;
use crate::StoreError;

/// The place of an entry in the log: from 1, in the order of commits, without gaps.
pub(super) type Position = u64;
/// Which account it is, in the order of their opening: from 0, without gaps.
pub(super) type Number = u64;
/// Partition and account id: accounts are listed in this order.
pub(super) type AccountKey = (u32, &'static str);
/// Account id, time and sequence.
pub(super) type MilestoneKey = (&'static str, i64, u64);
/// Owner and account id.
pub(super) type OwnerKey = (&'static str, &'static str);
/// Window of time, request id, account id and caller. The request ids that clients make grow with
/// time, so new records are written side by side.
pub(super) type RequestKey = (u64, &'static str, &'static str, &'static str);
/// What `codec`, `log` and `heads` write.
pub(super) type Row = &'static [u8];

/// What this bank is, field by field, and up to where in the log the table of heads goes.
pub(super) const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// What there is to an account besides its entries.
pub(super) const ACCOUNTS: TableDefinition<AccountKey, Row> = TableDefinition::new("accounts");
/// Where in the log the newest entries of accounts are, of many accounts in a row.
pub(super) const HEADS: TableDefinition<Number, Row> = TableDefinition::new("heads");
/// Entries of all accounts, several in a row, by the position of the first. Each has the position of
/// the one before it on its account.
pub(super) const LOG: TableDefinition<Position, Row> = TableDefinition::new("log");
/// The positions of every [`MILESTONE_EVERY`]th entry of an account.
pub(super) const MILESTONES: TableDefinition<MilestoneKey, Position> = TableDefinition::new("milestones");
/// Which accounts an owner has.
pub(super) const OWNERS: TableDefinition<OwnerKey, ()> = TableDefinition::new("owners");
/// Outcomes of requests.
pub(super) const REQUESTS: TableDefinition<RequestKey, Row> = TableDefinition::new("requests");

/// How many entries of an account a reader walks over at most to find its place.
pub(super) const MILESTONE_EVERY: u64 = 64;

/// The tables that tell what an account is.
pub(super) trait AccountTables {
    fn accounts(&self) -> &impl ReadableTable<AccountKey, Row>;
    fn heads(&self) -> &impl ReadableTable<Number, Row>;
    fn log(&self) -> &impl ReadableTable<Position, Row>;
}

/// The tables that tell what an account is, to read.
pub(super) struct ReadTables {
    pub(super) accounts: ReadOnlyTable<AccountKey, Row>,
    pub(super) heads: ReadOnlyTable<Number, Row>,
    pub(super) log: ReadOnlyTable<Position, Row>,
}

impl ReadTables {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            accounts: transaction.open_table(ACCOUNTS).map_err(storage_error)?,
            heads: transaction.open_table(HEADS).map_err(storage_error)?,
            log: transaction.open_table(LOG).map_err(storage_error)?,
        })
    }
}

/// The tables that a commit writes to.
pub(super) struct WriteTables<'t> {
    pub(super) meta: Table<'t, &'static str, &'static str>,
    pub(super) accounts: Table<'t, AccountKey, Row>,
    pub(super) heads: Table<'t, Number, Row>,
    pub(super) log: Table<'t, Position, Row>,
    pub(super) milestones: Table<'t, MilestoneKey, Position>,
    pub(super) owners: Table<'t, OwnerKey, ()>,
    pub(super) requests: Table<'t, RequestKey, Row>,
}

impl<'t> WriteTables<'t> {
    /// Opens them, and makes those that are not there.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            meta: transaction.open_table(META).map_err(storage_error)?,
            accounts: transaction.open_table(ACCOUNTS).map_err(storage_error)?,
            heads: transaction.open_table(HEADS).map_err(storage_error)?,
            log: transaction.open_table(LOG).map_err(storage_error)?,
            milestones: transaction.open_table(MILESTONES).map_err(storage_error)?,
            owners: transaction.open_table(OWNERS).map_err(storage_error)?,
            requests: transaction.open_table(REQUESTS).map_err(storage_error)?,
        })
    }
}

impl AccountTables for ReadTables {
    fn accounts(&self) -> &impl ReadableTable<AccountKey, Row> {
        &self.accounts
    }

    fn heads(&self) -> &impl ReadableTable<Number, Row> {
        &self.heads
    }

    fn log(&self) -> &impl ReadableTable<Position, Row> {
        &self.log
    }
}

impl AccountTables for WriteTables<'_> {
    fn accounts(&self) -> &impl ReadableTable<AccountKey, Row> {
        &self.accounts
    }

    fn heads(&self) -> &impl ReadableTable<Number, Row> {
        &self.heads
    }

    fn log(&self) -> &impl ReadableTable<Position, Row> {
        &self.log
    }
}
