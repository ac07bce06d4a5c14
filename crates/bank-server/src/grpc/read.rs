//! The calls that only read. They go to the store itself: what is acknowledged can be read there.

use std::sync::Arc;

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Entry, EntryId, EntryKind, Owner, Timestamp,
};
use bank_proto::v1;
use bank_store::{AccountsQuery, EntriesQuery, Order, Store};

use super::{
    page::List,
    parse::{AccountList, AccountQuery, BalanceQuery, History, TransactionQuery},
    render,
    status::Failure,
};
use crate::movement;

pub(super) async fn account(
    store: Arc<dyn Store>,
    query: AccountQuery,
) -> Result<v1::GetAccountResponse, Failure> {
    let account = existing(&*store, query.account_id).await?;
    Ok(v1::GetAccountResponse { account: Some(render::account(account)) })
}

pub(super) async fn accounts(
    store: Arc<dyn Store>,
    query: AccountList,
) -> Result<v1::ListAccountsResponse, Failure> {
    let AccountList { owner, account_type, state, page } = query;
    let found = page.of(Accounts { store, owner, account_type, state }).await?;
    Ok(v1::ListAccountsResponse {
        accounts: found.items.into_iter().map(render::account).collect(),
        next_page_token: found.next_page_token,
    })
}

struct Accounts {
    store: Arc<dyn Store>,
    owner: Option<Owner>,
    account_type: Option<AccountType>,
    state: Option<AccountState>,
}

impl List for Accounts {
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
    query: BalanceQuery,
) -> Result<v1::GetBalanceResponse, Failure> {
    let BalanceQuery { account_id, as_of } = query;
    let (balance, available, time) = match as_of {
        None => {
            let account = existing(&*store, account_id.clone()).await?;
            (account.balance, Some(account.available()), account.updated_at)
        }
        Some(as_of) => {
            let newest = EntriesQuery {
                end: Some(as_of),
                order: Order::NewestFirst,
                limit: 1,
                ..EntriesQuery::all(account_id.clone())
            };
            let entry = store.entries(&newest).await?.pop();
            let entry = entry.ok_or_else(|| Failure::AccountNotFound {
                account_id: account_id.clone(),
                as_of: Some(as_of),
            })?;
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
    store: Arc<dyn Store>,
    query: History,
) -> Result<v1::ListTransactionsResponse, Failure> {
    let History { account_id, order, start, end, kinds, page } = query;
    let entries =
        Entries { store: Arc::clone(&store), account_id: account_id.clone(), order, start, end, kinds };
    let found = page.of(entries).await?;
    if found.items.is_empty() {
        // An account without entries in the range differs from one that does not exist.
        existing(&*store, account_id).await?;
    }
    Ok(v1::ListTransactionsResponse {
        entries: found.items.into_iter().map(render::entry).collect(),
        next_page_token: found.next_page_token,
    })
}

struct Entries {
    store: Arc<dyn Store>,
    account_id: AccountId,
    order: Order,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    kinds: Vec<v1::EntryKind>,
}

impl List for Entries {
    type Item = Entry;
    type Cursor = EntryId;

    async fn fetch(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<Entry>, Failure> {
        let Self { start, end, order, .. } = *self;
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
    query: TransactionQuery,
) -> Result<v1::GetTransactionResponse, Failure> {
    let transaction_id = query.transaction_id;
    let primary = movement::primary_entry(&*store, &transaction_id).await?;
    let Some(primary) = primary else {
        return Err(Failure::TransactionNotFound { transaction_id });
    };
    let create_time = Some(render::time(primary.time));
    let other = match &primary.kind {
        EntryKind::TransferOut { destination } => {
            movement::entry_on(&*store, destination, &transaction_id).await?
        }
        _ => None,
    };
    let entries = std::iter::once(primary).chain(other).map(render::entry).collect();
    Ok(v1::GetTransactionResponse {
        transaction: Some(v1::Transaction {
            transaction_id: transaction_id.to_string(),
            create_time,
            entries,
        }),
    })
}

async fn existing(store: &dyn Store, account_id: AccountId) -> Result<Account, Failure> {
    let found = store.load(std::slice::from_ref(&account_id)).await?.pop().flatten();
    found.ok_or(Failure::AccountNotFound { account_id, as_of: None })
}
