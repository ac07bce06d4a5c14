//! What became of lines that were sent and have no result.

use std::time::Duration;

use bank_client::{Error, RequestId, Timestamp};
use serde_json::json;

use super::{Bank, Engine, Found, Now, Outcome, Stop, Wanted};
use crate::{
    apply::{
        instruction::Instruction,
        journal::{Caller, Disk, Key, Pending, Record, Request, Sent, Status, StoredResult},
        lines::Line,
        plan::{Action, Step},
    },
    json,
};

/// How much earlier than its sending an entry may be dated: clocks differ, by far less than this.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_hours(24);

/// For how long what was sent matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// How long the bank keeps request ids.
    pub(crate) retention: Duration,
    /// How much sooner an id counts as forgotten: a batch takes its time to reach the bank, and clocks differ.
    pub(crate) margin: Duration,
    /// After this long, what was sent takes effect no more.
    pub(crate) in_flight_max: Duration,
}

pub(super) enum Settled {
    /// The line is applied.
    Applied,
    /// The line can be sent.
    Open,
}

impl Window {
    /// Whether the bank certainly has the outcome of what was sent then, if it has got it.
    fn remembers(&self, sent: &Sent, now: Now) -> bool {
        let Some((shortest, longest)) = since(sent, now) else { return false };
        let kept = Duration::from_secs(sent.retention_seconds).min(self.retention);
        shortest <= longest && longest.saturating_add(self.margin) < kept
    }

    /// Whether nothing of what was sent then can be on its way any more.
    fn is_over(&self, sent: &Sent, now: Now) -> bool {
        since(sent, now).is_some_and(|(shortest, _)| shortest > self.in_flight_max)
    }
}

/// How long ago it was sent, by either clock. None if a clock has been set back since.
fn since(sent: &Sent, now: Now) -> Option<(Duration, Duration)> {
    let here = elapsed(sent.time, now.here)?;
    let bank = elapsed(sent.bank_time, now.bank)?;
    Some((here.min(bank), here.max(bank)))
}

fn elapsed(from: Timestamp, to: Timestamp) -> Option<Duration> {
    u64::try_from(to.unix_ms().checked_sub(from.unix_ms())?).ok().map(Duration::from_millis)
}

/// The earliest time that the entry of what was sent can have.
fn earliest(sent: &Sent) -> Timestamp {
    let ms = i64::try_from(CLOCKS_DIFFER_MAX.as_millis()).unwrap_or(i64::MAX);
    let earliest = sent.time.min(sent.bank_time).unix_ms().saturating_sub(ms);
    Timestamp::try_from_unix_ms(earliest).unwrap_or(Timestamp::MIN)
}

/// The entry that a line leaves which was sent then.
pub(in crate::apply) fn wanted<'a>(
    line: &'a Line,
    request_id: &'a RequestId,
    pending: &Pending,
) -> Wanted<'a> {
    let instruction = &line.instruction;
    let (amount, counterparty) = instruction.entry();
    Wanted {
        account_id: &instruction.account_id,
        request_id,
        kind: Instruction::entry_kind(instruction.name()),
        amount,
        counterparty,
        since: earliest(&pending.sent),
    }
}

/// Why a run would end at once: lines were sent by somebody else, and may still be on their way.
pub(in crate::apply) fn sent_by_another(
    steps: &[Step],
    caller: Option<&Caller>,
    window: Window,
    now: Now,
) -> Option<Stop> {
    steps.iter().find_map(|step| match &step.action {
        Action::Settle(Pending { sent, .. })
            if sent.caller.as_ref() != caller && !window.is_over(sent, now) =>
        {
            Some(Stop::OtherCaller(sent.caller.clone()))
        }
        _ => None,
    })
}

impl<B: Bank, D: Disk> Engine<'_, B, D> {
    /// Finds out whether a line can be sent, and under which conditions.
    pub(super) async fn settle(&mut self, index: usize, step: &mut Step) -> Result<Settled, Stop> {
        let Action::Settle(pending) = &step.action else { return Ok(Settled::Open) };
        let sent = &pending.sent;
        let is_own = sent.caller == self.caller;
        if is_own && self.window.remembers(sent, self.bank.now()) {
            return Ok(Settled::Open);
        }
        let wanted = wanted(&self.lines[index], &step.request_id, pending);
        let found = self.look_up(&wanted, pending).await?;
        let status = match found {
            Some(_) => Status::Applied,
            None if self.window.is_over(sent, self.bank.now()) => Status::NotApplied,
            // It may still take effect, under the id under which it is sent now.
            None => return Ok(Settled::Open),
        };
        let record = self.result(index, &step.request_id, status, None, found.map(applied));
        self.history.append(self.disk, vec![record])?;
        if status == Status::Applied {
            self.report.outcomes[index] = Outcome::AlreadyApplied;
            self.bank.progress(1);
            return Ok(Settled::Applied);
        }
        self.report.outcomes[index] = Outcome::NotAttempted;
        step.action = Action::Send;
        Ok(Settled::Open)
    }

    /// Looks for the entry of a line that was sent.
    async fn look_up(&self, wanted: &Wanted<'_>, pending: &Pending) -> Result<Option<Found>, Stop> {
        let sent = &pending.sent;
        let is_own = sent.caller == self.caller;
        // Ids are scoped to their callers: what another one has sent and is still on its way is not found out later.
        if !is_own && !self.window.is_over(sent, self.bank.now()) {
            return Err(Stop::OtherCaller(sent.caller.clone()));
        }
        match self.bank.look_up(wanted).await {
            // Another caller may be shown less.
            Err(Error::AccountNotFound { .. }) if !is_own => Err(Stop::OtherCaller(sent.caller.clone())),
            Err(Error::AccountNotFound { .. }) => Ok(None),
            found => Ok(found?),
        }
    }

    /// Finds out what became of lines that were sent and are not in the file any more. They are not sent again.
    /// Returns how many are settled.
    pub(super) async fn settle_removed(
        &mut self,
        removed: &[(Key, Request, Pending)],
    ) -> Result<usize, Stop> {
        let mut settled = 0;
        for ((account_id, request_id), request, pending) in removed {
            let wanted = Wanted {
                account_id,
                request_id,
                kind: Instruction::entry_kind(&request.operation),
                amount: None,
                counterparty: None,
                since: earliest(&pending.sent),
            };
            let found = self.look_up(&wanted, pending).await?;
            let status = match found {
                Some(_) => Status::Applied,
                None if self.window.is_over(&pending.sent, self.bank.now()) => Status::NotApplied,
                None => continue,
            };
            let result = StoredResult {
                line: request.line,
                account_id: account_id.clone(),
                request_id: request_id.clone(),
                status,
                error: None,
                applied: found.map(applied),
            };
            self.history.append(self.disk, vec![Record::Result(result)])?;
            settled += 1;
        }
        Ok(settled)
    }
}

fn applied(found: Found) -> serde_json::Value {
    json!({
        "transaction_id": found.transaction_id,
        "amount": json::Money::from(found.amount),
        "balance": json::Money::from(found.balance),
        "found_in_history": true,
    })
}
