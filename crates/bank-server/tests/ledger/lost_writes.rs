//! A store that goes back to an earlier state: lost acknowledged writes are detected, without false
//! alarms.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, ChangeState, Command, Description, Entry};
use bank_server::{
    ledger::{Error, Executed, Ledger, LedgerOptions, LostWrites},
    metrics::Metrics,
};
use bank_store::{
    AccountsQuery, Committed, EntriesQuery, MemoryStore, Proposal, Store, StoreError, StoreProperties,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::commands::{self, deadline, request};

/// A store in memory that can lose its last commits, and report a reconnect.
struct Rewindable {
    properties: StoreProperties,
    state: Mutex<State>,
    epoch: watch::Sender<u64>,
    stalls: Mutex<VecDeque<Stall>>,
}

/// A stalled commit.
struct Stall {
    go_on: Arc<Notify>,
    /// Whether it is lost in the end.
    is_lost: bool,
}

struct State {
    store: Arc<MemoryStore>,
    commits: Vec<Vec<Proposal>>,
}

fn empty() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(Duration::from_mins(1)))
}

impl Rewindable {
    fn new() -> Arc<Self> {
        let store = empty();
        Arc::new(Self {
            properties: store.properties().clone(),
            state: Mutex::new(State { store, commits: Vec::new() }),
            epoch: watch::Sender::new(0),
            stalls: Mutex::default(),
        })
    }

    fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.state.lock().unwrap().store)
    }

    /// Loses the last commits.
    async fn lose(&self, count: usize) {
        let store = empty();
        let commits = {
            let mut state = self.state.lock().unwrap();
            let kept = state.commits.len() - count;
            state.commits.truncate(kept);
            state.commits.clone()
        };
        for proposals in commits {
            store.commit(&proposals).await.unwrap();
        }
        self.state.lock().unwrap().store = store;
    }

    fn end_epoch(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }
}

#[async_trait]
impl Store for Rewindable {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        self.store().load(ids).await
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        let stall = self.stalls.lock().unwrap().pop_front();
        if let Some(Stall { go_on, is_lost }) = stall {
            go_on.notified().await;
            if is_lost {
                return Err(StoreError::OutcomeUnknown("planned".to_owned()));
            }
        }
        let committed = self.store().commit(proposals).await?;
        self.state.lock().unwrap().commits.push(proposals.to_vec());
        Ok(committed)
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        self.store().entries(query).await
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        self.store().accounts(query).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.store().account_ids(after, limit).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn properties(&self) -> &StoreProperties {
        &self.properties
    }

    async fn epoch_after(&self, epoch: u64) -> u64 {
        *self.epoch.subscribe().wait_for(|now| *now > epoch).await.unwrap()
    }
}

fn start(store: &Arc<Rewindable>) -> Ledger {
    start_with(store, 100)
}

fn start_with(store: &Arc<Rewindable>, batch_commands_max: usize) -> Ledger {
    let options = LedgerOptions {
        queue_commands_max: 1_000,
        batch_commands_max,
        accounts_remembered_max: 1_000,
        outcome_timeout: Duration::from_mins(1),
        resend_pause: Duration::from_millis(1),
    };
    Ledger::start(Arc::clone(store) as Arc<dyn Store>, Arc::new(Metrics::new().unwrap()), &options)
}

async fn execute(ledger: &Ledger, command: Command) -> Result<Executed, Error> {
    ledger.execute(request(command, ""), deadline(), true).await
}

async fn open(ledger: &Ledger, account_id: &str) {
    execute(ledger, commands::open(account_id)).await.unwrap();
}

/// Pays money in, and returns the version that the account has then.
async fn deposit(ledger: &Ledger, account_id: &str, minor_units: i64) -> u64 {
    execute(ledger, commands::deposit(account_id, minor_units)).await.unwrap().entry.sequence
}

fn lost(ledger: &Ledger) -> (u64, u64) {
    let LostWrites { accounts, entries_min, found_at } = ledger.lost_writes();
    assert_eq!(found_at.is_some(), accounts > 0);
    (accounts, entries_min)
}

async fn becomes_lost(ledger: &Ledger, expected: (u64, u64)) {
    let give_up_at = Instant::now() + Duration::from_mins(1);
    while lost(ledger) != expected {
        assert!(Instant::now() < give_up_at, "{:?}", lost(ledger));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until every other task waits for something. Sweeps are over then.
///
/// A test has one thread, so each turn of this task is one of every task that can run; and nothing here waits for
/// time. How fast the machine is makes no difference.
async fn all_wait() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_next_command_detects_a_lower_version() {
    let store = Rewindable::new();
    let ledger = start(&store);
    open(&ledger, "a").await;
    for minor_units in 1..=5 {
        deposit(&ledger, "a", minor_units).await;
    }
    assert_eq!(lost(&ledger), (0, 0));
    store.lose(3).await;
    // It continues from the stored state.
    assert_eq!(deposit(&ledger, "a", 100).await, 4);
    assert_eq!(lost(&ledger), (1, 3));
    deposit(&ledger, "a", 1).await;
    assert_eq!(lost(&ledger), (1, 3), "it is reported once");
    // A second loss is reported, too.
    store.lose(1).await;
    deposit(&ledger, "a", 1).await;
    assert_eq!(lost(&ledger), (2, 4));
}

#[tokio::test]
async fn a_commit_in_progress_detects_the_loss() {
    let store = Rewindable::new();
    let ledger = start_with(&store, 1);
    open(&ledger, "a").await;
    let [first, second] = [(); 2].map(|()| Arc::new(Notify::new()));
    store.stalls.lock().unwrap().extend([
        Stall { go_on: Arc::clone(&first), is_lost: false },
        Stall { go_on: Arc::clone(&second), is_lost: true },
    ]);
    let mut calls = Vec::new();
    for _ in 0..2 {
        let ledger = ledger.clone();
        calls.push(tokio::spawn(async move { deposit(&ledger, "a", 1).await }));
        all_wait().await;
    }
    assert!(store.stalls.lock().unwrap().is_empty(), "both are under way");
    first.notify_one();
    assert_eq!(calls.remove(0).await.unwrap(), 2);
    store.lose(1).await;
    second.notify_one();
    assert_eq!(calls.remove(0).await.unwrap(), 2, "decided again on what is left");
    becomes_lost(&ledger, (1, 1)).await;
}

#[tokio::test]
async fn detects_the_same_version_with_another_history() {
    let store = Rewindable::new();
    let (one, other) = (start(&store), start(&store));
    open(&one, "a").await;
    deposit(&one, "a", 5).await;
    store.lose(1).await;
    // The very same amount; only the time may differ.
    tokio::time::sleep(Duration::from_millis(5)).await;
    deposit(&other, "a", 5).await;
    deposit(&one, "a", 1).await;
    assert_eq!((lost(&one), lost(&other)), ((1, 1), (0, 0)));
}

#[tokio::test]
async fn checks_all_cached_accounts_after_a_reconnect() {
    let store = Rewindable::new();
    let (one, other) = (start(&store), start(&store));
    let mut names = Vec::new();
    for number in 0..600 {
        names.push(format!("a{number}"));
        open(&one, &names[number]).await;
    }
    for name in &names[..3] {
        deposit(&one, name, 5).await;
    }
    store.end_epoch();
    all_wait().await;
    assert_eq!(lost(&one), (0, 0), "nothing is gone");

    // The last opening, and the three deposits. One account is written to by another server before
    // anybody looks, beyond the version that was acknowledged.
    store.lose(4).await;
    for minor_units in [5, 6] {
        deposit(&other, "a0", minor_units).await;
    }
    store.end_epoch();
    becomes_lost(&one, (4, 4)).await;
    all_wait().await;
    assert_eq!((lost(&one), lost(&other)), ((4, 4), (0, 0)));
    // The cache agrees with the store now.
    for name in &names[..3] {
        deposit(&one, name, 1).await;
    }
    open(&one, "a599").await;
    store.end_epoch();
    all_wait().await;
    assert_eq!(lost(&one), (4, 4));
}

/// Servers that compete for an account see each other's entries and conflicts all the time.
#[tokio::test]
async fn servers_that_share_a_store_lose_nothing() {
    let store = Rewindable::new();
    let ledgers = [start(&store), start(&store), start(&store)];
    open(&ledgers[0], "a").await;
    open(&ledgers[0], "b").await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..600 {
        let ledger = ledgers[number % 3].clone();
        calls.spawn(async move { deposit(&ledger, if number % 2 == 0 { "a" } else { "b" }, 1).await });
        if number % 50 == 0 {
            store.end_epoch();
            tokio::task::yield_now().await;
        }
    }
    calls.join_all().await;
    open(&ledgers[1], "c").await;
    let close = ChangeState { account_id: "c".parse().unwrap(), description: Description::default() };
    execute(&ledgers[2], Command::Close(close)).await.unwrap();
    store.end_epoch();
    all_wait().await;
    for ledger in &ledgers {
        assert_eq!(lost(ledger), (0, 0));
        ledger.drain().await;
    }
}
