//! What the outcomes of a commit mean for its commands.

use bank_domain::Plan;
use bank_store::{Outcome, Proposal, RecordedOutcome, StoreError};

use super::{
    error::Error,
    operation::Executed,
    submission::{Submission, abort},
};
use crate::metrics::{CommandOutcome, Metrics};

/// The result of a command; `None` if it has to be decided again.
type Verdict = Option<Result<Executed, Error>>;

/// Answers every command that has a result, and returns those that have to be decided again.
pub(super) fn settle(
    batch: Vec<Submission>,
    proposals: Vec<Proposal>,
    outcomes: Vec<Outcome>,
    metrics: &Metrics,
) -> Vec<Submission> {
    let mut conflicts = Vec::new();
    let mut chain = Vec::new();
    for ((submission, proposal), outcome) in batch.into_iter().zip(proposals).zip(outcomes) {
        let verdict = verdict(&submission, proposal, outcome);
        let linked = submission.linked;
        if linked || !chain.is_empty() {
            chain.push((submission, verdict));
            if !linked {
                settle_chain(std::mem::take(&mut chain), &mut conflicts, metrics);
            }
        } else {
            settle_one(submission, verdict, &mut conflicts, metrics);
        }
    }
    conflicts
}

fn verdict(submission: &Submission, proposal: Proposal, outcome: Outcome) -> Verdict {
    Some(match (outcome, proposal.decision) {
        (Outcome::Applied, Ok(Plan { primary, .. })) => {
            Ok(Executed { entry: primary.entry, replayed: false })
        }
        (Outcome::Applied, Err(rejection)) => Err(Error::Rejected { rejection, replayed: false }),
        (Outcome::Replayed(RecordedOutcome::Entry(entry)), _) => Ok(Executed { entry, replayed: true }),
        (Outcome::Replayed(RecordedOutcome::Rejected(rejection)), _) => {
            Err(Error::Rejected { rejection: *rejection, replayed: true })
        }
        (Outcome::RequestIdReused, _) => {
            let key = submission.key.clone();
            Err(Error::RequestIdReused { request_id: key.request_id, account_id: key.account_id })
        }
        (Outcome::Damaged(what), _) => Err(StoreError::Corrupt(what).into()),
        (Outcome::Conflict | Outcome::Abandoned, _) => return None,
    })
}

fn settle_one(submission: Submission, verdict: Verdict, conflicts: &mut Vec<Submission>, metrics: &Metrics) {
    match verdict {
        Some(result) => submission.answer(metrics, result),
        None => {
            metrics.command_ended(CommandOutcome::Conflict);
            conflicts.push(submission);
        }
    }
}

/// Settles the operations of an atomic batch: all are carried out, all fail, or all are decided again.
fn settle_chain(chain: Vec<(Submission, Verdict)>, conflicts: &mut Vec<Submission>, metrics: &Metrics) {
    let is_done = chain.iter().all(|(_, verdict)| matches!(verdict, Some(Ok(_))));
    let failure = if is_done { None } else { chain_failure(&chain) };
    if let Some((failed, error)) = failure {
        abort(chain.into_iter().map(|(submission, _)| submission), failed, error, metrics);
        return;
    }
    for (submission, verdict) in chain {
        settle_one(submission, verdict.filter(|_| is_done), conflicts, metrics);
    }
}

/// Which operation of a chain failed, and how. What is recorded of a request comes first: other state may have moved on.
fn chain_failure(chain: &[(Submission, Verdict)]) -> Option<(usize, Error)> {
    let recorded = chain.iter().enumerate().find_map(|(index, (submission, verdict))| match verdict {
        Some(Err(Error::Store(_)) | Ok(Executed { replayed: false, .. })) | None => None,
        Some(Err(error)) => Some((index, error.clone())),
        Some(Ok(Executed { replayed: true, .. })) => {
            let key = submission.key.clone();
            let (request_id, account_id) = (key.request_id, key.account_id);
            Some((index, Error::PartlyExecuted { request_id, account_id }))
        }
    });
    let damaged = || {
        chain.iter().enumerate().find_map(|(index, (_, verdict))| match verdict {
            Some(Err(error)) => Some((index, error.clone())),
            _ => None,
        })
    };
    recorded.or_else(damaged)
}
