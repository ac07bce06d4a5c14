//! Reads accounts: one, or a stretch of a list.

use bank_domain::{Account, AccountId};
use redb::ReadableTable as _;

use super::{
    codec,
    file::storage_error,
    heads::{Head, Recent},
    history::{self, Place},
    tables::{ACCOUNTS, AccountTables, OWNERS, ReadTables},
    writer::Snapshot,
};
use crate::{AccountsQuery, StoreError, partition::Partitions};

/// An account as it is, and where its newest entry is.
#[derive(Clone, Debug)]
pub(super) struct Filed {
    pub(super) account: Account,
    pub(super) head: Head,
}

/// An account by its name; `None` where there is none.
pub(super) fn filed(
    tables: &impl AccountTables,
    recent: &Recent,
    partitions: Partitions,
    id: &AccountId,
) -> Result<Option<Filed>, StoreError> {
    let row = tables.accounts().get((partitions.of(id), id.as_str())).map_err(storage_error)?;
    row.map(|row| from_row(tables, recent, id, row.value())).transpose()
}

/// An account from its row.
pub(super) fn from_row(
    tables: &impl AccountTables,
    recent: &Recent,
    id: &AccountId,
    row: &[u8],
) -> Result<Filed, StoreError> {
    let opened = codec::opened(id, row)?;
    let number = opened.number;
    let newest = recent.find(tables.heads(), number)?.ok_or_else(|| {
        StoreError::Corrupt(format!("account {id}: nothing says where its newest entry is"))
    })?;
    let place = Place { position: newest, sequence: None };
    let entry = history::entry_at(tables.log(), id, opened.currency(), place)?.entry;
    let account = opened.after(&entry)?;
    let head = Head { number, newest, hash: account.head };
    Ok(Filed { account, head })
}

/// Accounts as a query asks for them.
pub(super) fn accounts(snapshot: &Snapshot, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
    let Snapshot { transaction, recent, partitions } = snapshot;
    let partitions = *partitions;
    let tables = ReadTables::open(transaction)?;
    let mut accounts = Vec::new();
    let mut add = |id: &str| -> Result<bool, StoreError> {
        if accounts.len() == query.limit {
            return Ok(false);
        }
        match named(id).and_then(|id| filed(&tables, recent, partitions, &id)) {
            Ok(filed) => accounts.extend(filed.map(|filed| filed.account)),
            // One account that cannot be read does not hide the others.
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, "an account is left out of a list");
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    };
    let after = query.after.as_ref();
    match &query.owner {
        None => {
            let after = after.map(|id| (partitions.of(id), id.as_str()));
            for row in tables.accounts.range(after.unwrap_or_default()..).map_err(storage_error)? {
                let (key, _) = row.map_err(storage_error)?;
                let (_, id) = key.value();
                if Some(key.value()) != after && !add(id)? {
                    break;
                }
            }
        }
        Some(owner) => {
            let (owner, after) = (owner.as_str(), after.map_or("", AccountId::as_str));
            let owners = transaction.open_table(OWNERS).map_err(storage_error)?;
            for row in owners.range((owner, after)..).map_err(storage_error)? {
                let (key, _) = row.map_err(storage_error)?;
                let (found, id) = key.value();
                if found != owner || (id != after && !add(id)?) {
                    break;
                }
            }
        }
    }
    Ok(accounts)
}

/// Ids of accounts, in the order of the list.
pub(super) fn ids(
    snapshot: &Snapshot,
    after: Option<&AccountId>,
    limit: usize,
) -> Result<Vec<AccountId>, StoreError> {
    let Snapshot { transaction, partitions, .. } = snapshot;
    let table = transaction.open_table(ACCOUNTS).map_err(storage_error)?;
    let after = after.map(|id| (partitions.of(id), id.as_str()));
    let mut ids = Vec::new();
    for row in table.range(after.unwrap_or_default()..).map_err(storage_error)? {
        let (key, _) = row.map_err(storage_error)?;
        if Some(key.value()) == after {
            continue;
        }
        if ids.len() == limit {
            break;
        }
        ids.push(named(key.value().1)?);
    }
    Ok(ids)
}

fn named(id: &str) -> Result<AccountId, StoreError> {
    id.parse().map_err(|_| StoreError::Corrupt(format!("a list holds {id:?}, which is no account id")))
}
