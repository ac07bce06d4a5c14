//! Applies proposals to a bank in memory.

use std::{collections::HashSet, sync::Arc};

use bank_domain::{AccountId, EntryHash, Plan};
use hashbrown::HashMap;

use super::state::State;
use crate::{
    Committed, Outcome, Proposal, RecordedOutcome, RequestRecord, backup::without_entry,
    partition::Partitions, proposal::chains,
};

/// Applies proposals, in order.
pub(super) fn apply(state: &mut State, partitions: Partitions, proposals: &[Proposal]) -> Committed {
    let outcomes = Vec::with_capacity(proposals.len());
    let mut commit = Commit { state, partitions, tainted: HashSet::new(), outcomes };
    for chain in chains(proposals) {
        commit.settle(chain);
    }
    let Commit { state, tainted, outcomes, .. } = commit;
    let current = tainted.into_iter().map(|id| (id.clone(), state.account(id))).collect();
    Committed { outcomes, current }
}

struct Commit<'s, 'p> {
    state: &'s mut State,
    partitions: Partitions,
    /// The accounts of proposals that were not applied.
    tainted: HashSet<&'p AccountId>,
    outcomes: Vec<Outcome>,
}

impl<'p> Commit<'_, 'p> {
    /// Applies a chain, or finds out for each of its proposals why not.
    fn settle(&mut self, chain: &'p [Proposal]) {
        let first = self.outcomes.len();
        let is_free = self.find_records(chain) && self.find_conflicts(chain);
        let outcomes = &mut self.outcomes[first..];
        if is_free {
            let rejected = chain.iter().position(|proposal| proposal.decision.is_err());
            for (index, proposal) in chain.iter().enumerate() {
                if rejected.is_none_or(|rejected| rejected == index) {
                    outcomes[index] = Outcome::Applied;
                    write(self.state, self.partitions, proposal);
                }
            }
        } else if outcomes.iter().any(|outcome| *outcome != Outcome::Applied) {
            self.tainted.extend(chain.iter().flat_map(|it| &it.decided_on).map(|(id, _)| id));
        }
    }

    /// Adds an outcome for each proposal: that of its record, or `Abandoned`. Returns whether there was no record.
    fn find_records(&mut self, chain: &[Proposal]) -> bool {
        let mut is_free = true;
        for proposal in chain {
            let recorded = recorded_outcome(self.state, proposal);
            is_free &= recorded.is_none();
            self.outcomes.push(recorded.unwrap_or(Outcome::Abandoned));
        }
        is_free
    }

    /// Sets the outcome of proposals in conflict, each decided on the state after those before it. Returns whether there
    /// was none.
    fn find_conflicts(&mut self, chain: &'p [Proposal]) -> bool {
        let mut is_free = true;
        let mut heads: HashMap<&AccountId, EntryHash> = HashMap::new();
        let first = self.outcomes.len() - chain.len();
        for (proposal, outcome) in chain.iter().zip(&mut self.outcomes[first..]) {
            let is_stale = proposal.decided_on.iter().any(|(id, head)| {
                heads.get(id).copied().or_else(|| self.state.head(id)) != *head || self.tainted.contains(id)
            });
            if is_stale {
                is_free = false;
                *outcome = Outcome::Conflict;
            }
            if proposal.linked {
                let changes = proposal.decision.iter().flat_map(Plan::changes);
                heads.extend(changes.map(|it| (&it.account.id, it.account.head)));
            }
        }
        is_free
    }
}

fn write(state: &mut State, partitions: Partitions, proposal: &Proposal) {
    let outcome = match &proposal.decision {
        Ok(plan) => {
            plan.changes().for_each(|change| state.write(change, partitions));
            RecordedOutcome::Entry(plan.primary.entry.id())
        }
        Err(rejection) => RecordedOutcome::Rejected(Box::new(rejection.clone())),
    };
    if proposal.is_recorded() {
        let Proposal { ref key, fingerprint, attempt, .. } = *proposal;
        let recorded_at = proposal.decided_at_seconds();
        state.records.insert(key.clone(), RequestRecord { fingerprint, attempt, recorded_at, outcome });
    }
}

/// The outcome of a proposal whose request has a record.
fn recorded_outcome(state: &State, proposal: &Proposal) -> Option<Outcome> {
    let record = state.records.get(&proposal.key)?;
    if record.fingerprint != proposal.fingerprint {
        return Some(Outcome::RequestIdReused);
    }
    if record.attempt == proposal.attempt {
        return Some(Outcome::Applied);
    }
    Some(match &record.outcome {
        RecordedOutcome::Rejected(rejection) => {
            Outcome::Replayed(RecordedOutcome::Rejected(rejection.clone()))
        }
        RecordedOutcome::Entry(id) => match state.entry(&proposal.key.account_id, *id) {
            Some(entry) => Outcome::Replayed(RecordedOutcome::Entry(Arc::clone(entry))),
            None => Outcome::Damaged(without_entry(&proposal.key, *id).to_string()),
        },
    })
}
