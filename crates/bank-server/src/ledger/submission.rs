//! A command on its way through its lane, and the way back to who asked for it.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bank_domain::{Command, Fingerprint, RequestId};
use bank_store::{Caller, RequestKey};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tracing::Span;
use uuid::Uuid;

use super::{Error, Executed, Operation};
use crate::{
    auth::{Access, Extent},
    metrics::{CommandOutcome, Metrics},
    telemetry::{TRACES, traced},
};

/// A command in the queue of its lane, or in work.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) access: Access,
    pub(super) command: Command,
    pub(super) key: RequestKey,
    /// What it means: worked out here rather than by the one sequencer of its lane.
    pub(super) fingerprint: Fingerprint,
    /// Whether the caller chose the request id, and so can ask again.
    pub(super) named: bool,
    /// Whether it stands or falls with the one after it.
    pub(super) linked: bool,
    pub(super) queued_at: Instant,
    pub(super) deadline: Instant,
    /// How far it reaches, once its accounts are known.
    pub(super) extent: Extent,
    pub(super) reply: ReplyTo,
    /// The call that it is of.
    pub(super) span: Span,
    /// That it waits. It ends when the command is taken.
    waiting: Span,
}

/// Who waits for the outcome.
#[derive(Debug)]
pub(super) enum ReplyTo {
    /// A call for this command alone.
    Caller(oneshot::Sender<Result<Executed, Error>>),
    /// A call for many.
    Batch {
        /// Where the outcomes of all are put.
        results: Arc<Collector>,
        /// Which of them it is.
        index: usize,
    },
}

/// Where the commands of a batch put their outcomes, in whatever order they come.
///
/// Only commands hold it, and never who waits: so it ends with the last of them, and with it the wait, whether
/// all were answered or the sequencer is gone.
#[derive(Debug)]
pub(super) struct Collector {
    outcomes: Arc<Mutex<Outcomes>>,
    _open: oneshot::Sender<Infallible>,
}

/// The wait for the outcomes of a batch.
#[derive(Debug)]
pub(super) struct Waiter {
    outcomes: Arc<Mutex<Outcomes>>,
    closed: oneshot::Receiver<Infallible>,
}

/// One for each command; none where there is no outcome yet.
type Outcomes = Vec<Option<Result<Executed, Error>>>;

impl Collector {
    /// One for so many outcomes, and the wait for them.
    pub(super) fn new(count: usize) -> (Arc<Self>, Waiter) {
        let (open, closed) = oneshot::channel();
        let outcomes = Arc::new(Mutex::new(vec![None; count]));
        (Arc::new(Self { outcomes: Arc::clone(&outcomes), _open: open }), Waiter { outcomes, closed })
    }

    fn put(&self, index: usize, result: Result<Executed, Error>) {
        // There is no place any more once the caller has left.
        if let Some(place) = lock(&self.outcomes).get_mut(index) {
            *place = Some(result);
        }
    }
}

impl Waiter {
    /// Waits until no command can be answered any more, at most until the deadline: what is there then, and
    /// whether the deadline has passed.
    pub(super) async fn wait(self, deadline: Instant) -> (Outcomes, bool) {
        let is_late = timeout_at(deadline, self.closed).await.is_err();
        (std::mem::take(&mut *lock(&self.outcomes)), is_late)
    }
}

fn lock(outcomes: &Mutex<Outcomes>) -> MutexGuard<'_, Outcomes> {
    // Nothing panics while it is held.
    outcomes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Submission {
    pub(super) fn new(operation: Operation, deadline: Instant, reply: ReplyTo) -> Self {
        let Operation { access, command, request_id } = operation;
        // A request that its caller did not name gets a name all the same: its commit may have to
        // be sent again.
        let named = request_id.is_some();
        let request_id = request_id.unwrap_or_else(fresh_request_id);
        let caller = Caller::new(access.caller().subject().as_str());
        let key = RequestKey { caller, account_id: command.account_id().clone(), request_id };
        let span = traced(Span::current);
        let waiting = traced(|| tracing::info_span!(target: TRACES, parent: &span, "queue"));
        Self {
            fingerprint: command.fingerprint(),
            access,
            command,
            key,
            named,
            linked: false,
            queued_at: Instant::now(),
            deadline,
            extent: Extent::Unknown,
            reply,
            span,
            waiting,
        }
    }

    /// It is out of the queue.
    pub(super) fn taken(&mut self, metrics: &Metrics, now: Instant) {
        self.waiting = Span::none();
        metrics.command_taken(now.saturating_duration_since(self.queued_at));
    }

    pub(super) fn answer(self, metrics: &Metrics, result: Result<Executed, Error>) {
        metrics.command_ended(outcome_of(&result));
        match self.reply {
            // An error means that the caller is gone. The outcome stands all the same.
            ReplyTo::Caller(reply) => drop(reply.send(result)),
            ReplyTo::Batch { results, index } => results.put(index, result),
        }
    }
}

/// How a result counts in the metrics.
fn outcome_of(result: &Result<Executed, Error>) -> CommandOutcome {
    match result {
        Ok(Executed { replayed: true, .. }) | Err(Error::Rejected { replayed: true, .. }) => {
            CommandOutcome::Replayed
        }
        Ok(Executed { replayed: false, .. }) => CommandOutcome::Applied,
        Err(Error::Rejected { replayed: false, .. }) => CommandOutcome::Rejected,
        Err(Error::OutcomeUnknown { .. }) => CommandOutcome::Unknown,
        Err(
            Error::RequestIdReused { .. }
            | Error::RequestIdRepeated { .. }
            | Error::PartlyExecuted { .. }
            | Error::BatchAborted { .. }
            | Error::QueueFull { .. }
            | Error::DeadlineExceeded { .. }
            | Error::ClockOff(_)
            | Error::ShuttingDown
            | Error::Store(_),
        ) => CommandOutcome::Failed,
    }
}

/// Answers a chain of which one has failed.
pub(super) fn abort(chain: Vec<Submission>, failed: usize, error: Error, metrics: &Metrics) {
    let mut error = Some(error);
    for (index, submission) in chain.into_iter().enumerate() {
        let aborted = Error::BatchAborted { failed_operation: failed };
        let error = if index == failed { error.take() } else { None };
        submission.answer(metrics, Err(error.unwrap_or(aborted)));
    }
}

pub(super) fn fresh_request_id() -> RequestId {
    Uuid::new_v4().to_string().parse().unwrap_or_else(|_| unreachable!("a UUID is visible ASCII"))
}
