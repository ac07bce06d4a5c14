//! Reads accounts and lists of accounts.

use std::ops::Bound;

use bank_domain::{Account, AccountId};
use redb::ReadableTable as _;

use super::{
    codec,
    heads::{Head, RecentHeads},
    log::{self, EntryRef},
    snapshot::Snapshot,
    tables::{ACCOUNTS, AccountTables, OWNERS, ReadTables},
};
use crate::{AccountsQuery, StoreError, placement::Placement};

/// An account and its head.
#[derive(Clone, Debug)]
pub(super) struct StoredAccount {
    pub(super) account: Account,
    pub(super) head: Head,
}

impl StoredAccount {
    /// Checks that the bank could have written it.
    pub(super) fn checked(self) -> Result<Self, StoreError> {
        codec::require_sound(&self.account)?;
        Ok(self)
    }
}

/// Reads an account; `None` if it does not exist.
pub(super) fn read(
    tables: &impl AccountTables,
    recent: &RecentHeads,
    placement: Placement,
    id: &AccountId,
) -> Result<Option<StoredAccount>, StoreError> {
    read_unchecked(tables, recent, placement, id)?.map(StoredAccount::checked).transpose()
}

/// The same without a check, for an account that is being imported.
pub(super) fn read_unchecked(
    tables: &impl AccountTables,
    recent: &RecentHeads,
    placement: Placement,
    id: &AccountId,
) -> Result<Option<StoredAccount>, StoreError> {
    let row = tables.accounts().get((placement.of(id), id.as_str()))?;
    row.map(|row| from_row(tables, recent, id, row.value())).transpose()
}

/// Completes an account from its row.
pub(super) fn from_row(
    tables: &impl AccountTables,
    recent: &RecentHeads,
    id: &AccountId,
    row: &[u8],
) -> Result<StoredAccount, StoreError> {
    let opened = codec::opened(id, row)?;
    let number = opened.number;
    let missing = || codec::damaged_account(id, "the position of its newest entry is missing");
    let newest = recent.find(tables.heads(), number)?.ok_or_else(missing)?;
    let entry = EntryRef { position: newest, sequence: None };
    let newest_entry = log::read(tables.log(), id, opened.currency(), entry)?.entry;
    let account = opened.after(&newest_entry);
    let head = Head { number, newest, hash: account.head };
    Ok(StoredAccount { account, head })
}

/// Lists accounts. An account that cannot be read is left out, so that it does not hide the others.
pub(super) fn list(snapshot: &Snapshot, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
    let Snapshot { transaction, recent, placement } = snapshot;
    let tables = ReadTables::open(transaction)?;
    let mut accounts = Vec::new();
    // Returns whether there is room for another account.
    let mut add = |id: &str| -> Result<bool, StoreError> {
        match parse(id).and_then(|id| read(&tables, recent, *placement, &id)) {
            Ok(found) => accounts.extend(found.map(|found| found.account)),
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, "an account is left out of a list");
            }
            Err(error) => return Err(error),
        }
        Ok(accounts.len() < query.limit)
    };
    if query.limit == 0 {
        return Ok(Vec::new());
    }
    match &query.owner {
        None => {
            for row in tables
                .accounts
                .range::<(u32, &str)>((after(query.after.as_ref(), *placement), Bound::Unbounded))?
            {
                if !add(row?.0.value().1)? {
                    break;
                }
            }
        }
        Some(owner) => {
            let after = query.after.as_ref().map_or("", AccountId::as_str);
            let range = (Bound::Excluded((owner.as_str(), after)), Bound::Unbounded);
            for row in transaction.open_table(OWNERS)?.range::<(&str, &str)>(range)? {
                let (key, _) = row?;
                let (found, id) = key.value();
                if found != owner.as_str() || !add(id)? {
                    break;
                }
            }
        }
    }
    Ok(accounts)
}

/// Lists the ids of all accounts.
pub(super) fn list_ids(
    snapshot: &Snapshot,
    after_id: Option<&AccountId>,
    limit: usize,
) -> Result<Vec<AccountId>, StoreError> {
    let accounts = snapshot.transaction.open_table(ACCOUNTS)?;
    let rows = accounts.range::<(u32, &str)>((after(after_id, snapshot.placement), Bound::Unbounded))?;
    rows.take(limit).map(|row| parse(row?.0.value().1)).collect()
}

fn after(id: Option<&AccountId>, placement: Placement) -> Bound<(u32, &str)> {
    id.map_or(Bound::Unbounded, |id| Bound::Excluded((placement.of(id), id.as_str())))
}

fn parse(id: &str) -> Result<AccountId, StoreError> {
    id.parse().map_err(|_| StoreError::Corrupt(format!("a list holds {id:?}, which is not an account id")))
}
