//! A command on its way through its lane, and the way back to its caller.

use bank_domain::{Command, Fingerprint};
use bank_store::{Caller, RequestKey};
use tokio::{sync::oneshot, time::Instant};
use tracing::Span;

use super::{
    error::Error,
    operation::{Executed, Operation, new_request_id},
};
use crate::{
    auth::Access,
    metrics::{CommandOutcome, Metrics},
    telemetry::{TRACES, traced},
};

/// A command that is queued or in progress.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) access: Access,
    pub(super) command: Command,
    pub(super) key: RequestKey,
    /// Calculated by the caller, so that the sequencer has less to do.
    pub(super) fingerprint: Fingerprint,
    /// Whether the caller chose the request id, and so can repeat the request.
    pub(super) named: bool,
    /// Whether the next command belongs to the same atomic batch.
    pub(super) linked: bool,
    pub(super) queued_at: Instant,
    pub(super) deadline: Instant,
    pub(super) reply: ReplyTo,
    /// The span of its call.
    pub(super) span: Span,
    /// The time in the queue.
    waiting: Span,
}

/// Where the outcome of a command goes.
pub(super) type ReplyTo = oneshot::Sender<Result<Executed, Error>>;

impl Submission {
    pub(super) fn new(operation: Operation, deadline: Instant, reply: ReplyTo) -> Self {
        let Operation { access, command, request_id } = operation;
        let named = request_id.is_some();
        // A request without an id gets one: its commit may have to be sent again.
        let request_id = request_id.unwrap_or_else(new_request_id);
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
            reply,
            span,
            waiting,
        }
    }

    /// Ends the time in the queue.
    pub(super) fn dequeued(&mut self, metrics: &Metrics, now: Instant) {
        self.waiting = Span::none();
        metrics.command_taken(now.saturating_duration_since(self.queued_at));
    }

    pub(super) fn answer(self, metrics: &Metrics, result: Result<Executed, Error>) {
        metrics.command_ended(outcome_of(&result));
        // Fails if the caller has left. The outcome stands all the same.
        drop(self.reply.send(result));
    }
}

/// How a result counts in the metrics.
fn outcome_of(result: &Result<Executed, Error>) -> CommandOutcome {
    match result {
        Ok(Executed { replayed: true, .. }) | Err(Error::Rejected { replayed: true, .. }) => {
            CommandOutcome::Replayed
        }
        Ok(_) => CommandOutcome::Applied,
        Err(Error::Rejected { .. }) => CommandOutcome::Rejected,
        Err(Error::OutcomeUnknown { .. }) => CommandOutcome::Unknown,
        Err(
            Error::RequestIdReused { .. }
            | Error::RequestIdRepeated { .. }
            | Error::PartlyExecuted { .. }
            | Error::AccountsNotTogether { .. }
            | Error::BatchAborted { .. }
            | Error::QueueFull { .. }
            | Error::DeadlineExceeded { .. }
            | Error::ClockOff(_)
            | Error::ShuttingDown
            | Error::Store(_),
        ) => CommandOutcome::Failed,
    }
}

/// Answers an atomic batch of which one command failed.
pub(super) fn abort(
    chain: impl IntoIterator<Item = Submission>,
    failed_operation: usize,
    error: Error,
    metrics: &Metrics,
) {
    let mut error = Some(error);
    for (index, submission) in chain.into_iter().enumerate() {
        let error = if index == failed_operation { error.take() } else { None };
        submission.answer(metrics, Err(error.unwrap_or(Error::BatchAborted { failed_operation })));
    }
}
