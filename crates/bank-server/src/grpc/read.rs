//! The calls that read. They read the store, where every acknowledged write is visible.

use std::{slice, sync::Arc};

use bank_domain::{Account, AccountId, Entry, EntryId, EntryKind};
use bank_proto::v1;
use bank_store::{AccountsQuery, EntriesQuery, Order, Store, StoreError};
use futures::{TryFutureExt as _, future::try_join};

use super::{
    api::Reading,
    page::Item,
    parse::{AccountList, AccountQuery, BalanceQuery, History, TransactionQuery},
    render,
};
use crate::{auth::Access, movement, scans::Scans, status::Failure};

pub(super) async fn account(
    reading: Reading<'_>,
    query: AccountQuery,
) -> Result<v1::GetAccountResponse, Failure> {
    let account = visible(reading.store(), &reading.access, query.account_id).await?;
    Ok(v1::GetAccountResponse { account: Some(render::account(&account)) })
}

pub(super) async fn accounts(
    reading: Reading<'_>,
    query: AccountList,
) -> Result<v1::ListAccountsResponse, Failure> {
    let AccountList { owner, account_type, state, page } = query;
    let owner = reading.access.listed(owner)?;
    let scans = reading.scans();
    let fetch = |after, limit| scans.accounts(AccountsQuery { owner: owner.clone(), after, limit });
    let is_wanted = |account: &Account| {
        account_type.is_none_or(|wanted| account.account_type == wanted)
            && state.is_none_or(|wanted| account.state == wanted)
    };
    let (accounts, next_page_token) = page.read(fetch, is_wanted).await?;
    Ok(v1::ListAccountsResponse { accounts: accounts.iter().map(render::account).collect(), next_page_token })
}

impl Item for Account {
    type Cursor = AccountId;

    fn cursor(&self) -> AccountId {
        self.id.clone()
    }

    fn bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        self.id.as_str().len() + self.owner.as_str().len() + labels + 128
    }
}

pub(super) async fn balance(
    reading: Reading<'_>,
    query: BalanceQuery,
) -> Result<v1::GetBalanceResponse, Failure> {
    let BalanceQuery { account_id, as_of } = query;
    let (store, access) = (reading.store(), &reading.access);
    let (balance, available, time) = match as_of {
        None => {
            let account = visible(store, access, account_id.clone()).await?;
            (account.balance, Some(account.available()), account.updated_at)
        }
        Some(as_of) => {
            let newest = EntriesQuery {
                end: Some(as_of),
                order: Order::NewestFirst,
                limit: 1,
                ..EntriesQuery::all(account_id.clone())
            };
            let (account, entries) = try_join(load(store, &account_id), store.entries(&newest)).await?;
            let entry = access.primary(account.as_ref()).and(entries.into_iter().next());
            let account_id = account_id.clone();
            let entry = entry.ok_or(Failure::AccountNotFound { account_id, as_of: Some(as_of) })?;
            (entry.balance_after, None, entry.time)
        }
    };
    Ok(v1::GetBalanceResponse {
        account_id: account_id.to_string(),
        message: format!("Balance: {balance}"),
        balance: Some(render::money(balance)),
        available: available.map(render::money),
        update_time: Some(render::time(time)),
    })
}

pub(super) async fn history(
    reading: Reading<'_>,
    query: History,
) -> Result<v1::ListTransactionsResponse, Failure> {
    let History { account_id, order, start, end, kinds, page } = query;
    let scans = &reading.scans();
    let is_empty = start.zip(end).is_some_and(|(start, end)| start > end);
    let fetch = |after, limit| {
        let account_id = account_id.clone();
        let query = EntriesQuery { account_id, start, end, after, order, limit };
        async move { if is_empty { Ok(Vec::new()) } else { scans.entries(query).await } }
    };
    let is_wanted = |entry: &Entry| kinds.is_empty() || kinds.contains(&render::entry_kind(&entry.kind));
    // Tells an account without entries in the range from one that does not exist.
    let account = visible(reading.store(), &reading.access, account_id.clone());
    let page = page.read(fetch, is_wanted).err_into();
    let (_, (entries, next_page_token)) = try_join(account, page).await?;
    Ok(v1::ListTransactionsResponse { entries: entries.iter().map(render::entry).collect(), next_page_token })
}

impl Item for Entry {
    type Cursor = EntryId;

    fn cursor(&self) -> EntryId {
        self.id()
    }

    fn bytes(&self) -> usize {
        let request_id = self.request_id.as_ref().map_or(0, |id| id.as_str().len());
        3 * self.account_id.as_str().len() + request_id + self.description.as_str().len() + 256
    }
}

pub(super) async fn transaction(
    reading: Reading<'_>,
    query: TransactionQuery,
) -> Result<v1::GetTransactionResponse, Failure> {
    let id = query.transaction_id;
    let (store, access) = (reading.store(), &reading.access);
    let (account, primary) =
        try_join(load(store, &id.account_id), movement::primary_entry(store, &id)).await?;
    let mut sides = Vec::from_iter(account.zip(primary));
    if let Some((_, Entry { kind: EntryKind::TransferOut { destination }, .. })) = sides.first() {
        let (account, entry) =
            try_join(load(store, destination), movement::entry_on(store, destination, &id)).await?;
        sides.extend(account.zip(entry));
    }
    // The owner of one side of a transfer sees that side.
    let (seen, concealed): (Vec<_>, Vec<_>) =
        sides.into_iter().partition(|(account, _)| access.reaches(&account.owner));
    let reached = if seen.is_empty() { &concealed } else { &seen };
    // Noted even if nothing was found: the call has looked for an account.
    access.note_owner(None);
    for (account, _) in reached {
        access.note_owner(Some(&account.owner));
    }
    let Some((_, first)) = seen.first() else {
        return Err(Failure::TransactionNotFound { transaction_id: id });
    };
    let create_time = Some(render::time(first.time));
    let entries = seen.iter().map(|(_, entry)| render::entry(entry)).collect();
    let transaction = v1::Transaction { transaction_id: id.to_string(), create_time, entries };
    Ok(v1::GetTransactionResponse { transaction: Some(transaction) })
}

/// An account that the caller may see.
pub(super) async fn visible(
    store: &dyn Store,
    access: &Access,
    account_id: AccountId,
) -> Result<Account, Failure> {
    let account = load(store, &account_id).await?;
    let visible = access.primary(account.as_ref()).cloned();
    visible.ok_or(Failure::AccountNotFound { account_id, as_of: None })
}

async fn load(store: &dyn Store, account_id: &AccountId) -> Result<Option<Account>, StoreError> {
    Ok(store.load(slice::from_ref(account_id)).await?.pop().flatten())
}

impl Reading<'_> {
    fn scans(&self) -> Scans {
        Scans::new(Arc::clone(self.api.ledger.store()), self.caller.clone())
    }
}
