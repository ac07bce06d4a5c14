//! Carries out a plan, batch after batch, so that no line is carried out twice whatever happens in between.
//!
//! Why that holds for one line under one request id:
//!
//! * Its id is on disk before it is sent, so a line that is not in the results file was not sent.
//! * A line that was sent and has no result is sent again under the same id while the bank certainly remembers that id:
//!   the bank then answers with the first outcome. The time of the first sending counts.
//! * When the bank may have forgotten the id, its history is searched: an entry keeps its request id for ever. If there
//!   is an entry, the line was applied. If not, the line is sent under the same id: if the first sending is still in
//!   flight, it takes effect after that search, so the bank remembers it.
//! * A line gets a new id only after the bank's own rejection was recorded for the old one. An error that the bank
//!   returns before it looks at the id is no rejection of a line that may have been sent before.
//! * If some of several identical lines were removed, those that were applied are taken to be the remaining ones. So
//!   the outcome of removed lines is settled before the plan is final.

use std::io;

use bank_client::{BriefReceipt, Error, Rejection, RequestId, json::Json as _};
use serde_json::{Value, json};

use super::{
    bank::{Answer, Bank, Now, Wanted, Window, answers, by_line},
    journal::{
        Caller, Cause, Disk, History, Key, Pending, Record, Request, Sending, Sent, SentLine, State, Status,
        StoredResult,
    },
    lines::{Line, Problems},
    plan::{self, BatchSize, Step},
    report::{Outcome, Report, Stop},
};

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
    /// Lines that cannot be planned. Nothing was sent.
    pub(super) async fn run(
        mut self,
        plan: impl Fn(&History) -> Result<Vec<Step>, Problems>,
    ) -> Result<Report, Problems> {
        let mut steps = plan(self.history)?;
        let (removed, stop) = loop {
            let removed = plan::removed(self.lines, &steps, self.history);
            match self.settle_removed(&removed.pending).await {
                Ok(0) => break (removed, None),
                // An applied one counts for an identical line, under whose id another one may have been sent.
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
        if self.bank.is_interrupted() {
            return Err(Stop::Interrupted);
        }
        let mut unsent = Vec::with_capacity(open.len());
        for &index in open {
            if !self.settle(index, &mut steps[index]).await? {
                unsent.push(index);
            }
        }
        if unsent.is_empty() {
            return Ok(());
        }
        if self.atomic && unsent.len() < open.len() {
            let problem = "only some operations of an atomic batch were carried out".to_owned();
            return Err(Error::InvalidReply(problem).into());
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

    /// Records what is about to be sent.
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
                operation: instruction.name.to_owned(),
                content: identity.content_of_given(),
            }
        });
        let sending = Sending { sent, atomic: self.atomic, lines: lines.collect() };
        self.history.append(self.disk, vec![Record::Sending(sending)])
    }

    /// Adds the answers to the report, and then to the results file.
    fn record(&mut self, steps: &[Step], unsent: &[usize], answers: Vec<Answer>) -> Result<(), Stop> {
        let mut records = Vec::with_capacity(unsent.len());
        let mut recorded = Vec::with_capacity(unsent.len());
        for (&index, answer) in unsent.iter().zip(answers) {
            // For a line that may have been sent before, only an outcome that the bank knows by its id counts.
            let is_first = matches!(steps[index].state, State::NotApplied);
            let (outcome, status) = match &answer {
                Answer::Applied(receipt) if receipt.replayed => {
                    (Outcome::AlreadyApplied, Some(Status::Applied))
                }
                Answer::Applied(_) => (Outcome::Applied, Some(Status::Applied)),
                Answer::Rejected(_) => (Outcome::Rejected, Some(Status::Rejected)),
                Answer::Refused(_) if is_first => (Outcome::Rejected, Some(Status::Rejected)),
                Answer::NotApplied(_) if is_first => (Outcome::NotAttempted, Some(Status::NotApplied)),
                Answer::Malformed if is_first => (Outcome::NotAttempted, None),
                _ => (Outcome::Unknown, None),
            };
            let (applied, error) = match answer {
                Answer::Applied(receipt) => (Some(applied(&receipt, "replayed", receipt.replayed)), None),
                Answer::Rejected(error) | Answer::Refused(error) | Answer::Unknown(error) => {
                    (None, Some(error))
                }
                Answer::NotApplied(error) => (None, error),
                Answer::Malformed => (None, None),
            };
            self.report.set(index, outcome, error.as_ref());
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
        error: Option<Cause>,
        applied: Option<Value>,
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

    /// Finds out whether a line was applied already. If not, it may be sent.
    async fn settle(&mut self, index: usize, step: &mut Step) -> Result<bool, Stop> {
        let State::Pending(pending) = &step.state else { return Ok(false) };
        if pending.sent.caller == self.caller && self.window.remembers(&pending.sent, self.bank.now()) {
            return Ok(false);
        }
        let wanted = Wanted::of_line(&self.lines[index], &step.request_id, pending);
        // Without a status it may still take effect, under the id under which it is sent now.
        let Some((status, applied)) = self.look_up(&wanted, pending).await? else { return Ok(false) };
        let record = self.result(index, &step.request_id, status, None, applied);
        self.history.append(self.disk, vec![record])?;
        if status == Status::Applied {
            self.report.outcomes[index] = Outcome::AlreadyApplied;
            self.bank.progress(1);
            return Ok(true);
        }
        self.report.outcomes[index] = Outcome::NotAttempted;
        step.state = State::NotApplied;
        Ok(false)
    }

    /// Finds out whether lines were applied that were sent and are no longer in the file. They are not sent again.
    /// Returns how many were settled.
    async fn settle_removed(&mut self, removed: &[(Key, Request, Pending)]) -> Result<usize, Stop> {
        let mut settled = 0;
        for ((account_id, request_id), request, pending) in removed {
            let wanted = Wanted::of(account_id, request_id, &request.operation, pending);
            let Some((status, applied)) = self.look_up(&wanted, pending).await? else { continue };
            let result = StoredResult {
                line: request.line,
                account_id: account_id.clone(),
                request_id: request_id.clone(),
                status,
                error: None,
                applied,
            };
            self.history.append(self.disk, vec![Record::Result(result)])?;
            settled += 1;
        }
        Ok(settled)
    }

    /// Looks for the entry of a line that was sent. None if there is none yet, and the line may be in flight.
    async fn look_up(
        &self,
        wanted: &Wanted<'_>,
        pending: &Pending,
    ) -> Result<Option<(Status, Option<Value>)>, Stop> {
        let sent = &pending.sent;
        let is_own = sent.caller == self.caller;
        let other_caller = || Stop::OtherCaller(sent.caller.clone());
        // Request ids are scoped to callers. What another caller has in flight cannot be found out by sending it again.
        if !is_own && !self.window.is_over(sent, self.bank.now()) {
            return Err(other_caller());
        }
        let found = match self.bank.look_up(wanted).await {
            // Another caller may see fewer accounts.
            Err(Error::Rejected { rejection: Rejection::AccountNotFound { .. }, .. }) if !is_own => {
                return Err(other_caller());
            }
            Err(Error::Rejected { rejection: Rejection::AccountNotFound { .. }, .. }) => None,
            found => found?,
        };
        Ok(match found {
            Some(found) => Some((Status::Applied, Some(applied(&found, "found_in_history", true)))),
            None if self.window.is_over(sent, self.bank.now()) => Some((Status::NotApplied, None)),
            None => None,
        })
    }
}

/// What the results file says of a line that was applied.
fn applied(receipt: &BriefReceipt, flag: &str, is_set: bool) -> Value {
    let BriefReceipt { transaction_id, amount, balance, .. } = receipt;
    json!({
        "transaction_id": transaction_id.json(),
        "amount": amount.json(),
        "balance": balance.json(),
        flag: is_set,
    })
}

#[cfg(test)]
mod tests;
