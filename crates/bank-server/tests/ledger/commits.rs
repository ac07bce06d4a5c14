//! The ledger on a store that stalls and fails on command.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, Rejection};
use bank_server::{
    ledger::{Error, Executed, Ledger, LedgerOptions, Operation},
    metrics::Metrics,
};
use bank_store::{
    AccountsQuery, Committed, EntriesQuery, MemoryStore, Proposal, Store, StoreError, StoreProperties,
};
use futures::{FutureExt as _, future::try_join_all, poll};
use tokio::{
    sync::{RwLock, Semaphore},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::commands::{deadline, deposit, open, request, transfer, withdraw};

/// How long anything may take. Only a broken ledger needs that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The fault of the next commit.
enum Fault {
    /// Fails before anything is done, and reports that.
    Unavailable,
    /// Is lost before the effect.
    LostBefore,
    /// Is lost after the effect.
    LostAfter,
    /// Panics.
    Panics,
}

/// A store in memory whose commits wait for a permit and may fail, and whose reads of accounts can be held up.
struct Stage {
    store: MemoryStore,
    permits: Semaphore,
    faults: Mutex<VecDeque<Fault>>,
    /// How many commits have arrived.
    arrivals: AtomicUsize,
    commits: AtomicUsize,
    largest_batch: AtomicUsize,
    /// While this is held for writing, no account is read.
    loads: RwLock<()>,
}

impl Stage {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(Duration::from_mins(1)),
            permits: Semaphore::new(permits),
            faults: Mutex::default(),
            arrivals: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
            largest_batch: AtomicUsize::new(0),
            loads: RwLock::default(),
        })
    }

    /// Lets all later commits pass.
    fn open(&self) {
        self.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }
}

#[async_trait]
impl Store for Stage {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        let _open = self.loads.read().await;
        self.store.load(ids).await
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        self.arrivals.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.largest_batch.fetch_max(proposals.len(), Ordering::SeqCst);
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => self.store.commit(proposals).await,
            Some(Fault::Unavailable) => Err(StoreError::Unavailable("planned".to_owned())),
            Some(Fault::LostBefore) => Err(StoreError::OutcomeUnknown("planned".to_owned())),
            Some(Fault::LostAfter) => {
                self.store.commit(proposals).await?;
                Err(StoreError::OutcomeUnknown("planned".to_owned()))
            }
            Some(Fault::Panics) => panic!("planned"),
        }
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        self.store.entries(query).await
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        self.store.accounts(query).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.store.account_ids(after, limit).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn properties(&self) -> &StoreProperties {
        self.store.properties()
    }
}

fn options() -> LedgerOptions {
    LedgerOptions {
        queue_commands_max: 1_000,
        batch_commands_max: 100,
        accounts_remembered_max: 10,
        outcome_timeout: Duration::from_mins(1),
        resend_pause: Duration::from_millis(1),
    }
}

fn start(stage: &Arc<Stage>, options: &LedgerOptions) -> Ledger {
    Ledger::start(stage.clone(), Arc::new(Metrics::new().unwrap()), options)
}

/// A ledger with the account `a`, on a stage that holds all further commits.
async fn with_account(options: &LedgerOptions) -> (Arc<Stage>, Ledger) {
    let stage = Stage::new(1);
    let ledger = start(&stage, options);
    ledger.execute(request(open("a"), ""), deadline(), false).await.unwrap();
    (stage, ledger)
}

/// The same on a stage that lets everything pass.
async fn with_account_on_open_stage(options: &LedgerOptions) -> (Arc<Stage>, Ledger) {
    let (stage, ledger) = with_account(options).await;
    stage.open();
    (stage, ledger)
}

async fn balance(store: &impl Store, account_id: &str) -> i64 {
    let account = store.load(&[account_id.parse().unwrap()]).await.unwrap().pop().flatten().unwrap();
    account.balance.minor_units
}

/// Waits until every other task waits for something: the sequencer for a commit, commits for a permit.
///
/// A test has one thread, so each turn of this task is one of every task that can run; and no task here waits for
/// time. How fast the machine is makes no difference.
async fn all_wait() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn commands_queued_during_a_commit_share_the_next() {
    let (stage, ledger) = with_account(&options()).await;

    let mut calls = JoinSet::new();
    for number in 0..=100 {
        let ledger = ledger.clone();
        calls.spawn(async move {
            ledger.execute(request(deposit("a", number + 1), ""), deadline(), false).await.unwrap()
        });
    }
    all_wait().await;
    let before = stage.commits.load(Ordering::SeqCst);
    stage.open();
    let mut sequences: Vec<_> = calls.join_all().await.iter().map(|done| done.entry.sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (2..=102).collect::<Vec<_>>());
    assert_eq!(balance(&stage.store, "a").await, (1..=101).sum::<i64>());
    assert!(stage.commits.load(Ordering::SeqCst) - before <= 3, "a hundred commands take few commits");
    assert!(stage.largest_batch.load(Ordering::SeqCst) <= 100, "a batch has its limit");
}

/// Begins calls one after another, so that they are queued in this order.
async fn begin(ledger: &Ledger, requests: impl IntoIterator<Item = Operation>) -> Vec<Call> {
    let mut calls = Vec::new();
    for request in requests {
        let ledger = ledger.clone();
        calls.push(tokio::spawn(async move { ledger.execute(request, deadline(), false).await }));
        tokio::task::yield_now().await;
    }
    all_wait().await;
    calls
}

type Call = tokio::task::JoinHandle<Result<Executed, Error>>;

/// The outcomes of these calls.
async fn ended<const COUNT: usize>(
    calls: impl IntoIterator<Item = Call>,
) -> [Result<Executed, Error>; COUNT] {
    let outcomes = try_join_all(calls).await.unwrap();
    outcomes.try_into().unwrap()
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_the_commit_before_it() {
    let (stage, ledger) = with_account(&LedgerOptions { batch_commands_max: 2, ..options() }).await;
    let before = stage.arrivals.load(Ordering::SeqCst);
    let under_way = || stage.arrivals.load(Ordering::SeqCst) - before;

    let mut calls = begin(&ledger, [request(deposit("a", 1), "")]).await;
    assert_eq!(under_way(), 1);
    calls.extend(begin(&ledger, [request(deposit("a", 2), "")]).await);
    assert_eq!(under_way(), 1, "one command is not worth a commit of its own");
    calls.extend(begin(&ledger, [request(deposit("a", 3), "")]).await);
    assert_eq!(under_way(), 2);
    calls.extend(begin(&ledger, [request(deposit("a", 4), ""), request(deposit("a", 5), "")]).await);
    assert_eq!(under_way(), 2, "two are under way at most");

    stage.open();
    for (call, sequence) in calls.into_iter().zip(2..) {
        assert_eq!(call.await.unwrap().unwrap().entry.sequence, sequence);
    }
    assert_eq!((under_way(), balance(&stage.store, "a").await), (3, 15));
}

#[tokio::test]
async fn sends_nothing_behind_an_unconfirmed_rejection() {
    let (stage, ledger) = with_account(&LedgerOptions { batch_commands_max: 1, ..options() }).await;
    let before = stage.arrivals.load(Ordering::SeqCst);
    let calls = begin(&ledger, [withdraw("a", 1), deposit("a", 1)].map(|it| request(it, ""))).await;
    assert_eq!(stage.arrivals.load(Ordering::SeqCst) - before, 1);
    stage.open();
    let outcomes = ended(calls).await.map(|outcome| outcome.is_ok());
    assert_eq!(outcomes, [false, true]);
}

#[tokio::test]
async fn decisions_based_on_a_failed_commit_are_made_again() {
    for fault in [Fault::Unavailable, Fault::LostBefore, Fault::LostAfter] {
        let stage = Stage::new(3);
        let ledger = start(&stage, &LedgerOptions { batch_commands_max: 2, ..options() });
        for command in [open("a"), open("b"), deposit("a", 5)] {
            ledger.execute(request(command, ""), deadline(), false).await.unwrap();
        }
        let is_done = !matches!(fault, Fault::Unavailable);
        stage.fail([fault]);

        let first = begin(&ledger, [request(deposit("a", 10), "x")]).await;
        // One that builds on the first, and one that does not.
        let second = begin(&ledger, [request(withdraw("a", 12), "y"), request(deposit("b", 1), "z")]).await;
        stage.open();
        let [first, took, gave] = ended(first.into_iter().chain(second)).await;
        assert_eq!((first.is_ok(), took.is_ok(), gave.is_ok()), (is_done, is_done, true));
        let expected = if is_done { (3, 1) } else { (5, 1) };
        assert_eq!((balance(&stage.store, "a").await, balance(&stage.store, "b").await), expected);
        if !is_done {
            assert!(matches!(first, Err(Error::Store(StoreError::Unavailable(_)))), "{first:?}");
            assert!(matches!(took, Err(Error::Rejected { replayed: false, .. })), "{took:?}");
        }
    }
}

/// The bug: while accounts were read for the next batch, finished commits were not answered.
#[tokio::test]
async fn a_commit_is_answered_while_accounts_are_read_for_the_next() {
    let stage = Stage::new(2);
    let options = LedgerOptions { batch_commands_max: 1, ..options() };
    let (ledger, other) = (start(&stage, &options), start(&stage, &options));
    ledger.execute(request(open("a"), ""), deadline(), false).await.unwrap();
    other.execute(request(open("b"), ""), deadline(), false).await.unwrap();

    let loads = stage.loads.write().await;
    let first = begin(&ledger, [request(deposit("a", 1), "")]).await.remove(0);
    let second = begin(&ledger, [request(deposit("b", 1), "")]).await.remove(0);
    stage.open();
    let done = timeout(PATIENCE, first).await.expect("its answer waits for nothing").unwrap().unwrap();
    assert_eq!(done.entry.sequence, 2);
    assert!(!second.is_finished());
    drop(loads);
    assert_eq!(second.await.unwrap().unwrap().entry.sequence, 2);
}

#[tokio::test]
async fn commands_waiting_for_accounts_do_not_overtake_retried_ones() {
    let stage = Stage::new(3);
    let options = LedgerOptions { batch_commands_max: 1, ..options() };
    let (ledger, other) = (start(&stage, &options), start(&stage, &options));
    ledger.execute(request(open("a"), ""), deadline(), false).await.unwrap();
    other.execute(request(open("b"), ""), deadline(), false).await.unwrap();
    // The first ledger does not know of it, so what it decides on the account conflicts.
    other.execute(request(deposit("a", 1), ""), deadline(), false).await.unwrap();

    let loads = stage.loads.write().await;
    let mut calls = begin(&ledger, [request(deposit("a", 100), "")]).await;
    calls.extend(begin(&ledger, [request(transfer("a", "b", 101), "")]).await);
    calls.extend(begin(&ledger, [request(withdraw("a", 1), "")]).await);
    stage.open();
    all_wait().await;
    drop(loads);
    let [paid_in, passed_on, withdrawn] = ended(calls).await;
    assert_eq!((paid_in.unwrap().entry.sequence, passed_on.unwrap().entry.sequence), (3, 4));
    assert!(matches!(withdrawn, Err(Error::Rejected { .. })), "{withdrawn:?}");
    assert_eq!((balance(&stage.store, "a").await, balance(&stage.store, "b").await), (0, 101));
}

#[tokio::test]
async fn a_full_queue_rejects_at_once() {
    let (stage, ledger) = with_account(&LedgerOptions { queue_commands_max: 2, ..options() }).await;
    let call = || {
        tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.execute(request(deposit("a", 1), ""), deadline(), false).await }
        })
    };
    let taken = call();
    all_wait().await;
    let queued = [call(), call()];
    all_wait().await;
    assert!(!taken.is_finished() && queued.iter().all(|call| !call.is_finished()));
    let refused = ledger.execute(request(deposit("a", 1), ""), deadline(), false).await;
    assert_eq!(refused, Err(Error::QueueFull { commands_max: 2 }));
    stage.open();
    for call in [taken].into_iter().chain(queued) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(balance(&stage.store, "a").await, 3);
}

#[tokio::test]
async fn a_command_whose_deadline_passes_in_the_queue_is_dropped_undone() {
    let (stage, ledger) = with_account(&options()).await;
    let first = begin(&ledger, [request(deposit("a", 1), "")]).await.remove(0);
    let late = request(deposit("a", 10), "late");
    let request_id = late.request_id.clone().unwrap();
    assert_eq!(
        ledger.execute(late, Instant::now() + Duration::from_millis(10), false).await,
        Err(Error::DeadlineExceeded { request_id })
    );
    stage.open();
    first.await.unwrap().unwrap();
    ledger.execute(request(deposit("a", 100), ""), deadline(), false).await.unwrap();
    assert_eq!(balance(&stage.store, "a").await, 101);
}

#[tokio::test]
async fn a_queued_command_outlives_its_caller() {
    for inline in [false, true] {
        let (stage, ledger) = with_account(&options()).await;
        let mut call = ledger.execute(request(deposit("a", 1), "gone"), deadline(), inline).boxed();
        assert!(poll!(&mut call).is_pending());
        all_wait().await;
        drop(call);
        stage.open();
        let again = request(deposit("a", 1), "gone");
        let Executed { entry, replayed, .. } = ledger.execute(again, deadline(), false).await.unwrap();
        assert!(replayed);
        assert_eq!((entry.sequence, balance(&stage.store, "a").await), (2, 1));
    }
}

#[tokio::test]
async fn a_lone_caller_executes_inline_and_delays_nobody() {
    let (_, ledger) = with_account_on_open_stage(&options()).await;
    let call = || ledger.execute(request(deposit("a", 1), ""), deadline(), true);
    assert_eq!(call().now_or_never().unwrap().unwrap().entry.sequence, 2);

    // A caller that is not answered at once leaves the work to the lane.
    let (stage, ledger) = with_account(&options()).await;
    let call = || ledger.execute(request(deposit("a", 1), ""), deadline(), true);
    let (mut first, mut second) = (pin!(call()), pin!(call()));
    assert!(poll!(&mut first).is_pending());
    assert!(poll!(&mut second).is_pending());
    stage.open();
    assert_eq!(second.await.unwrap().entry.sequence, 3, "without another look of the first");
    assert_eq!(first.await.unwrap().entry.sequence, 2);
}

#[tokio::test]
async fn a_failed_lane_is_reported_and_accepts_no_more_commands() {
    for inline in [false, true] {
        let (stage, ledger) = with_account(&options()).await;
        stage.fail([Fault::Panics]);
        let call = |inline, id: &str| {
            let (ledger, request) = (ledger.clone(), request(deposit("a", 1), id));
            tokio::spawn(async move { ledger.execute(request, deadline(), inline).await })
        };
        let first = call(inline, "x");
        all_wait().await;
        let queued = call(false, "y");
        all_wait().await;
        stage.open();
        ledger.failed().await;
        for call in [first, queued] {
            let outcome = call.await.unwrap();
            assert!(matches!(outcome, Err(Error::OutcomeUnknown { .. })), "{outcome:?}");
        }
        assert_eq!(
            ledger.execute(request(deposit("a", 1), "z"), deadline(), false).await,
            Err(Error::ShuttingDown)
        );
        ledger.drain().await;
    }
}

/// The bug: a batch waited until its deadline, because its own caller kept the channel open.
#[tokio::test]
async fn a_batch_whose_sequencer_fails_ends_at_once_with_an_unknown_outcome() {
    for atomic in [false, true] {
        let (stage, ledger) = with_account(&options()).await;
        stage.fail([Fault::Panics]);
        let call = |ids: [&str; 2]| {
            let operations = ids.map(|id| request(deposit("a", 1), id)).into();
            let deadline = Instant::now() + Duration::from_hours(1);
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.execute_batch(operations, atomic, deadline).await })
        };
        let started = call(["w", "x"]);
        all_wait().await;
        let queued = call(["y", "z"]);
        all_wait().await;
        stage.open();
        for (call, ids) in [(started, ["w", "x"]), (queued, ["y", "z"])] {
            let results = timeout(PATIENCE, call).await.expect("nobody will answer").unwrap().unwrap();
            for (result, id) in results.into_iter().zip(ids) {
                let Err(Error::OutcomeUnknown { request_id, .. }) = result else { panic!("{result:?}") };
                assert_eq!(request_id.as_str(), id);
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_resolved_by_a_resend() {
    let (stage, ledger) = with_account_on_open_stage(&options()).await;
    stage.fail([Fault::LostBefore, Fault::LostAfter, Fault::LostAfter, Fault::Unavailable]);
    let done = ledger.execute(request(deposit("a", 5), "x"), deadline(), false).await.unwrap();
    assert!(!done.replayed, "the caller sent it once");
    assert_eq!((done.entry.sequence, balance(&stage.store, "a").await), (2, 5));
    stage.fail([Fault::LostAfter]);
    let refused = ledger.execute(request(withdraw("a", 6), "y"), deadline(), false).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Rejected { rejection: Rejection::InsufficientFunds { .. }, replayed: false, .. }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_reported() {
    let options = LedgerOptions { outcome_timeout: Duration::from_millis(50), ..options() };
    let (stage, ledger) = with_account_on_open_stage(&options).await;
    stage.fail([Fault::LostAfter]);
    stage.fail((0..10_000).map(|_| Fault::LostBefore));
    let error = ledger.execute(request(deposit("a", 5), "x"), deadline(), false).await.unwrap_err();
    assert!(
        matches!(&error, Error::OutcomeUnknown { request_id, .. } if request_id.as_str() == "x"),
        "{error:?}"
    );
    stage.faults.lock().unwrap().clear();
    assert!(ledger.execute(request(deposit("a", 5), "x"), deadline(), false).await.unwrap().replayed);
    assert_eq!(balance(&stage.store, "a").await, 5);
}

#[tokio::test]
async fn an_unavailable_store_is_reported_at_once_and_nothing_is_done() {
    let (stage, ledger) = with_account_on_open_stage(&options()).await;
    stage.fail([Fault::Unavailable]);
    let error = ledger.execute(request(deposit("a", 5), "x"), deadline(), false).await.unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Unavailable(_))), "{error:?}");
    assert_eq!(balance(&stage.store, "a").await, 0);
    assert!(!ledger.execute(request(deposit("a", 5), "x"), deadline(), false).await.unwrap().replayed);
}

#[tokio::test]
async fn two_ledgers_on_one_store_decide_again_on_what_the_other_did() {
    let stage = Stage::new(0);
    stage.open();
    let ledgers = [start(&stage, &options()), start(&stage, &options())];
    ledgers[0].execute(request(open("a"), ""), deadline(), false).await.unwrap();
    ledgers[0].execute(request(deposit("a", 100), ""), deadline(), false).await.unwrap();
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let ledger = ledgers[number % 2].clone();
        calls.spawn(async move { ledger.execute(request(withdraw("a", 1), ""), deadline(), false).await });
    }
    let outcomes = calls.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 100);
    assert_eq!(balance(&stage.store, "a").await, 0);
}

#[tokio::test]
async fn draining_finishes_queued_commands_and_accepts_no_more() {
    let (stage, ledger) = with_account(&options()).await;
    let calls = begin(&ledger, [1; 10].map(|minor_units| request(deposit("a", minor_units), ""))).await;
    let drained = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.drain().await }
    });
    all_wait().await;
    assert!(!drained.is_finished(), "ten commands are not done");
    stage.open();
    drained.await.unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(
        ledger.execute(request(deposit("a", 1), ""), deadline(), false).await,
        Err(Error::ShuttingDown)
    );
    assert_eq!(balance(&stage.store, "a").await, 10);
}
