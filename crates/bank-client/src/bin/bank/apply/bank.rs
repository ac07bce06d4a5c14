//! The bank and its answers, as a run needs them.

use std::time::Duration;

use bank_client::{AccountId, BriefReceipt, Done, EntryKind, Error, Money, RequestId, Results, Timestamp};

use super::{
    instruction::entry_kind,
    journal::{Caller, Cause, Pending, Sent, State},
    lines::Line,
    plan::Step,
};

/// How much earlier than its sending an entry may be dated. Clocks differ by far less.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_hours(24);

pub(super) trait Bank {
    fn now(&self) -> Now;
    /// Whether the user has asked to stop the run.
    fn is_interrupted(&self) -> bool;
    /// Sends the lines, all or none if `atomic`. An error means that none of them was carried out.
    async fn send(&self, batch: &[(&Line, &RequestId)], atomic: bool) -> Result<Results, Error>;
    /// Looks for the entry that an operation has made.
    async fn look_up(&self, wanted: &Wanted<'_>) -> Result<Option<BriefReceipt>, Error>;
    /// Called with the number of lines that have been settled since the last call.
    fn progress(&self, lines: usize);
}

/// The time by two clocks. Neither is trusted alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// By the clock of this machine.
    pub(super) here: Timestamp,
    /// By the clock of the bank.
    pub(super) bank: Timestamp,
}

/// An entry to look for in the history of an account.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) account_id: &'a AccountId,
    pub(super) request_id: &'a RequestId,
    pub(super) kind: Option<EntryKind>,
    /// If known.
    pub(super) amount: Option<Money>,
    pub(super) counterparty: Option<&'a AccountId>,
    /// The earliest time that it can have.
    pub(super) since: Timestamp,
}

impl<'a> Wanted<'a> {
    /// The entry of a request that was sent.
    pub(super) fn of(
        account_id: &'a AccountId,
        request_id: &'a RequestId,
        operation: &str,
        pending: &Pending,
    ) -> Self {
        let Sent { time, bank_time, .. } = &pending.sent;
        let difference = i64::try_from(CLOCK_DIFFERENCE_MAX.as_millis()).unwrap_or(i64::MAX);
        let since = time.min(bank_time).unix_ms().saturating_sub(difference);
        Self {
            account_id,
            request_id,
            kind: entry_kind(operation),
            amount: None,
            counterparty: None,
            since: Timestamp::try_from_unix_ms(since).unwrap_or(Timestamp::MIN),
        }
    }

    /// The entry of a line that was sent.
    pub(super) fn of_line(line: &'a Line, request_id: &'a RequestId, pending: &Pending) -> Self {
        let instruction = &line.instruction;
        let (amount, counterparty) = instruction.entry();
        let wanted = Self::of(&instruction.account_id, request_id, instruction.name, pending);
        Self { amount, counterparty, ..wanted }
    }
}

/// For how long a sent request matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// How long the bank keeps request ids.
    pub(super) retention: Duration,
    /// How much sooner an id counts as forgotten, since batches take time and clocks differ.
    pub(super) margin: Duration,
    /// After this time, a request no longer takes effect.
    pub(super) in_flight_max: Duration,
}

impl Window {
    /// Whether the bank certainly still knows the outcome of a request, if it has received it.
    pub(super) fn remembers(&self, sent: &Sent, now: Now) -> bool {
        let Some((shortest, longest)) = since(sent, now) else { return false };
        let kept = Duration::from_secs(sent.retention_seconds).min(self.retention);
        shortest <= longest && longest.saturating_add(self.margin) < kept
    }

    /// Whether a request can no longer be in flight.
    pub(super) fn is_over(&self, sent: &Sent, now: Now) -> bool {
        since(sent, now).is_some_and(|(shortest, _)| shortest > self.in_flight_max)
    }

    /// The caller of lines that another caller has sent and that may still be in flight.
    pub(super) fn other_caller(
        &self,
        steps: &[Step],
        caller: Option<&Caller>,
        now: Now,
    ) -> Option<Option<Caller>> {
        steps.iter().find_map(|step| match &step.state {
            State::Pending(Pending { sent, .. })
                if sent.caller.as_ref() != caller && !self.is_over(sent, now) =>
            {
                Some(sent.caller.clone())
            }
            _ => None,
        })
    }
}

/// The shorter and the longer time since a request was sent, of both clocks. None if a clock was set back since.
fn since(sent: &Sent, now: Now) -> Option<(Duration, Duration)> {
    let elapsed = |from: Timestamp, to: Timestamp| {
        u64::try_from(to.unix_ms().checked_sub(from.unix_ms())?).ok().map(Duration::from_millis)
    };
    let (here, bank) = (elapsed(sent.time, now.here)?, elapsed(sent.bank_time, now.bank)?);
    Some((here.min(bank), here.max(bank)))
}

/// What the bank's answer says about a line.
#[derive(Debug)]
pub(super) enum Answer {
    Applied(BriefReceipt),
    /// The bank has rejected it, and remembers that under the request id.
    Rejected(Cause),
    /// The bank has refused it before it looked at the request id.
    Refused(Cause),
    /// It was not carried out; the batch may say why.
    NotApplied(Option<Cause>),
    /// The batch is malformed, and nothing of it was done. Another server may have taken it.
    Malformed,
    /// It may have been carried out.
    Unknown(Cause),
}

/// The answer to each line of a batch, and the error of the batch, if any.
pub(super) fn answers(
    results: Result<Results, Error>,
    lines: &[Line],
    batch: &[usize],
) -> (Vec<Answer>, Option<Error>) {
    let all = |answer: &dyn Fn() -> Answer| batch.iter().map(|_| answer()).collect();
    match results {
        Ok(results) if results.len() == batch.len() => (each(results, lines, batch), None),
        Ok(results) => {
            let message = format!("{} results of {} operations", results.len(), batch.len());
            let invalid = Cause { reason: "INVALID_REPLY".to_owned(), message };
            (all(&|| Answer::Unknown(invalid.clone())), None)
        }
        Err(error) if error.is_rejection() => (all(&|| Answer::Malformed), Some(error)),
        Err(error) => (all(&|| Answer::NotApplied(None)), Some(error)),
    }
}

fn each(results: Results, lines: &[Line], batch: &[usize]) -> Vec<Answer> {
    // The others of an atomic batch have the answer of the one that failed.
    let aborted_by = results.iter().find_map(|result| match result {
        Err(Error::BatchAborted { failed_operation }) => results.get(*failed_operation)?.as_ref().err(),
        _ => None,
    });
    let failed = aborted_by.map(answer);
    let answer_to = |result: Result<Done, Error>| match (result, failed) {
        (Ok(done), _) => Answer::Applied(done.brief()),
        (Err(error @ Error::BatchAborted { .. }), Some(failed)) => failed(rejection(&error, lines, batch)),
        (Err(error), _) => answer(&error)(rejection(&error, lines, batch)),
    };
    results.into_iter().map(answer_to).collect()
}

/// Why a line of a batch failed. The operation that an atomic batch failed with is named by its line.
pub(super) fn rejection(error: &Error, lines: &[Line], batch: &[usize]) -> Cause {
    let mut rejection = Cause::of(error);
    if let Error::BatchAborted { failed_operation } = error
        && let Some(&failed) = batch.get(*failed_operation)
    {
        rejection.message = format!("line {} of the same atomic batch failed", lines[failed].number);
    }
    rejection
}

/// The answer that an error is. Whatever is not certain is unknown.
fn answer(error: &Error) -> fn(Cause) -> Answer {
    match error {
        // Another request was carried out or rejected under the id, as far as the bank knows.
        Error::RequestIdReused { .. }
        | Error::InvalidArgument { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. } => Answer::Refused,
        Error::Overloaded { .. } | Error::Unavailable { .. } => |error| Answer::NotApplied(Some(error)),
        // This says that the line was carried out before, and does not decide it.
        Error::PartlyExecuted { .. } => Answer::Unknown,
        error if error.is_rejection() => Answer::Rejected,
        _ => Answer::Unknown,
    }
}

/// The error of a batch, with lines instead of operations.
pub(super) fn by_line(mut error: Error, lines: &[Line], sent: &[usize]) -> Error {
    if let Error::InvalidArgument { violations, .. } = &mut error {
        for violation in violations {
            let named = violation.field.strip_prefix("operations[").and_then(|rest| rest.split_once(']'));
            let line = named.and_then(|(index, _)| sent.get(index.parse::<usize>().ok()?));
            if let (Some((_, field)), Some(&line)) = (named, line) {
                violation.field = format!("line {}{field}", lines[line].number);
            }
        }
    }
    error
}
