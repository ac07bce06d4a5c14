//! The tables of the file, by name, key and value.

use redb::{Table, TableDefinition, WriteTransaction};

use super::file::storage_error;
use crate::StoreError;

/// The place of an entry in the log: from 1, in the order of commits, without gaps.
pub(super) type Position = u64;
/// Partition and account id: accounts are listed in this order.
pub(super) type AccountKey = (u32, &'static str);
/// Account id, time and sequence.
pub(super) type MilestoneKey = (&'static str, i64, u64);
/// Owner and account id.
pub(super) type OwnerKey = (&'static str, &'static str);
/// Window of time, request id, account id and caller. The request ids that clients make grow with
/// time, so new records are written side by side.
pub(super) type RequestKey = (u64, &'static str, &'static str, &'static str);
/// What `codec` writes.
pub(super) type Row = &'static [u8];

/// What this bank is, field by field.
pub(super) const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// Accounts, each with the position of its newest entry.
pub(super) const ACCOUNTS: TableDefinition<AccountKey, Row> = TableDefinition::new("accounts");
/// Entries of all accounts, each with the position of the one before it on its account.
pub(super) const LOG: TableDefinition<Position, Row> = TableDefinition::new("log");
/// The positions of every [`MILESTONE_EVERY`]th entry of an account.
pub(super) const MILESTONES: TableDefinition<MilestoneKey, Position> = TableDefinition::new("milestones");
/// Which accounts an owner has.
pub(super) const OWNERS: TableDefinition<OwnerKey, ()> = TableDefinition::new("owners");
/// Outcomes of requests.
pub(super) const REQUESTS: TableDefinition<RequestKey, Row> = TableDefinition::new("requests");

/// How many entries of an account a reader walks over at most to find its place.
pub(super) const MILESTONE_EVERY: u64 = 64;

/// The tables that a commit writes to.
pub(super) struct WriteTables<'t> {
    pub(super) accounts: Table<'t, AccountKey, Row>,
    pub(super) log: Table<'t, Position, Row>,
    pub(super) milestones: Table<'t, MilestoneKey, Position>,
    pub(super) owners: Table<'t, OwnerKey, ()>,
    pub(super) requests: Table<'t, RequestKey, Row>,
}

impl<'t> WriteTables<'t> {
    /// Opens them, and makes those that are not there.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            accounts: transaction.open_table(ACCOUNTS).map_err(storage_error)?,
            log: transaction.open_table(LOG).map_err(storage_error)?,
            milestones: transaction.open_table(MILESTONES).map_err(storage_error)?,
            owners: transaction.open_table(OWNERS).map_err(storage_error)?,
            requests: transaction.open_table(REQUESTS).map_err(storage_error)?,
        })
    }
}
