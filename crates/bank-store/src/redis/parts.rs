//! Divides a commit among the partitions of a cluster, and puts the results together again.

use std::collections::BTreeMap;

use bank_domain::{AccountId, Plan};

use super::{commit::Scope, keys::Keys};
use crate::{Committed, Outcome, Proposal, StoreError};

/// What one call of the commit script takes.
pub(super) struct Part<'a> {
    pub(super) scope: Scope,
    /// The partition whose Redis runs it.
    pub(super) partition: u32,
    /// The place of each proposal in the commit.
    places: Vec<usize>,
    pub(super) proposals: Vec<&'a Proposal>,
}

/// All proposals together, for a Redis that has all partitions.
pub(super) fn whole(partition: u32, proposals: &[Proposal]) -> Part<'_> {
    let places = (0..proposals.len()).collect();
    Part { scope: Scope::Bank, partition, places, proposals: proposals.iter().collect() }
}

/// The proposals of each partition, in order.
///
/// # Errors
/// [`StoreError::Misconfigured`] if the accounts of a proposal, or of a chain, are in several partitions: the caller has to
/// know that ([`StoreProperties::commits_span_partitions`](crate::StoreProperties::commits_span_partitions)).
pub(super) fn divide<'a>(keys: &Keys, proposals: &'a [Proposal]) -> Result<Vec<Part<'a>>, StoreError> {
    let mut parts = BTreeMap::new();
    let mut place = 0;
    for chain in proposals.chunk_by(|proposal, _| proposal.linked) {
        let partition = partition_of(keys, chain)?;
        let part = parts.entry(partition).or_insert_with(|| Part {
            scope: Scope::Partition(partition),
            partition,
            places: Vec::new(),
            proposals: Vec::new(),
        });
        for proposal in chain {
            part.places.push(place);
            part.proposals.push(proposal);
            place += 1;
        }
    }
    Ok(parts.into_values().collect())
}

fn partition_of(keys: &Keys, chain: &[Proposal]) -> Result<u32, StoreError> {
    let first = &chain[0].key.account_id;
    let partition = keys.partition_of(first);
    let other = chain.iter().flat_map(accounts).find(|id| keys.partition_of(id) != partition);
    other.map_or(Ok(partition), |other| {
        Err(StoreError::Misconfigured(format!(
            "accounts {first} and {other} are in different partitions, which a Redis Cluster does not commit together; \
             nothing was done"
        )))
    })
}

fn accounts(proposal: &Proposal) -> impl Iterator<Item = &AccountId> {
    let changed = proposal.decision.iter().flat_map(Plan::changes).map(|change| &change.account.id);
    let read = proposal.decided_on.iter().map(|(id, _)| id);
    [&proposal.key.account_id].into_iter().chain(read).chain(changed)
}

/// The result of a commit from those of its parts.
///
/// # Errors
/// [`StoreError::OutcomeUnknown`] if a part has failed and another was or may have been carried out: the commit can be sent
/// again. Otherwise why the first part failed.
pub(super) fn combine(
    parts: Vec<(Part<'_>, Result<Committed, StoreError>)>,
) -> Result<Committed, StoreError> {
    let failed = parts.iter().filter_map(|(_, result)| result.as_ref().err());
    if let Some(error) = failed.clone().next() {
        let is_unknown = failed.clone().any(StoreError::is_outcome_unknown);
        return Err(if is_unknown || failed.count() < parts.len() {
            StoreError::OutcomeUnknown(match error {
                StoreError::OutcomeUnknown(reason) => reason.clone(),
                error => format!("a part of the commit failed: {error}"),
            })
        } else {
            error.clone()
        });
    }
    let count = parts.iter().map(|(part, _)| part.places.len()).sum();
    let mut all = Committed { outcomes: vec![Outcome::Abandoned; count], ..Committed::default() };
    for (part, result) in parts {
        let Committed { outcomes, current } = result?;
        for (place, outcome) in part.places.into_iter().zip(outcomes) {
            all.outcomes[place] = outcome;
        }
        all.current.extend(current);
    }
    Ok(all)
}

/// The index of an owner's accounts that an opened account belongs to, where it is in another partition than the account.
pub(super) struct ForeignIndex<'a> {
    pub(super) partition: u32,
    pub(super) key: String,
    pub(super) account_id: &'a AccountId,
}

pub(super) fn foreign_indexes<'a>(keys: &Keys, proposals: &'a [Proposal]) -> Vec<ForeignIndex<'a>> {
    let changes = proposals.iter().flat_map(|proposal| &proposal.decision).flat_map(Plan::changes);
    let opened = changes.filter(|change| change.entry.sequence == 1).map(|change| &change.account);
    let indexes = opened.filter(|account| !account.owner.is_empty()).map(|account| ForeignIndex {
        partition: keys.partition_of_owner(&account.owner),
        key: keys.owner(&account.owner),
        account_id: &account.id,
    });
    indexes.filter(|index| index.partition != keys.partition_of(index.account_id)).collect()
}

#[cfg(test)]
mod tests;
