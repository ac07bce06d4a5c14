//! Settles the proposals of a commit by the rules of [`Store::commit`](crate::Store::commit), for backends without a
//! script that does.

use std::{collections::HashMap as StdHashMap, sync::Arc};

use bank_domain::{Account, AccountId, Entry, EntryHash, Plan};
use hashbrown::{HashMap, HashSet};

use crate::{Committed, Outcome, Proposal, RecordedOutcome, RequestKey, RequestRecord, StoreError};

/// A bank as the proposals so far leave it.
///
/// An error other than [`StoreError::Corrupt`] ends the commit. Damage concerns one proposal only.
pub(crate) trait Unsettled<'p> {
    /// How a request record refers to an entry.
    type EntryRef;

    fn record(&mut self, key: &'p RequestKey) -> Result<Option<RequestRecord<Self::EntryRef>>, StoreError>;

    /// The entry that the record of a request names.
    fn entry(&mut self, key: &'p RequestKey, entry: Self::EntryRef) -> Result<Arc<Entry>, StoreError>;

    /// The head of an account; `None` if it does not exist.
    fn head(&mut self, id: &'p AccountId) -> Result<Option<EntryHash>, StoreError>;

    fn account(&mut self, id: &'p AccountId) -> Result<Option<Account>, StoreError>;

    /// Adds what a proposal writes.
    fn apply(&mut self, proposal: &'p Proposal) -> Result<(), StoreError>;
}

/// Whether a proposal can be applied.
enum Check {
    Clear,
    /// Its request has a record.
    Recorded(Outcome),
    /// It is in conflict, or an account is damaged.
    Blocked(Outcome),
}

/// Applies proposals, in order.
pub(crate) fn settle<'p>(
    bank: &mut impl Unsettled<'p>,
    proposals: &'p [Proposal],
) -> Result<Committed, StoreError> {
    let mut outcomes = Vec::with_capacity(proposals.len());
    // The accounts of proposals that were not applied.
    let mut tainted = HashSet::new();
    for chain in proposals.chunk_by(|proposal, _| proposal.linked) {
        settle_chain(bank, chain, &mut tainted, &mut outcomes)?;
    }
    let mut current = StdHashMap::with_capacity(tainted.len());
    for id in tainted {
        match bank.account(id) {
            Ok(account) => drop(current.insert(id.clone(), account)),
            Err(StoreError::Corrupt(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Committed { outcomes, current })
}

/// Applies a chain, or finds out for each of its proposals why not.
fn settle_chain<'p>(
    bank: &mut impl Unsettled<'p>,
    chain: &'p [Proposal],
    tainted: &mut HashSet<&'p AccountId>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), StoreError> {
    // The heads after the earlier proposals of the chain.
    let mut heads = HashMap::new();
    let mut checks = Vec::with_capacity(chain.len());
    for proposal in chain {
        checks.push(match check(bank, proposal, &heads, tainted) {
            Err(StoreError::Corrupt(what)) => Check::Blocked(Outcome::Damaged(what)),
            check => check?,
        });
        if proposal.linked {
            let changes = proposal.decision.iter().flat_map(Plan::changes);
            heads.extend(changes.map(|it| (&it.account.id, it.account.head)));
        }
    }
    let is_recorded = checks.iter().any(|check| matches!(check, Check::Recorded(_)));
    let is_clear = checks.iter().all(|check| matches!(check, Check::Clear));
    let rejected = chain.iter().position(|proposal| proposal.decision.is_err());
    let mut are_applied = true;
    for (index, (proposal, check)) in chain.iter().zip(checks).enumerate() {
        let outcome = match check {
            Check::Clear if is_clear && rejected.is_none_or(|rejected| rejected == index) => {
                bank.apply(proposal)?;
                Outcome::Applied
            }
            Check::Recorded(outcome) => outcome,
            Check::Blocked(outcome) if !is_recorded => outcome,
            Check::Clear | Check::Blocked(_) => Outcome::Abandoned,
        };
        are_applied &= outcome == Outcome::Applied;
        outcomes.push(outcome);
    }
    if !is_clear && !are_applied {
        tainted.extend(chain.iter().flat_map(|it| &it.decided_on).map(|(id, _)| id));
    }
    Ok(())
}

fn check<'p>(
    bank: &mut impl Unsettled<'p>,
    proposal: &'p Proposal,
    chain_heads: &HashMap<&AccountId, EntryHash>,
    tainted: &HashSet<&AccountId>,
) -> Result<Check, StoreError> {
    if let Some(record) = bank.record(&proposal.key)? {
        return Ok(Check::Recorded(if record.fingerprint != proposal.fingerprint {
            Outcome::RequestIdReused
        } else if record.attempt == proposal.attempt {
            Outcome::Applied
        } else {
            Outcome::Replayed(match record.outcome {
                RecordedOutcome::Entry(entry) => RecordedOutcome::Entry(bank.entry(&proposal.key, entry)?),
                RecordedOutcome::Rejected(rejection) => RecordedOutcome::Rejected(rejection),
            })
        }));
    }
    for (id, expected) in &proposal.decided_on {
        let head = bank.head(id)?;
        if chain_heads.get(id).copied().or(head) != *expected || tainted.contains(id) {
            return Ok(Check::Blocked(Outcome::Conflict));
        }
    }
    Ok(Check::Clear)
}
