//! Carries out a plan, batch after batch, so that no line is carried out twice whatever happens in between.
//!
//! Why that is so, for one line under one request id:
//!
//! * Its id is on the disk before it is sent, so a line that is not in the results file was not sent.
//! * A line that was sent and has no result is sent again under the same id while the bank certainly remembers that id:
//!   it gives the first outcome again. Which time counts is that of the first sending.
//! * When the bank may have forgotten the id, its history is asked, which it never forgets: an entry has the request id
//!   that it was made with. If the entry is there, the line was applied. If not, the line is sent under the same id:
//!   whatever of the first sending is still on its way takes effect after that look, so the bank remembers it.
//! * A new id is given to a line only after the bank's own rejection was recorded for the old one. A rejection that the
//!   bank makes before it looks at the id is none for a line that may have been sent before.
//! * Of identical lines of which some were removed, those that were applied are the ones that stay. So what became of
//!   the removed ones is found out before the plan is final.

mod answer;
mod settle;

use std::{collections::BTreeMap, io};

use bank_client::{AccountId, EntryKind, Error, Money, RequestId, Results, Timestamp};
use serde_json::json;

pub(super) use self::{
    answer::rejection,
    settle::{Window, sent_by_another, wanted},
};
use self::{
    answer::{Answer, answers},
    settle::Settled,
};
use super::{
    journal::{Caller, Disk, History, Record, Rejection, Sending, Sent, SentLine, Status, StoredResult},
    lines::{Line, Problems},
    plan::{self, Action, BatchSize, Step},
};
use crate::json;

/// How many rejections are told one by one.
const REJECTIONS_TOLD_MAX: usize = 20;

/// A bank, as a run needs it.
pub(super) trait Bank {
    /// The time now.
    fn now(&self) -> Now;
    /// Whether the user wants the run to end.
    fn is_to_stop(&self) -> bool;
    /// Sends the lines, all or none if `atomic`. An error if nothing of them was done.
    async fn send(&self, batch: &[(&Line, &RequestId)], atomic: bool) -> Result<Results, Error>;
    /// The entry that an operation has left, if there is one.
    async fn look_up(&self, wanted: &Wanted<'_>) -> Result<Option<Found>, Error>;
    /// Is told how many more lines are settled.
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
    /// If it is known.
    pub(super) amount: Option<Money>,
    pub(super) counterparty: Option<&'a AccountId>,
    /// It is not older than this.
    pub(super) since: Timestamp,
}

/// An entry that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) transaction_id: String,
    pub(super) amount: Money,
    pub(super) balance: Money,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    #[default]
    NotAttempted,
    Applied,
    AlreadyApplied,
    Rejected,
    /// By an earlier run.
    StaysRejected,
    Unknown,
}

/// What a run has come to.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// One for each line.
    pub(super) outcomes: Vec<Outcome>,
    /// How many lines were rejected, or are unknown or not carried out for now, by reason.
    pub(super) reasons: BTreeMap<String, u64>,
    /// The first rejections: the index of the line, and why.
    pub(super) rejections: Vec<(usize, Rejection)>,
    /// The lines whose results are not in the results file though the bank has given them, by index.
    pub(super) unrecorded: Vec<usize>,
    /// How many lines were applied that are not in the file any more.
    pub(super) removed_applied: u64,
    /// How many lines were sent that are not in the file any more, and may still take effect.
    pub(super) removed_unknown: u64,
    /// Why it ended before its end.
    pub(super) stop: Option<Stop>,
}

/// Why a run ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bank failed, or nothing of a batch was done.
    Bank(Error),
    /// Results cannot be recorded.
    Results(io::Error),
    /// The user wants it.
    Interrupted,
    /// A line failed for now, or it is not known what became of it; what comes after it must not overtake it.
    Unsettled,
    /// Lines were sent by somebody else, and it cannot be known yet what became of them.
    OtherCaller(Option<Caller>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Bank(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Results(error)
    }
}

pub(super) struct Engine<'a, B, D> {
    pub(super) bank: &'a B,
    pub(super) disk: &'a mut D,
    pub(super) history: &'a mut History,
    pub(super) lines: &'a [Line],
    pub(super) batch: BatchSize,
    pub(super) atomic: bool,
    pub(super) caller: Option<Caller>,
    pub(super) window: Window,
    /// Empty at first.
    pub(super) report: Report,
}

impl<B: Bank, D: Disk> Engine<'_, B, D> {
    /// Makes a plan from the results file, and carries it out.
    ///
    /// # Errors
    /// What keeps the lines from being planned. Nothing was sent.
    pub(super) async fn run(
        mut self,
        plan: impl Fn(&History) -> Result<Vec<Step>, Problems>,
    ) -> Result<Report, Problems> {
        let mut steps = plan(self.history)?;
        let (removed, stop) = loop {
            let removed = plan::removed(self.lines, &steps, self.history);
            match self.settle_removed(&removed.pending).await {
                Ok(0) => break (removed, None),
                // One that was applied counts for an identical line, under whose id another one may have been sent.
                Ok(_) => steps = plan(self.history)?,
                Err(stop) => break (plan::removed(self.lines, &steps, self.history), Some(stop)),
            }
        };
        self.report = Report {
            removed_applied: removed.applied,
            removed_unknown: removed.pending.len() as u64,
            ..Report::begin(&steps)
        };
        self.report.stop = match stop {
            None => self.carry_out(&mut steps).await.err(),
            stop => stop,
        };
        Ok(self.report)
    }

    async fn carry_out(&mut self, steps: &mut [Step]) -> Result<(), Stop> {
        for batch in plan::batches(self.lines, steps, self.batch, self.atomic) {
            self.carry_out_batch(steps, &batch).await?;
        }
        Ok(())
    }

    async fn carry_out_batch(&mut self, steps: &mut [Step], open: &[usize]) -> Result<(), Stop> {
        if self.bank.is_to_stop() {
            return Err(Stop::Interrupted);
        }
        let mut unsent = Vec::with_capacity(open.len());
        for &index in open {
            if let Settled::Open = self.settle(index, &mut steps[index]).await? {
                unsent.push(index);
            }
        }
        if unsent.is_empty() {
            return Ok(());
        }
        if self.atomic && unsent.len() < open.len() {
            let problem =
                "some operations of an atomic batch were carried out, and others were not".to_owned();
            return Err(Error::InvalidReply { problem }.into());
        }
        self.record_sending(steps, &unsent)?;
        let batch: Vec<_> =
            unsent.iter().map(|&index| (&self.lines[index], &steps[index].request_id)).collect();
        let results = self.bank.send(&batch, self.atomic).await;
        let (answers, error) = answers(results, self.lines, &unsent);
        self.record(steps, &unsent, answers)?;
        self.bank.progress(unsent.len());
        if let Some(error) = error {
            return Err(by_line(error, self.lines, &unsent).into());
        }
        let is_settled =
            |&index: &usize| !matches!(self.report.outcomes[index], Outcome::Unknown | Outcome::NotAttempted);
        if unsent.iter().all(is_settled) { Ok(()) } else { Err(Stop::Unsettled) }
    }

    /// Writes down what is about to be sent.
    fn record_sending(&mut self, steps: &[Step], unsent: &[usize]) -> io::Result<()> {
        let Now { here, bank } = self.bank.now();
        let sent = Sent {
            time: here,
            bank_time: bank,
            retention_seconds: self.window.retention.as_secs(),
            caller: self.caller.clone(),
        };
        let lines = unsent.iter().map(|&index| {
            let Line { number, instruction, identity, .. } = &self.lines[index];
            SentLine {
                line: *number,
                account_id: instruction.account_id.clone(),
                request_id: steps[index].request_id.clone(),
                operation: instruction.name().to_owned(),
                content: identity.content_of_given(),
            }
        });
        let sending = Sending { sent, atomic: self.atomic, lines: lines.collect() };
        self.history.append(self.disk, vec![Record::Sending(sending)])
    }

    /// Takes the answers to lines into the report, and then into the results file.
    fn record(&mut self, steps: &[Step], unsent: &[usize], answers: Vec<Answer>) -> Result<(), Stop> {
        let mut records = Vec::with_capacity(unsent.len());
        let mut recorded = Vec::with_capacity(unsent.len());
        for (&index, answer) in unsent.iter().zip(answers) {
            // Only what the bank knows by its id says what became of a line that may have been sent before.
            let is_first = matches!(steps[index].action, Action::Send);
            let (outcome, status) = match &answer {
                Answer::Applied(done) if done.replayed() => (Outcome::AlreadyApplied, Some(Status::Applied)),
                Answer::Applied(_) => (Outcome::Applied, Some(Status::Applied)),
                Answer::Rejected(_) => (Outcome::Rejected, Some(Status::Rejected)),
                Answer::TurnedAway(_) if is_first => (Outcome::Rejected, Some(Status::Rejected)),
                Answer::Later(_) | Answer::NothingDone if is_first => {
                    (Outcome::NotAttempted, Some(Status::NotApplied))
                }
                Answer::Malformed if is_first => (Outcome::NotAttempted, None),
                _ => (Outcome::Unknown, None),
            };
            let (applied, error) = match answer {
                Answer::Applied(done) => {
                    let applied = json!({
                        "transaction_id": done.transaction_id().as_str(),
                        "amount": json::Money::from(done.amount()),
                        "balance": json::Money::from(done.balance()),
                        "replayed": done.replayed(),
                    });
                    (Some(applied), None)
                }
                Answer::Rejected(error)
                | Answer::TurnedAway(error)
                | Answer::Later(error)
                | Answer::Unknown(error) => (None, Some(error)),
                Answer::NothingDone | Answer::Malformed => (None, None),
            };
            match (outcome, &error) {
                (Outcome::Rejected, Some(error)) => self.report.reject(index, error.clone(), outcome),
                (_, error) => {
                    self.report.outcomes[index] = outcome;
                    if let Some(error) = error {
                        *self.report.reasons.entry(error.reason.clone()).or_default() += 1;
                    }
                }
            }
            if let Some(status) = status {
                records.push(self.result(index, &steps[index].request_id, status, error, applied));
                recorded.push(index);
            }
        }
        let appended = self.history.append(self.disk, records);
        if appended.is_err() {
            self.report.unrecorded = recorded;
        }
        Ok(appended?)
    }

    fn result(
        &self,
        index: usize,
        request_id: &RequestId,
        status: Status,
        error: Option<Rejection>,
        applied: Option<serde_json::Value>,
    ) -> Record {
        let Line { number, instruction, .. } = &self.lines[index];
        Record::Result(StoredResult {
            line: *number,
            account_id: instruction.account_id.clone(),
            request_id: request_id.clone(),
            status,
            error,
            applied,
        })
    }
}

/// An error of a batch that names lines instead of operations.
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

impl Report {
    /// What is known before anything is sent.
    pub(super) fn begin(steps: &[Step]) -> Self {
        let mut report = Self { outcomes: vec![Outcome::NotAttempted; steps.len()], ..Self::default() };
        for (index, step) in steps.iter().enumerate() {
            match &step.action {
                Action::AlreadyApplied => report.outcomes[index] = Outcome::AlreadyApplied,
                Action::StaysRejected(rejection) => {
                    report.reject(index, rejection.clone(), Outcome::StaysRejected);
                }
                Action::Settle(_) => report.outcomes[index] = Outcome::Unknown,
                Action::Send => {}
            }
        }
        report
    }

    pub(super) fn reject(&mut self, index: usize, rejection: Rejection, outcome: Outcome) {
        self.outcomes[index] = outcome;
        *self.reasons.entry(rejection.reason.clone()).or_default() += 1;
        if self.rejections.len() < REJECTIONS_TOLD_MAX {
            self.rejections.push((index, rejection));
        }
    }

    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.iter().filter(|&&one| one == outcome).count() as u64
    }
}

#[cfg(test)]
mod tests;
