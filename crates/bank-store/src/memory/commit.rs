//! Applies proposals.

use std::{collections::HashSet, sync::Arc};

use bank_domain::{AccountId, EntryHash, Plan, Rejection};
use hashbrown::HashMap;

use super::{Record, State};
use crate::{
    Committed, KeptOutcome, Outcome, Proposal, Recorded, backup::without_entry, partition::Partitions,
    proposal::chains,
};

/// Applies proposals, in order.
pub(super) fn apply(state: &mut State, partitions: Partitions, proposals: &[Proposal]) -> Committed {
    let outcomes = Vec::with_capacity(proposals.len());
    let mut commit = Commit { state, partitions, tainted: HashSet::new(), outcomes };
    for chain in chains(proposals) {
        match chain {
            [proposal] => commit.settle(proposal),
            chain => commit.settle_chain(chain),
        }
    }
    let Commit { state, tainted, outcomes, .. } = commit;
    let current = tainted.into_iter().map(|id| (id.clone(), state.account(id))).collect();
    Committed { outcomes, current }
}

/// A commit under way.
struct Commit<'s, 'p> {
    state: &'s mut State,
    partitions: Partitions,
    /// The accounts of what was not applied.
    tainted: HashSet<&'p AccountId>,
    outcomes: Vec<Outcome>,
}

/// The heads of accounts as the proposals of a chain leave them that are not applied yet.
type Ahead<'p> = HashMap<&'p AccountId, EntryHash>;

impl<'p> Commit<'_, 'p> {
    /// Applies a proposal that stands for itself, or says why not.
    fn settle(&mut self, proposal: &'p Proposal) {
        let conflict = || self.is_stale(proposal, &Ahead::new()).then_some(Outcome::Conflict);
        let outcome = self.state.recorded(proposal).or_else(conflict).unwrap_or_else(|| {
            self.apply(proposal);
            Outcome::Applied
        });
        if outcome != Outcome::Applied {
            self.taint(std::slice::from_ref(proposal));
        }
        self.outcomes.push(outcome);
    }

    /// Applies a chain, or says of each proposal why not.
    fn settle_chain(&mut self, chain: &'p [Proposal]) {
        let mut obstacles: Vec<_> = chain.iter().map(|proposal| self.state.recorded(proposal)).collect();
        if obstacles.iter().all(Option::is_none) {
            obstacles = self.conflicts(chain);
        }
        if obstacles.iter().all(Option::is_none) {
            return self.apply_chain(chain);
        }
        if obstacles.iter().any(|outcome| *outcome != Some(Outcome::Applied)) {
            self.taint(chain);
        }
        self.outcomes.extend(obstacles.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Abandoned)));
    }

    /// Which proposals of a chain were decided on what is not so, each after those before it.
    fn conflicts(&self, chain: &'p [Proposal]) -> Vec<Option<Outcome>> {
        let mut ahead = Ahead::new();
        let conflict = |proposal: &'p Proposal| {
            let is_stale = self.is_stale(proposal, &ahead);
            let changes = proposal.decision.iter().flat_map(Plan::changes);
            ahead.extend(changes.map(|it| (&it.account.id, it.account.head)));
            is_stale.then_some(Outcome::Conflict)
        };
        chain.iter().map(conflict).collect()
    }

    fn is_stale(&self, proposal: &Proposal, ahead: &Ahead<'_>) -> bool {
        proposal.decided_on.iter().any(|(id, head)| {
            let now = ahead.get(id).copied().or_else(|| self.state.head(id));
            now != *head || self.tainted.contains(id)
        })
    }

    fn taint(&mut self, chain: &'p [Proposal]) {
        self.tainted.extend(chain.iter().flat_map(|it| &it.decided_on).map(|(id, _)| id));
    }

    fn apply_chain(&mut self, chain: &[Proposal]) {
        let refused = chain.iter().position(|proposal| proposal.decision.is_err());
        for (place, proposal) in chain.iter().enumerate() {
            let is_applied = refused.is_none_or(|refused| refused == place);
            if is_applied {
                self.apply(proposal);
            }
            self.outcomes.push(if is_applied { Outcome::Applied } else { Outcome::Abandoned });
        }
    }

    fn apply(&mut self, proposal: &Proposal) {
        let outcome = match &proposal.decision {
            Ok(plan) => {
                for change in plan.changes() {
                    self.state.write(change, self.partitions);
                }
                KeptOutcome::Entry(plan.primary.entry.id())
            }
            Err(rejection) => KeptOutcome::Rejected(Box::new(rejection.clone())),
        };
        if proposal.is_recorded() {
            let Proposal { ref key, fingerprint, attempt, .. } = *proposal;
            let recorded_at = proposal.decided_at_seconds();
            self.state.records.add(Record { key: key.clone(), fingerprint, attempt, outcome, recorded_at });
        }
    }
}

impl State {
    /// What a proposal comes to whose request has an outcome.
    fn recorded(&self, proposal: &Proposal) -> Option<Outcome> {
        let record = self.records.get(&proposal.key)?;
        if record.fingerprint != proposal.fingerprint {
            return Some(Outcome::RequestIdReused);
        }
        if record.attempt == proposal.attempt {
            return Some(Outcome::Applied);
        }
        Some(match &record.outcome {
            KeptOutcome::Rejected(rejection) => {
                Outcome::Replayed(Recorded::Rejected(Rejection::clone(rejection)))
            }
            KeptOutcome::Entry(id) => match self.entry(&proposal.key.account_id, *id) {
                Some(entry) => Outcome::Replayed(Recorded::Entry(Arc::clone(entry))),
                None => Outcome::Damaged(without_entry(&proposal.key, *id).to_string()),
            },
        })
    }

    fn head(&self, id: &AccountId) -> Option<EntryHash> {
        self.accounts.get(id).map(|history| history.account.head)
    }
}
