//! Reads accounts: one, or a stretch of a list.

use bank_domain::{Account, AccountId};
use redb::{ReadTransaction, ReadableTable};

use super::{
    codec::{self, Filed},
    file::storage_error,
    tables::{ACCOUNTS, AccountKey, OWNERS, Row},
};
use crate::{AccountsQuery, StoreError, partition::Partitions};

/// An account as it is stored; `None` where there is none.
pub(super) fn filed(
    accounts: &impl ReadableTable<AccountKey, Row>,
    partitions: Partitions,
    id: &AccountId,
) -> Result<Option<Filed>, StoreError> {
    let row = accounts.get((partitions.of(id), id.as_str())).map_err(storage_error)?;
    row.map(|row| codec::account(id, row.value())).transpose()
}

/// Accounts as a query asks for them.
pub(super) fn accounts(
    transaction: &ReadTransaction,
    partitions: Partitions,
    query: &AccountsQuery,
) -> Result<Vec<Account>, StoreError> {
    let table = transaction.open_table(ACCOUNTS).map_err(storage_error)?;
    let mut accounts = Vec::new();
    let mut add = |id: &str| -> Result<bool, StoreError> {
        if accounts.len() == query.limit {
            return Ok(false);
        }
        match named(id).and_then(|id| filed(&table, partitions, &id)) {
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
            for row in table.range(after.unwrap_or_default()..).map_err(storage_error)? {
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
    transaction: &ReadTransaction,
    partitions: Partitions,
    after: Option<&AccountId>,
    limit: usize,
) -> Result<Vec<AccountId>, StoreError> {
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
