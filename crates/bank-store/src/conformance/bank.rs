//! A store with decisions in front of it: commands go in; outcomes, accounts and entries come out.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Context, Entry, Plan, Timestamp, decide};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::commands::{self, Request, id};
use crate::{
    AccountsQuery, Attempt, Caller, Committed, EntriesQuery, Order, Outcome, Proposal, RequestKey, Store,
    StoreError,
};

/// How long a call is retried.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);
/// The pause before a retry.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// 2026-01-01T00:00:00Z, the time of all cases.
const NEW_YEAR_2026_MS: i64 = 1_767_225_600_000;

/// A store, a caller and a fixed time. Calls are retried while the store fails.
#[derive(Clone)]
pub struct Bank {
    store: Arc<dyn Store>,
    caller: Caller,
    now: Timestamp,
}

/// Accounts as they were loaded, with the plans that were made since.
#[derive(Clone)]
pub struct View {
    accounts: HashMap<AccountId, Account>,
    caller: Caller,
    now: Timestamp,
    decided_at: Timestamp,
}

impl View {
    /// Decides a request, and applies its plan to the view.
    pub fn propose(&mut self, request: impl Into<Request>) -> Proposal {
        let Request { command, name, rejection_recorded } = request.into();
        let context = Context { now: self.now, ahead_max: Duration::MAX, request_id: name.clone() };
        let decision = decide(|id| self.accounts.get(id), &command, &context);
        let decided_on = command
            .account_ids()
            .map(|id| (id.clone(), self.accounts.get(id).map(|account| account.head)))
            .collect();
        for change in decision.iter().flat_map(Plan::changes) {
            self.accounts.insert(change.account.id.clone(), Account::clone(&change.account));
        }
        let request_id = name.unwrap_or_else(|| Uuid::new_v4().to_string().parse().unwrap());
        Proposal {
            key: RequestKey {
                caller: self.caller.clone(),
                account_id: command.account_id().clone(),
                request_id,
            },
            fingerprint: command.fingerprint(),
            attempt: new_attempt(),
            rejection_recorded,
            decided_on,
            decided_at: self.decided_at,
            decision,
            linked: false,
        }
    }

    /// Decides the requests of a chain. If one of them is rejected, the view does not change.
    pub fn propose_chain(&mut self, requests: impl IntoIterator<Item = Request>) -> Vec<Proposal> {
        let before = self.accounts.clone();
        let mut chain: Vec<_> = requests.into_iter().map(|request| self.propose(request)).collect();
        let last = chain.len() - 1;
        chain[..last].iter_mut().for_each(|proposal| proposal.linked = true);
        if chain.iter().any(|proposal| proposal.decision.is_err()) {
            self.accounts = before;
        }
        chain
    }

    /// An account of the view.
    pub fn account(&self, account_id: &str) -> Option<&Account> {
        self.accounts.get(&id(account_id))
    }
}

/// A random attempt.
pub(super) fn new_attempt() -> Attempt {
    Attempt(Uuid::new_v4().as_u64_pair().0)
}

impl Bank {
    /// Uses a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let now = Timestamp::try_from_unix_ms(NEW_YEAR_2026_MS).unwrap();
        Self { store, caller: Caller::anonymous(), now }
    }

    /// The same bank at a later time.
    #[must_use]
    pub fn later(&self, milliseconds: i64) -> Self {
        self.at(self.now.unix_ms() + milliseconds)
    }

    /// The same bank at another time.
    #[must_use]
    pub fn at(&self, unix_ms: i64) -> Self {
        Self { now: Timestamp::try_from_unix_ms(unix_ms).unwrap(), ..self.clone() }
    }

    /// The same bank for another caller.
    #[must_use]
    pub fn called_by(&self, caller: &str) -> Self {
        Self { caller: Caller::new(caller), ..self.clone() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Reads some accounts.
    pub async fn view(&self, account_ids: &[&str]) -> View {
        let ids: Vec<_> = account_ids.iter().map(|text| id(text)).collect();
        self.view_of(&ids).await
    }

    /// Reads some accounts.
    pub async fn view_of(&self, ids: &[AccountId]) -> View {
        let accounts = self.load(ids).await.into_iter().flatten();
        View {
            accounts: accounts.map(|account| (account.id.clone(), account)).collect(),
            caller: self.caller.clone(),
            now: self.now,
            decided_at: self.store.clock().estimate(),
        }
    }

    /// Decides a request.
    pub async fn propose(&self, request: impl Into<Request>) -> Proposal {
        let request = request.into();
        let ids: Vec<_> = request.command.account_ids().cloned().collect();
        self.view_of(&ids).await.propose(request)
    }

    /// Decides and commits a request, once.
    pub async fn submit(&self, request: impl Into<Request>) -> Outcome {
        let proposal = self.propose(request).await;
        self.commit_one(&proposal).await
    }

    /// Decides and commits a request, which must be applied.
    pub async fn apply(&self, request: impl Into<Request>) -> Entry {
        let proposal = self.propose(request).await;
        let plan = proposal.decision.clone().unwrap();
        assert_eq!(self.commit_one(&proposal).await, Outcome::Applied);
        Entry::clone(&plan.primary.entry)
    }

    /// Opens an account with money.
    pub async fn open_with(&self, account_id: &str, minor_units: i64) {
        self.apply(commands::open(account_id)).await;
        if minor_units > 0 {
            self.apply(commands::deposit(account_id, minor_units)).await;
        }
    }

    /// Commits one proposal.
    pub async fn commit_one(&self, proposal: &Proposal) -> Outcome {
        self.commit(std::slice::from_ref(proposal)).await.outcomes.remove(0)
    }

    /// Commits proposals. Checks that the answer has the accounts of all that were not applied.
    pub async fn commit(&self, proposals: &[Proposal]) -> Committed {
        let committed = retry(|| self.store.commit(proposals)).await;
        assert_eq!(committed.outcomes.len(), proposals.len());
        for (outcome, proposal) in committed.outcomes.iter().zip(proposals) {
            for (id, _) in &proposal.decided_on {
                let is_returned = committed.current.contains_key(id);
                let is_due = !matches!(outcome, Outcome::Applied | Outcome::Abandoned);
                assert!(is_returned || !is_due, "{outcome:?} without the current {id}");
            }
        }
        committed
    }

    /// An account that exists.
    pub async fn account(&self, account_id: &str) -> Account {
        self.load(&[id(account_id)]).await.remove(0).unwrap()
    }

    /// The balance of an account, in minor units.
    pub async fn balance(&self, account_id: &str) -> i64 {
        self.account(account_id).await.balance.minor_units
    }

    /// Reads accounts.
    pub async fn load(&self, ids: &[AccountId]) -> Vec<Option<Account>> {
        let accounts = retry(|| self.store.load(ids)).await;
        assert_eq!(accounts.len(), ids.len());
        accounts
    }

    /// All entries of an account, oldest first.
    pub async fn history(&self, account_id: &str) -> Vec<Entry> {
        self.entries(&EntriesQuery::all(id(account_id))).await
    }

    /// Reads a page of entries.
    pub async fn entries(&self, query: &EntriesQuery) -> Vec<Entry> {
        retry(|| self.store.entries(query)).await
    }

    /// The newest entry of an account.
    pub async fn newest(&self, account_id: &str) -> Entry {
        let query = EntriesQuery { order: Order::NewestFirst, limit: 1, ..EntriesQuery::all(id(account_id)) };
        self.entries(&query).await.remove(0)
    }

    /// Reads a page of the list of accounts.
    pub async fn accounts(&self, query: &AccountsQuery) -> Vec<Account> {
        retry(|| self.store.accounts(query)).await
    }

    /// The number of accounts, if the store knows it.
    pub async fn account_count(&self) -> Option<u64> {
        retry(|| self.store.account_count()).await
    }

    /// Reads a page of the ids of all accounts.
    pub async fn account_ids(&self, after: Option<&AccountId>, limit: usize) -> Vec<AccountId> {
        retry(|| self.store.account_ids(after, limit)).await
    }

    /// Reads all accounts, or those of an owner, in pages.
    pub async fn all_accounts(&self, owner: Option<&str>, page_size: usize) -> Vec<Account> {
        let owner = owner.map(commands::owner);
        let page = async |after| {
            let query = AccountsQuery { owner: owner.clone(), after, limit: page_size };
            self.accounts(&query).await
        };
        all_pages(page_size, |account: &Account| account.id.clone(), page).await
    }
}

/// Reads pages until one has fewer items than the limit.
pub(super) async fn all_pages<T, C: Clone>(
    limit: usize,
    cursor: impl Fn(&T) -> C,
    page: impl AsyncFn(Option<C>) -> Vec<T>,
) -> Vec<T> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let items = page(after.clone()).await;
        assert!(items.len() <= limit);
        let is_last = items.len() < limit || limit == 0;
        after = items.last().map(&cursor).or(after);
        all.extend(items);
        if is_last {
            return all;
        }
    }
}

/// Whether the store failed.
pub(super) fn is_unavailable(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
}

/// Retries a call while the store fails.
pub(super) async fn retry<T, F: Future<Output = Result<T, StoreError>>>(call: impl Fn() -> F) -> T {
    let deadline = Instant::now() + RETRY_TIMEOUT;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) if error.is_retryable() && Instant::now() < deadline => sleep(RETRY_PAUSE).await,
            Err(error) => panic!("the store did not recover: {error}"),
        }
    }
}
