//! The ledger: where commands take effect, one after another.
//!
//! Every account is on a lane of the store, and every lane has one sequencer. A command is queued at
//! the sequencer of the account that it names first, decided by the rules of `bank-domain` on the
//! state that the sequencer knows, and committed by compare-and-set. A sequencer never waits to
//! fill a batch: it takes what has queued up while the last commit was under way. Where that is much, it decides
//! the next batch on what the commit will leave, and sends it behind.
//!
//! A command that has been queued belongs to the sequencer. It is finished even if its caller is
//! gone; only one whose deadline passes before it is decided is dropped undone.

mod acknowledged;
mod commit;
mod dry_run;
mod error;
mod lane;
mod propose;
mod remembered;
mod sequencer;
mod settle;
mod submission;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Command, Context, Entry, Plan, Rejection, RequestId};
use bank_store::{Store, clock::Timekeeper};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    acknowledged::Acknowledged,
    commit::Committer,
    lane::Lane,
    sequencer::Sequencer,
    submission::{Collector, ReplyTo, Submission},
};
pub use self::{acknowledged::LostWrites, dry_run::DryRun, error::Error};
use crate::{
    auth::{Access, Extent},
    metrics::Metrics,
    notifier::Notifier,
};

/// The bounds of a ledger.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// How many commands wait on one lane; one more is refused at once.
    pub queue_commands_max: usize,
    /// How many commands share one commit.
    pub batch_commands_max: usize,
    /// How many accounts each lane remembers between commits.
    pub accounts_remembered_max: usize,
    /// How long a commit whose outcome is unknown is sent again before its callers are told so.
    pub outcome_timeout: Duration,
    /// The pause before a commit is sent again.
    pub resend_pause: Duration,
}

/// A command with who asked for it, and until when.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks, and what is there for them.
    pub access: Access,
    /// What for.
    pub command: Command,
    /// What the caller calls the request, so that it can be repeated.
    pub request_id: Option<RequestId>,
    /// Past this the caller does not wait any more.
    pub deadline: Instant,
    /// Whether there are no other calls: then it is carried out at once rather than together with theirs.
    pub alone: bool,
}

/// One command of a batch.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who asks, and what is there for them.
    pub access: Access,
    /// What for.
    pub command: Command,
    /// What the caller calls the request, so that it can be repeated.
    pub request_id: Option<RequestId>,
}

/// Commands that are asked for together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The commands, in the order in which they take effect.
    pub operations: Vec<Operation>,
    /// Whether all are carried out, at one instant, or none.
    pub atomic: bool,
    /// Past this the caller does not wait any more.
    pub deadline: Instant,
}

/// What became of each operation of a batch, in order.
pub type BatchResults = Vec<Result<Executed, Error>>;

/// What became of a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// The entry on the account that the command names first. Everything that a reply says follows
    /// from the command and this entry.
    pub entry: Arc<Entry>,
    /// Whether this is the outcome of an earlier call with the same request id.
    pub replayed: bool,
    /// Whether nothing was written: the command was only checked.
    pub dry_run: bool,
    /// How far the command reached.
    pub extent: Extent,
}

/// A handle to the ledger; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    lanes: Arc<[Lane]>,
    acknowledged: Acknowledged,
    notifier: Notifier,
    stop: CancellationToken,
    failed: CancellationToken,
    sequencers: TaskTracker,
}

impl Ledger {
    /// Starts a sequencer for every lane of the store.
    pub fn start(store: Arc<dyn Store>, metrics: Arc<Metrics>, options: &LedgerOptions) -> Self {
        let sequencers = TaskTracker::new();
        let (stop, failed) = (CancellationToken::new(), CancellationToken::new());
        let remembered_max = options.accounts_remembered_max.saturating_mul(store.lanes());
        let notifier = Notifier::new(Arc::clone(&metrics));
        let acknowledged =
            Acknowledged::new(remembered_max, store.clock().clone(), Arc::clone(&metrics), notifier.clone());
        let sweeps = acknowledged.clone().sweep_each_epoch(Arc::clone(&store));
        sequencers.spawn(stop.clone().run_until_cancelled_owned(sweeps));
        let lanes = (0..store.lanes())
            .map(|_| {
                let (lane, driver) =
                    Lane::new(options.queue_commands_max, Arc::clone(&metrics), |commands| {
                        let (store, metrics) = (Arc::clone(&store), Arc::clone(&metrics));
                        let committer = Committer { store, metrics, options: options.clone() };
                        let sequencer = Sequencer::new(committer, commands, acknowledged.clone());
                        let failed = failed.clone();
                        async move {
                            // Dropped, and so set off, if the sequencer panics.
                            let guard = failed.drop_guard();
                            sequencer.run().await;
                            guard.disarm();
                        }
                    });
                sequencers.spawn(driver);
                lane
            })
            .collect();
        sequencers.close();
        Self { store, metrics, lanes, acknowledged, notifier, stop, failed, sequencers }
    }

    /// Carries a command out, once for each request id.
    ///
    /// Dropping the future does not take the command back.
    ///
    /// # Errors
    /// [`Error`]: a rejection is an outcome too, and comes back for a repeated request.
    pub async fn execute(&self, request: Request) -> Result<Executed, Error> {
        let Request { access, command, request_id, deadline, alone } = request;
        self.clock().require_accurate()?;
        let lane = self.lane(&command);
        let (reply, outcome) = oneshot::channel();
        let operation = Operation { access, command, request_id };
        let submission = Submission::new(operation, deadline, ReplyTo::Caller(reply));
        let request_id = submission.key.request_id.clone();
        lane.push([submission], alone)?;
        match timeout_at(deadline, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(sequencer_gone(request_id)),
            Err(_) => Err(Error::DeadlineExceeded { request_id }),
        }
    }

    /// Carries out commands that are asked for together, each once for its request id, and answers for
    /// each, in order.
    ///
    /// In an atomic batch, which must not be empty, an operation that fails answers why, and all others
    /// [`Error::BatchAborted`]. A request id that is used twice on one account fails as [`Error::RequestIdRepeated`].
    /// A rejection is the outcome of the operation that was refused, so a repeated batch is refused for the same
    /// reason; the request ids of the others stay unused.
    ///
    /// Dropping the future does not take the commands back.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::ClockOff`] or [`Error::ShuttingDown`], if nothing was queued.
    pub async fn execute_batch(&self, batch: Batch) -> Result<BatchResults, Error> {
        let Batch { operations, atomic, deadline } = batch;
        let Some(last) = operations.len().checked_sub(1) else { return Ok(Vec::new()) };
        self.clock().require_accurate()?;
        let (collector, waiter) = Collector::new(operations.len());
        let mut submissions = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            let reply = ReplyTo::Batch { results: Arc::clone(&collector), index };
            let mut submission = Submission::new(operation, deadline, reply);
            submission.linked = atomic && index < last;
            submissions.push(submission);
        }
        drop(collector);
        if atomic {
            let keys = submissions.iter().map(|submission| &submission.key).enumerate();
            let named = keys.map(|(place, key)| (place, &key.account_id, &key.request_id));
            if let Some((place, error)) = repetition(named) {
                return Ok(aborted(submissions.len(), place, error));
            }
        }
        let request_ids: Vec<_> = submissions.iter().map(|it| it.key.request_id.clone()).collect();
        self.lane(&submissions[0].command).push(submissions, false)?;
        let (outcomes, is_late) = waiter.wait(deadline).await;
        let outcomes = outcomes.into_iter().zip(request_ids);
        Ok(outcomes
            .map(|(outcome, request_id)| match outcome {
                Some(outcome) => outcome,
                None if is_late => Err(Error::DeadlineExceeded { request_id }),
                None => Err(sequencer_gone(request_id)),
            })
            .collect())
    }

    /// What [`Ledger::execute`] would answer now, if its request id were not used yet. Writes nothing.
    ///
    /// # Errors
    /// [`Error`], as [`Ledger::execute`] would give it.
    pub async fn preview(&self, request: Request) -> Result<Executed, Error> {
        let Request { access, command, request_id, deadline, .. } = request;
        let operations = vec![Operation { access, command, request_id }];
        let batch = Batch { operations, atomic: false, deadline };
        let mut results = self.preview_batch(batch, &mut DryRun::default()).await?;
        results.pop().unwrap_or_else(|| unreachable!("there is a result for each operation"))
    }

    /// What [`Ledger::execute_batch`] would answer after the batches that a dry run has seen, if nobody else used
    /// its accounts, and if no other request ids were used yet. Writes nothing.
    ///
    /// # Errors
    /// [`Error`], if the accounts cannot be read in time.
    pub async fn preview_batch(&self, batch: Batch, dry_run: &mut DryRun) -> Result<BatchResults, Error> {
        dry_run.next(&*self.store, batch).await
    }

    fn lane(&self, command: &Command) -> &Lane {
        &self.lanes[self.store.lane(command.account_id()) % self.lanes.len()]
    }

    /// What is counted and measured.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the bank goes by for the time.
    pub fn clock(&self) -> &Timekeeper {
        self.store.clock()
    }

    /// The store, to read from. What is acknowledged can be read there.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where each account that was written to is published.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// What of that which this server has acknowledged it knows to be lost.
    pub fn lost_writes(&self) -> LostWrites {
        self.acknowledged.lost()
    }

    /// Waits until a sequencer has failed, which none should: its lane takes no commands any more.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Takes no more commands, and waits until those that were queued are finished.
    pub async fn drain(&self) {
        self.stop.cancel();
        for lane in &*self.lanes {
            lane.close();
        }
        self.sequencers.wait().await;
    }
}

/// Decides a command on the accounts as its caller may see them. What is concealed is refused by the
/// rule for what does not exist.
fn decide<'a>(
    access: &Access,
    account: impl Fn(&AccountId) -> Option<&'a Account>,
    command: &Command,
    context: &Context,
) -> Result<Plan, Rejection> {
    let seen = |id: &AccountId| {
        if id == command.account_id() {
            access.primary(account(id))
        } else {
            access.counterparty(account(id))
        }
    };
    bank_domain::decide(seen, command, context)
}

fn sequencer_gone(request_id: RequestId) -> Error {
    Error::OutcomeUnknown { request_id, reason: "its sequencer is gone".to_owned() }
}

/// The second of two operations of an atomic batch that have one request id, and the error that says so. They cannot
/// both be carried out and be one request.
fn repetition<'a>(
    mut named: impl Iterator<Item = (usize, &'a AccountId, &'a RequestId)>,
) -> Option<(usize, Error)> {
    let mut places = HashMap::new();
    named.find_map(|(second, account_id, request_id)| {
        let first = places.insert((account_id, request_id), second)?;
        let (account_id, request_id) = (account_id.clone(), request_id.clone());
        Some((second, Error::RequestIdRepeated { request_id, account_id, first, second }))
    })
}

/// The results of an atomic batch of which one operation has failed.
fn aborted(count: usize, failed_operation: usize, error: Error) -> BatchResults {
    let mut results: BatchResults =
        (0..count).map(|_| Err(Error::BatchAborted { failed_operation })).collect();
    results[failed_operation] = Err(error);
    results
}
