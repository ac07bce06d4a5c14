//! The calls that read. They read the store, where every acknowledged write is visible.

use std::sync::Arc;

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Entry, EntryId, EntryKind, Owner, Timestamp,
};
use bank_proto::v1;
use bank_store::{AccountsQuery, EntriesQuery, Order, Store, StoreError};
use futures::future::try_join;

use super::{
    call::Answer,
    page::{List, Paged},
    parse::{AccountList, AccountQuery, BalanceQuery, History, TransactionQuery},
    render,
};
use crate::{
    auth::{Access, Extent},
    movement,
    status::Failure,
};

pub(super) async fn account(
    store: Arc<dyn Store>,
    access: Access,
    query: AccountQuery,
) -> Result<Answer<v1::GetAccountResponse>, Failure> {
    let account = visible(&*store, &access, query.account_id).await?;
    let extent = access.extent_of(&account.owner);
    Ok(Answer { reply: v1::GetAccountResponse { account: Some(render::account(&account)) }, extent })
}

pub(super) async fn accounts(
    store: Arc<dyn Store>,
    access: Access,
    query: AccountList,
) -> Result<Answer<v1::ListAccountsResponse>, Failure> {
    let AccountList { owner, account_type, state, page } = query;
    let (owner, extent) = access.listed(owner)?;
    let found = page.of(Accounts { store: &*store, owner, account_type, state }).await?;
    let reply = v1::ListAccountsResponse {
        accounts: found.items.iter().map(render::account).collect(),
        next_page_token: found.next_page_token,
    };
    Ok(Answer { reply, extent })
}

impl Paged for AccountList {
    fn bytes_max(&self) -> usize {
        // An account with all its labels, in bytes.
        self.page.bytes_max(8 * 1024)
    }
}

impl Paged for History {
    fn bytes_max(&self) -> usize {
        self.page.bytes_max(2 * 1024)
    }
}

struct Accounts<'a> {
    store: &'a dyn Store,
    owner: Option<Owner>,
    account_type: Option<AccountType>,
    state: Option<AccountState>,
}

impl List for Accounts<'_> {
    type Item = Account;
    type Cursor = AccountId;

    async fn fetch(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<Account>, Failure> {
        Ok(self.store.accounts(&AccountsQuery { owner: self.owner.clone(), after, limit }).await?)
    }

    fn wants(&self, account: &Account) -> bool {
        self.account_type.is_none_or(|wanted| account.account_type == wanted)
            && self.state.is_none_or(|wanted| account.state == wanted)
    }

    fn bytes(account: &Account) -> usize {
        let labels: usize = account.labels.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        account.id.as_str().len() + account.owner.as_str().len() + labels + 128
    }

    fn cursor(account: &Account) -> AccountId {
        account.id.clone()
    }
}

pub(super) async fn balance(
    store: Arc<dyn Store>,
    access: Access,
    query: BalanceQuery,
) -> Result<Answer<v1::GetBalanceResponse>, Failure> {
    let BalanceQuery { account_id, as_of } = query;
    let (balance, available, time, extent) = match as_of {
        None => {
            let account = visible(&*store, &access, account_id.clone()).await?;
            let extent = access.extent_of(&account.owner);
            (account.balance, Some(account.available()), account.updated_at, extent)
        }
        Some(as_of) => {
            let newest = EntriesQuery {
                end: Some(as_of),
                order: Order::NewestFirst,
                limit: 1,
                ..EntriesQuery::all(account_id.clone())
            };
            let (account, entries) = try_join(load(&*store, &account_id), store.entries(&newest)).await?;
            let extent = extent(&access, account.as_ref());
            let entry =
                access.primary(account.as_ref()).and(entries.into_iter().next()).ok_or_else(|| {
                    Failure::AccountNotFound { account_id: account_id.clone(), as_of: Some(as_of), extent }
                })?;
            (entry.balance_after, None, entry.time, extent)
        }
    };
    let reply = v1::GetBalanceResponse {
        account_id: account_id.to_string(),
        message: format!("Balance: {balance}"),
        balance: Some(render::money(balance)),
        available: available.map(render::money),
        update_time: Some(render::time(time)),
    };
    Ok(Answer { reply, extent })
}

pub(super) async fn history(
    store: Arc<dyn Store>,
    access: Access,
    query: History,
) -> Result<Answer<v1::ListTransactionsResponse>, Failure> {
    let History { account_id, order, start, end, kinds, page } = query;
    let entries = Entries { store: &*store, account_id: account_id.clone(), order, start, end, kinds };
    // Tells an account without entries in the range from one that does not exist.
    let (account, found) = try_join(visible(&*store, &access, account_id), page.of(entries)).await?;
    let reply = v1::ListTransactionsResponse {
        entries: found.items.iter().map(render::entry).collect(),
        next_page_token: found.next_page_token,
    };
    Ok(Answer { reply, extent: access.extent_of(&account.owner) })
}

struct Entries<'a> {
    store: &'a dyn Store,
    account_id: AccountId,
    order: Order,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    kinds: Vec<v1::EntryKind>,
}

impl List for Entries<'_> {
    type Item = Entry;
    type Cursor = EntryId;

    async fn fetch(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<Entry>, Failure> {
        let Self { start, end, order, .. } = *self;
        if start.zip(end).is_some_and(|(start, end)| start > end) {
            return Ok(Vec::new());
        }
        let account_id = self.account_id.clone();
        Ok(self.store.entries(&EntriesQuery { account_id, start, end, after, order, limit }).await?)
    }

    fn wants(&self, entry: &Entry) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&render::entry_kind(&entry.kind))
    }

    fn bytes(entry: &Entry) -> usize {
        let request_id = entry.request_id.as_ref().map_or(0, |id| id.as_str().len());
        3 * entry.account_id.as_str().len() + request_id + entry.description.as_str().len() + 256
    }

    fn cursor(entry: &Entry) -> EntryId {
        entry.id()
    }
}

pub(super) async fn transaction(
    store: Arc<dyn Store>,
    access: Access,
    query: TransactionQuery,
) -> Result<Answer<v1::GetTransactionResponse>, Failure> {
    let id = query.transaction_id;
    let (account, primary) =
        try_join(load(&*store, &id.account_id), movement::primary_entry(&*store, &id)).await?;
    let mut sides = Vec::from_iter(account.zip(primary));
    if let Some((_, Entry { kind: EntryKind::TransferOut { destination }, .. })) = sides.first() {
        let (account, entry) =
            try_join(load(&*store, destination), movement::entry_on(&*store, destination, &id)).await?;
        sides.extend(account.zip(entry));
    }
    // The owner of one side of a transfer sees that side.
    let (seen, concealed): (Vec<_>, Vec<_>) =
        sides.into_iter().partition(|(account, _)| access.reaches(&account.owner));
    let Some((_, first)) = seen.first() else {
        let extent = if concealed.is_empty() { Extent::Own } else { Extent::Beyond };
        return Err(Failure::TransactionNotFound { transaction_id: id, extent });
    };
    let create_time = Some(render::time(first.time));
    let own = seen.iter().all(|(account, _)| access.extent_of(&account.owner) == Extent::Own);
    let entries = seen.iter().map(|(_, entry)| render::entry(entry)).collect();
    let transaction = Some(v1::Transaction { transaction_id: id.to_string(), create_time, entries });
    let extent = if own { Extent::Own } else { Extent::Beyond };
    Ok(Answer { reply: v1::GetTransactionResponse { transaction }, extent })
}

/// An account that the caller may see.
pub(super) async fn visible(
    store: &dyn Store,
    access: &Access,
    account_id: AccountId,
) -> Result<Account, Failure> {
    let account = load(store, &account_id).await?;
    let extent = extent(access, account.as_ref());
    access.primary(account.as_ref()).cloned().ok_or(Failure::AccountNotFound {
        account_id,
        as_of: None,
        extent,
    })
}

async fn load(store: &dyn Store, account_id: &AccountId) -> Result<Option<Account>, StoreError> {
    Ok(store.load(std::slice::from_ref(account_id)).await?.pop().flatten())
}

fn extent(access: &Access, account: Option<&Account>) -> Extent {
    account.map_or(Extent::Own, |account| access.extent_of(&account.owner))
}
