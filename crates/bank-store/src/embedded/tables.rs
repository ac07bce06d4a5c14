//! The tables of the file.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::StoreError;

/// The position of an entry in the log: from 1, in the order of commits, without gaps.
pub(super) type Position = u64;
/// The number of an account, in the order in which accounts were opened: from 0, without gaps.
pub(super) type Number = u64;
/// Partition and account id, which is the order of the list of accounts.
pub(super) type AccountKey = (u32, &'static str);
/// Account id, time and sequence.
pub(super) type MilestoneKey = (&'static str, i64, u64);
/// Owner and account id.
pub(super) type OwnerKey = (&'static str, &'static str);
/// Window of time, request id, account id and caller. Request ids that clients generate grow with time, so new records
/// are neighbors.
pub(super) type RecordKey = (u64, &'static str, &'static str, &'static str);
/// Encoded by `codec`, `log` or `heads`.
pub(super) type Row = &'static [u8];

/// The identity of the bank and other single values, by name.
pub(super) const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// Accounts without what their newest entry says.
pub(super) const ACCOUNTS: TableDefinition<AccountKey, Row> = TableDefinition::new("accounts");
/// The positions of the newest entries of accounts, of 500 accounts in a row.
pub(super) const HEADS: TableDefinition<Number, Row> = TableDefinition::new("heads");
/// Entries of all accounts, several in a row, by the position of the first. Each has the position of the previous entry
/// of its account.
pub(super) const LOG: TableDefinition<Position, Row> = TableDefinition::new("log");
/// The positions of every [`MILESTONE_EVERY`]th entry of an account.
pub(super) const MILESTONES: TableDefinition<MilestoneKey, Position> = TableDefinition::new("milestones");
/// The accounts of an owner.
pub(super) const OWNERS: TableDefinition<OwnerKey, ()> = TableDefinition::new("owners");
/// Request records.
pub(super) const REQUESTS: TableDefinition<RecordKey, Row> = TableDefinition::new("requests");

/// How many entries of an account a reader passes at most to find the first one it wants.
pub(super) const MILESTONE_EVERY: u64 = 64;

/// Read access to the tables that an account is read from.
pub(super) trait AccountTables {
    fn accounts(&self) -> &impl ReadableTable<AccountKey, Row>;
    fn heads(&self) -> &impl ReadableTable<Number, Row>;
    fn log(&self) -> &impl ReadableTable<Position, Row>;
}

/// The tables that an account is read from.
pub(super) struct ReadTables {
    pub(super) accounts: ReadOnlyTable<AccountKey, Row>,
    pub(super) heads: ReadOnlyTable<Number, Row>,
    pub(super) log: ReadOnlyTable<Position, Row>,
}

impl ReadTables {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            accounts: transaction.open_table(ACCOUNTS)?,
            heads: transaction.open_table(HEADS)?,
            log: transaction.open_table(LOG)?,
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
    pub(super) requests: Table<'t, RecordKey, Row>,
}

impl<'t> WriteTables<'t> {
    /// Opens the tables, and creates those that do not exist.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            accounts: transaction.open_table(ACCOUNTS)?,
            heads: transaction.open_table(HEADS)?,
            log: transaction.open_table(LOG)?,
            milestones: transaction.open_table(MILESTONES)?,
            owners: transaction.open_table(OWNERS)?,
            requests: transaction.open_table(REQUESTS)?,
        })
    }
}

macro_rules! account_tables {
    ($tables:ty) => {
        impl AccountTables for $tables {
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
    };
}

account_tables!(ReadTables);
account_tables!(WriteTables<'_>);
