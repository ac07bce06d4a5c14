//! A store as the cases see it: commands go in, outcomes, accounts and entries come out.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Command, Context, Entry, RequestId, Timestamp, decide};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    commands::{self, Opening, id},
    soundness,
};
use crate::{
    AccountsQuery, Attempt, Caller, Committed, EntriesQuery, Order, Outcome, Proposal, RequestKey, Store,
    StoreError,
};

/// How long a call is sent again before the store is held to be gone for good.
const PATIENCE: Duration = Duration::from_mins(1);
/// The pause before a call is sent again.
const PAUSE: Duration = Duration::from_millis(5);
/// 2026-01-01T00:00:00Z, when all cases play.
const NEW_YEAR_2026_MS: i64 = 1_767_225_600_000;

/// A store with a caller and a clock that stands still.
#[derive(Clone)]
pub struct Bank {
    store: Arc<dyn Store>,
    caller: Caller,
    now: Timestamp,
}

/// A command with what its caller says about it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// What the caller calls the request; a fresh name if it has none.
    pub name: Option<RequestId>,
    /// Whether a rejection is kept.
    pub rejection_recorded: bool,
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self { command, name: None, rejection_recorded: true }
    }
}

impl From<Opening> for Request {
    fn from(opening: Opening) -> Self {
        Command::from(opening).into()
    }
}

/// Accounts as a sequencer knows them: as they were loaded, with the plans made since.
#[derive(Clone)]
pub struct View {
    accounts: HashMap<AccountId, Account>,
    caller: Caller,
    now: Timestamp,
    decided_at: Timestamp,
}

impl View {
    /// Decides a request on what is known, and remembers its plan.
    pub fn propose(&mut self, request: impl Into<Request>) -> Proposal {
        let Request { command, name, rejection_recorded } = request.into();
        let context = Context { now: self.now, ahead_max: Duration::MAX, request_id: name.clone() };
        let decision = decide(|id| self.accounts.get(id), &command, &context);
        let decided_on = command
            .account_ids()
            .map(|id| (id.clone(), self.accounts.get(id).map(|account| account.head)))
            .collect();
        for change in decision.iter().flat_map(bank_domain::Plan::changes) {
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
            attempt: fresh_attempt(),
            rejection_recorded,
            decided_on,
            decided_at: self.decided_at,
            decision,
            linked: false,
        }
    }

    /// Decides requests that are carried out together or not at all. If one of them is refused, what is
    /// known is as if none had been made.
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

    /// What is known of an account.
    pub fn account(&self, account_id: &str) -> Option<&Account> {
        self.accounts.get(&id(account_id))
    }
}

/// An attempt unlike all others.
pub(super) fn fresh_attempt() -> Attempt {
    Attempt(Uuid::new_v4().as_u64_pair().0)
}

impl Bank {
    /// On a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let now = Timestamp::try_from_unix_ms(NEW_YEAR_2026_MS).unwrap();
        Self { store, caller: Caller::anonymous(), now }
    }

    /// The same bank, so many milliseconds later.
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

    /// What the clock says.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Accounts as they are now.
    pub async fn view(&self, account_ids: &[&str]) -> View {
        let ids: Vec<_> = account_ids.iter().map(|text| id(text)).collect();
        self.view_of(&ids).await
    }

    /// Accounts as they are now.
    pub async fn view_of(&self, ids: &[AccountId]) -> View {
        let accounts = self.load(ids).await.into_iter().flatten();
        View {
            accounts: accounts.map(|account| (account.id.clone(), account)).collect(),
            caller: self.caller.clone(),
            now: self.now,
            decided_at: self.store.clock().estimate(),
        }
    }

    /// A request decided on the accounts as they are now.
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

    /// Carries a request out that nothing is in the way of.
    pub async fn apply(&self, request: impl Into<Request>) -> Entry {
        let proposal = self.propose(request).await;
        let plan = proposal.decision.clone().unwrap();
        assert_eq!(self.commit_one(&proposal).await, Outcome::Applied);
        Entry::clone(&plan.primary.entry)
    }

    /// Opens an account that nothing is special about, with money on it.
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

    /// Commits proposals, and sends them again for as long as the store cannot say what became of
    /// them.
    pub async fn commit(&self, proposals: &[Proposal]) -> Committed {
        let committed = insist(|| self.store.commit(proposals)).await;
        assert_eq!(committed.outcomes.len(), proposals.len());
        for (outcome, proposal) in committed.outcomes.iter().zip(proposals) {
            for (id, _) in &proposal.decided_on {
                let is_told = committed.current.contains_key(id);
                let is_due = !matches!(outcome, Outcome::Applied | Outcome::Abandoned);
                assert!(is_told || !is_due, "{outcome:?} without the current {id}");
            }
        }
        committed
    }

    /// An account that exists.
    pub async fn account(&self, account_id: &str) -> Account {
        self.load(&[id(account_id)]).await.remove(0).unwrap()
    }

    /// What an account holds, in minor units.
    pub async fn balance(&self, account_id: &str) -> i64 {
        self.account(account_id).await.balance.minor_units
    }

    /// Accounts as they are now.
    pub async fn load(&self, ids: &[AccountId]) -> Vec<Option<Account>> {
        let accounts = insist(|| self.store.load(ids)).await;
        assert_eq!(accounts.len(), ids.len());
        accounts
    }

    /// The whole history of an account, oldest first.
    pub async fn history(&self, account_id: &str) -> Vec<Entry> {
        self.entries(&EntriesQuery::all(id(account_id))).await
    }

    /// A stretch of a history.
    pub async fn entries(&self, query: &EntriesQuery) -> Vec<Entry> {
        insist(|| self.store.entries(query)).await
    }

    /// The newest entry of an account that exists.
    pub async fn newest(&self, account_id: &str) -> Entry {
        let query = EntriesQuery { order: Order::NewestFirst, limit: 1, ..EntriesQuery::all(id(account_id)) };
        self.entries(&query).await.remove(0)
    }

    /// One page of a list of accounts.
    pub async fn accounts(&self, query: &AccountsQuery) -> Vec<Account> {
        insist(|| self.store.accounts(query)).await
    }

    /// How many accounts there are, where the store can tell.
    pub async fn account_count(&self) -> Option<u64> {
        insist(|| self.store.account_count()).await
    }

    /// One page of the ids of all accounts.
    pub async fn account_ids(&self, after: Option<&AccountId>, limit: usize) -> Vec<AccountId> {
        insist(|| self.store.account_ids(after, limit)).await
    }

    /// All accounts, of an owner or of everybody, read in pages.
    pub async fn all_accounts(&self, owner: Option<&str>, page_size: usize) -> Vec<Account> {
        let owner = owner.map(commands::owner);
        let mut query = AccountsQuery { owner, after: None, limit: page_size };
        let mut all = Vec::new();
        loop {
            let page = self.accounts(&query).await;
            assert!(page.len() <= page_size);
            let is_last = page.len() < page_size;
            query.after = page.last().map(|account| account.id.clone());
            all.extend(page);
            if is_last {
                return all;
            }
        }
    }

    /// Checks what holds of all that a bank keeps, whatever was done: see the promises of [`Store`].
    pub async fn assert_sound(&self) {
        soundness::check(self).await;
    }
}

/// Whether a call may not have come through.
pub(super) fn is_lost(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
}

/// Sends a call until the store can say what became of it.
pub(super) async fn insist<T, F: Future<Output = Result<T, StoreError>>>(call: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) if error.is_retryable() && Instant::now() < deadline => sleep(PAUSE).await,
            Err(error) => panic!("the store did not recover: {error}"),
        }
    }
}
