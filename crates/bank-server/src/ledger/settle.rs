//! What the outcomes of a commit mean for the commands that it was made of.

use bank_domain::Plan;
use bank_store::{Committed, Outcome, Proposal, RecordedOutcome, RequestKey, StoreError};
use tokio::time::Instant;

use super::{
    Error, Executed,
    sequencer::Sequencer,
    submission::{Submission, abort},
};
use crate::metrics::CommandOutcome;

/// A command with what was proposed for it, and what became of that.
struct Settled {
    submission: Submission,
    proposal: Proposal,
    outcome: Outcome,
}

/// What becomes of a chain that was not carried out.
enum Fate {
    /// It is decided again.
    Again,
    /// Nothing is done, because of one of them.
    Aborted(usize, Error),
}

impl Sequencer {
    /// Answers what has an outcome, and returns what has to be decided again.
    pub(super) fn settle(
        &mut self,
        batch: Vec<Submission>,
        proposals: Vec<Proposal>,
        committed: Committed,
        asked_at: Instant,
    ) -> Vec<Submission> {
        let applied = proposals.iter().zip(&committed.outcomes).filter(|(_, it)| **it == Outcome::Applied);
        let plans = applied.filter_map(|(proposal, _)| proposal.decision.as_ref().ok());
        self.acknowledged.note(plans.flat_map(Plan::changes).map(|change| &*change.account));
        let mut again = Vec::new();
        let mut chain = Vec::new();
        for ((submission, proposal), outcome) in batch.into_iter().zip(proposals).zip(committed.outcomes) {
            if outcome != Outcome::Applied {
                self.remembered.forget(std::slice::from_ref(&proposal));
            }
            let linked = submission.linked;
            let settled = Settled { submission, proposal, outcome };
            if linked || !chain.is_empty() {
                chain.push(settled);
                if !linked {
                    self.settle_chain(std::mem::take(&mut chain), &mut again);
                }
            } else {
                self.settle_one(settled, &mut again);
            }
        }
        for (id, account) in committed.current {
            self.learn(id, account, asked_at);
        }
        again
    }

    fn settle_one(&mut self, settled: Settled, again: &mut Vec<Submission>) {
        let Settled { submission, proposal, outcome } = settled;
        let extent = submission.extent;
        let result = match (outcome, proposal.decision) {
            (Outcome::Applied, Ok(Plan { primary, .. })) => {
                Ok(Executed { entry: primary.entry, replayed: false, dry_run: false, extent })
            }
            (Outcome::Applied, Err(rejection)) => Err(Error::Rejected { rejection, replayed: false, extent }),
            (Outcome::Replayed(RecordedOutcome::Entry(entry)), _) => {
                Ok(Executed { entry, replayed: true, dry_run: false, extent })
            }
            (Outcome::Replayed(RecordedOutcome::Rejected(rejection)), _) => {
                Err(Error::Rejected { rejection: *rejection, replayed: true, extent })
            }
            (Outcome::RequestIdReused, _) => Err(reused(&submission)),
            (Outcome::Damaged(what), _) => Err(StoreError::Corrupt(what).into()),
            (Outcome::Conflict | Outcome::Abandoned, _) => {
                self.metrics().command_ended(CommandOutcome::Conflict);
                again.push(submission);
                return;
            }
        };
        submission.answer(self.metrics(), result);
    }

    fn settle_chain(&mut self, chain: Vec<Settled>, again: &mut Vec<Submission>) {
        let Some(fate) = fate(&chain) else {
            for settled in chain {
                self.settle_one(settled, again);
            }
            return;
        };
        let submissions: Vec<_> = chain.into_iter().map(|settled| settled.submission).collect();
        match fate {
            Fate::Aborted(failed, error) => abort(submissions, failed, error, self.metrics()),
            Fate::Again => {
                for _ in &submissions {
                    self.metrics().command_ended(CommandOutcome::Conflict);
                }
                again.extend(submissions);
            }
        }
    }
}

/// What is to become of a chain, unless each of it was carried out, now or before.
fn fate(chain: &[Settled]) -> Option<Fate> {
    let is_done = |it: &Settled| match &it.outcome {
        Outcome::Applied => it.proposal.decision.is_ok(),
        Outcome::Replayed(RecordedOutcome::Entry(_)) => true,
        _ => false,
    };
    if chain.iter().all(is_done) {
        return None;
    }
    // What is recorded of a request says more than a state that has moved on.
    let failed = chain.iter().enumerate().find_map(|(place, it)| Some((place, recorded_failure(it)?)));
    let damaged = || {
        let damage = |it: &Settled| match &it.outcome {
            Outcome::Damaged(what) => Some(StoreError::Corrupt(what.clone()).into()),
            _ => None,
        };
        chain.iter().enumerate().find_map(|(place, it)| Some((place, damage(it)?)))
    };
    Some(match failed.or_else(damaged) {
        Some((place, error)) => Fate::Aborted(place, error),
        None => Fate::Again,
    })
}

/// Why a request keeps its chain from being carried out, if it has an outcome.
fn recorded_failure(settled: &Settled) -> Option<Error> {
    let Settled { submission, proposal, outcome } = settled;
    let extent = submission.extent;
    match outcome {
        Outcome::Applied => {
            let rejection = proposal.decision.as_ref().err()?.clone();
            Some(Error::Rejected { rejection, replayed: false, extent })
        }
        Outcome::Replayed(RecordedOutcome::Rejected(rejection)) => {
            Some(Error::Rejected { rejection: (**rejection).clone(), replayed: true, extent })
        }
        Outcome::Replayed(RecordedOutcome::Entry(_)) => {
            let RequestKey { request_id, account_id, .. } = submission.key.clone();
            Some(Error::PartlyExecuted { request_id, account_id })
        }
        Outcome::RequestIdReused => Some(reused(submission)),
        Outcome::Conflict | Outcome::Damaged(_) | Outcome::Abandoned => None,
    }
}

fn reused(submission: &Submission) -> Error {
    let RequestKey { request_id, account_id, .. } = submission.key.clone();
    Error::RequestIdReused { request_id, account_id }
}
