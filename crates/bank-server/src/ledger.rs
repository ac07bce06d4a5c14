//! The ledger: where commands take effect, one after another.
//!
//! Every account is on a lane of the store, and every lane has one sequencer. A command is queued on the lane of the
//! account that it names first, decided by the rules of `bank-domain` on the accounts that the sequencer has cached, and
//! committed by compare-and-set. A sequencer never waits to fill a batch: it takes what was queued during the last commit. With
//! many commands waiting, it decides the next batch on what the commit in flight will leave, and sends it behind that.
//!
//! A queued command belongs to the sequencer. It is finished even if its caller leaves; only a command whose deadline
//! passes before it is decided is dropped undone.

mod accounts;
mod acknowledged;
mod commit;
mod dry_run;
mod error;
mod lane;
mod lanes;
mod operation;
mod options;
mod propose;
mod sequencer;
mod settle;
mod submission;
mod sync;

use std::sync::Arc;

use bank_domain::{Command, RequestId};
use bank_store::{Store, clock::Timekeeper};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    acknowledged::Acknowledged,
    commit::Committer,
    lane::Lane,
    operation::{aborted, find_apart, find_repeated},
    sequencer::Sequencer,
    submission::Submission,
};
pub use self::{
    acknowledged::LostWrites,
    dry_run::DryRun,
    error::Error,
    operation::{BatchResults, Executed, Operation},
    options::LedgerOptions,
};
use crate::{metrics::Metrics, notifier::Notifier};

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
        let accounts_max = options.accounts_remembered_max.saturating_mul(store.lanes());
        let notifier = Notifier::new(Arc::clone(&metrics));
        let acknowledged =
            Acknowledged::new(accounts_max, store.clock().clone(), Arc::clone(&metrics), notifier.clone());
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
                            // Cancels `failed` if it is dropped, which it is if the sequencer panics.
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

    /// Carries a command out, once for each request id. With `inline`, which is for a caller without other calls in
    /// flight, the sequencer may run in the caller's task.
    ///
    /// Dropping the future does not take the command back.
    ///
    /// # Errors
    /// [`Error`]. A rejection is an outcome too, and is replayed for a repeated request.
    pub async fn execute(
        &self,
        operation: Operation,
        deadline: Instant,
        inline: bool,
    ) -> Result<Executed, Error> {
        self.clock().require_accurate()?;
        if let Some((_, error)) = find_apart(&*self.store, [&operation.command].into_iter()) {
            return Err(error);
        }
        let lane = self.lane(&operation.command);
        let (reply, outcome) = oneshot::channel();
        let submission = Submission::new(operation, deadline, reply);
        let request_id = submission.key.request_id.clone();
        lane.push([submission], inline)?;
        let outcome = timeout_at(deadline, outcome).await.map_or(Err(TryRecvError::Empty), |outcome| {
            // The sequencer has dropped the command.
            outcome.map_err(|_| TryRecvError::Closed)
        });
        result_of(outcome, request_id)
    }

    /// Carries out commands in order, each once for its request id, and returns the outcome of each.
    ///
    /// In an atomic batch an operation that fails says why, and all others are [`Error::BatchAborted`]. A request id that
    /// is used twice on one account fails as [`Error::RequestIdRepeated`]. A rejection is the outcome of its operation, so a
    /// repeated batch is rejected for the same reason; the request ids of the other operations stay unused.
    ///
    /// Dropping the future does not take the commands back.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::ClockOff`] or [`Error::ShuttingDown`], if nothing was queued. With several lanes, a full
    /// one is the error of its operations only.
    pub async fn execute_batch(
        &self,
        operations: Vec<Operation>,
        atomic: bool,
        deadline: Instant,
    ) -> Result<BatchResults, Error> {
        let Some(last) = operations.len().checked_sub(1) else { return Ok(Vec::new()) };
        self.clock().require_accurate()?;
        if atomic {
            let commands = operations.iter().map(|operation| &operation.command);
            if let Some((index, error)) = find_apart(&*self.store, commands) {
                return Ok(aborted(operations.len(), index, error));
            }
        }
        let mut submissions = Vec::with_capacity(operations.len());
        let mut outcomes = Vec::with_capacity(operations.len());
        let mut request_ids = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            let (reply, outcome) = oneshot::channel();
            let mut submission = Submission::new(operation, deadline, reply);
            outcomes.push((outcome, None));
            request_ids.push(submission.key.request_id.clone());
            if let Some((_, error)) = find_apart(&*self.store, [&submission.command].into_iter()) {
                submission.answer(&self.metrics, Err(error));
                continue;
            }
            submission.linked = atomic && index < last;
            submissions.push(submission);
        }
        if atomic {
            let keys = submissions.iter().map(|submission| &submission.key).enumerate();
            let requests = keys.map(|(index, key)| (index, &key.account_id, &key.request_id));
            if let Some((index, error)) = find_repeated(requests) {
                return Ok(aborted(submissions.len(), index, error));
            }
        }
        match submissions.first() {
            Some(first) if atomic || self.lanes.len() == 1 => {
                self.lane(&first.command).push(submissions, false)?;
            }
            _ => self.push_to_lanes(submissions),
        }
        let all = async {
            // The last is usually the last to be answered, so this task is woken once.
            for (outcome, result) in outcomes.iter_mut().rev() {
                *result = Some(outcome.await.map_err(|_| TryRecvError::Closed));
            }
        };
        // Those that are answered when the deadline passes are returned.
        let _ = timeout_at(deadline, all).await;
        let results = outcomes.into_iter().zip(request_ids).map(|((mut outcome, result), request_id)| {
            result_of(result.unwrap_or_else(|| outcome.try_recv()), request_id)
        });
        Ok(results.collect())
    }

    /// Returns what [`Ledger::execute_batch`] would return after the batches that `dry_run` has seen, if nobody else used its
    /// accounts, and if its request ids were new. Writes nothing.
    ///
    /// # Errors
    /// [`Error`], if the accounts cannot be read in time.
    pub async fn preview_batch(
        &self,
        operations: &[Operation],
        atomic: bool,
        deadline: Instant,
        dry_run: &mut DryRun,
    ) -> Result<BatchResults, Error> {
        dry_run.next(&*self.store, operations, atomic, deadline).await
    }

    /// Returns what [`Ledger::execute`] would return for a new request id. Writes nothing.
    ///
    /// # Errors
    /// [`Error`], as from [`Ledger::execute`].
    pub async fn preview(&self, operation: Operation, deadline: Instant) -> Result<Executed, Error> {
        let mut results = self.preview_batch(&[operation], false, deadline, &mut DryRun::default()).await?;
        results.pop().unwrap_or_else(|| unreachable!("there is a result for each operation"))
    }

    fn lane(&self, command: &Command) -> &Lane {
        &self.lanes[self.lane_number(command)]
    }

    fn lane_number(&self, command: &Command) -> usize {
        self.store.lane(command.account_id()) % self.lanes.len()
    }

    /// Queues the commands of a batch, each on its lane.
    fn push_to_lanes(&self, submissions: Vec<Submission>) {
        let commands: Vec<_> = submissions.iter().map(|submission| &submission.command).collect();
        let divided = lanes::divide(&commands, |command| self.lane_number(command));
        let mut submissions: Vec<_> = submissions.into_iter().map(Some).collect();
        for (lane, places) in divided {
            let commands: Vec<_> = places.into_iter().filter_map(|place| submissions[place].take()).collect();
            let mut commands = commands.into_iter();
            // It takes all or none.
            if let Err(error) = self.lanes[lane].push(commands.by_ref(), false) {
                commands.for_each(|submission| submission.answer(&self.metrics, Err(error.clone())));
            }
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The clock that dates entries.
    pub fn clock(&self) -> &Timekeeper {
        self.store.clock()
    }

    /// The store, for reads. Every acknowledged write is visible there.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Notifies watches of each account that was written to.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// The writes that this server acknowledged and that are known to be lost.
    pub fn lost_writes(&self) -> LostWrites {
        self.acknowledged.lost()
    }

    /// Waits until a sequencer has panicked, which is a bug. Its lane accepts no more commands.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Accepts no more commands, and waits until the queued ones are finished.
    pub async fn drain(&self) {
        self.stop.cancel();
        for lane in &*self.lanes {
            lane.close();
        }
        self.sequencers.wait().await;
    }
}

/// The result of a command, or what its absence means.
fn result_of(
    outcome: Result<Result<Executed, Error>, TryRecvError>,
    request_id: RequestId,
) -> Result<Executed, Error> {
    outcome.unwrap_or_else(|missing| {
        Err(match missing {
            TryRecvError::Empty => Error::DeadlineExceeded { request_id },
            TryRecvError::Closed => {
                Error::OutcomeUnknown { request_id, reason: "its sequencer is gone".to_owned() }
            }
        })
    })
}
