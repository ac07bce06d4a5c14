//! Applies proposals, within one write transaction.

use std::collections::{HashMap, HashSet};

use bank_domain::{AccountId, Change, Plan};
use redb::{ReadableTable as _, WriteTransaction};

use super::{
    codec::{self, Filed, Record, RecordedOutcome},
    file::storage_error,
    history::{Place, entry_at},
    list::filed,
    requests::{Retention, Windows, now_seconds},
    tables::{MILESTONE_EVERY, Position, WriteTables},
};
use crate::{
    Committed, Outcome, Proposal, Recorded, Stamp, StoreError, partition::Partitions, proposal::chains,
};

/// Applies proposals, in order. An error means that the transaction must not be committed.
pub(super) fn apply(
    transaction: &WriteTransaction,
    partitions: Partitions,
    retention: Retention,
    proposals: &[Proposal],
) -> Result<Committed, StoreError> {
    let mut commit = Commit::begin(transaction, partitions, retention)?;
    let mut outcomes = Vec::with_capacity(proposals.len());
    let mut tainted = HashSet::new();
    for chain in chains(proposals) {
        outcomes.extend(commit.settle(chain, &mut tainted)?);
    }
    let current = commit.current(tainted)?;
    commit.finish(proposals.len())?;
    Ok(Committed { outcomes, current })
}

/// What is to be done about a proposal.
enum Decision {
    Write,
    /// Nothing: its request has an outcome.
    Recorded(Outcome),
    /// Nothing: something is in the way.
    Not(Outcome),
}

/// An account as the proposals before leave it.
struct Known {
    /// `None` for one that does not exist.
    filed: Option<Filed>,
    is_changed: bool,
}

/// A commit under way.
struct Commit<'t> {
    tables: WriteTables<'t>,
    partitions: Partitions,
    windows: Windows,
    now_seconds: u64,
    known: HashMap<AccountId, Known>,
    next_position: Position,
}

impl<'t> Commit<'t> {
    fn begin(
        transaction: &'t WriteTransaction,
        partitions: Partitions,
        retention: Retention,
    ) -> Result<Self, StoreError> {
        let tables = WriteTables::open(transaction)?;
        let newest = tables.log.last().map_err(storage_error)?.map_or(0, |(position, _)| position.value());
        let now_seconds = now_seconds();
        let windows = Windows::at(now_seconds, retention, &tables.requests)?;
        Ok(Self {
            partitions,
            windows,
            now_seconds,
            known: HashMap::new(),
            next_position: newest + 1,
            tables,
        })
    }

    /// Applies a chain, or says of each proposal why not.
    fn settle(
        &mut self,
        chain: &[Proposal],
        tainted: &mut HashSet<AccountId>,
    ) -> Result<Vec<Outcome>, StoreError> {
        // Of the chain, as those before in it leave the accounts.
        let mut ahead = HashMap::new();
        let mut decisions = Vec::with_capacity(chain.len());
        for proposal in chain {
            decisions.push(match self.decide(proposal, &ahead, tainted) {
                // What cannot be read concerns this proposal; nothing has been written for it.
                Err(StoreError::Corrupt(what)) => Decision::Not(Outcome::Damaged(what)),
                decision => decision?,
            });
            if proposal.linked {
                let changes = proposal.decision.iter().flat_map(Plan::changes);
                ahead.extend(changes.map(|it| (it.account.id.clone(), Stamp::of(&it.account))));
            }
        }
        let is_recorded = decisions.iter().any(|decision| matches!(decision, Decision::Recorded(_)));
        let is_whole = decisions.iter().all(|decision| matches!(decision, Decision::Write));
        let refused = chain.iter().position(|proposal| proposal.decision.is_err());
        let mut outcomes = Vec::with_capacity(chain.len());
        for (place, (proposal, decision)) in chain.iter().zip(decisions).enumerate() {
            outcomes.push(match decision {
                Decision::Write if is_whole && refused.is_none_or(|refused| refused == place) => {
                    self.write(proposal)?;
                    Outcome::Applied
                }
                Decision::Recorded(outcome) => outcome,
                Decision::Not(outcome) if !is_recorded => outcome,
                Decision::Write | Decision::Not(_) => Outcome::Abandoned,
            });
        }
        if !is_whole && outcomes.iter().any(|outcome| *outcome != Outcome::Applied) {
            tainted.extend(chain.iter().flat_map(|it| &it.decided_on).map(|(id, _)| id.clone()));
        }
        Ok(outcomes)
    }

    /// As [`Store::commit`](crate::Store::commit) has it, for one proposal of a chain. Writes nothing.
    fn decide(
        &mut self,
        proposal: &Proposal,
        ahead: &HashMap<AccountId, Stamp>,
        tainted: &HashSet<AccountId>,
    ) -> Result<Decision, StoreError> {
        if let Some(record) = self.windows.find(&self.tables.requests, &proposal.key)? {
            return self.recorded(proposal, record).map(Decision::Recorded);
        }
        for (id, stamp) in &proposal.decided_on {
            let filed = self.known(id)?.filed.as_ref();
            let now = ahead.get(id).copied().or_else(|| filed.map(|filed| Stamp::of(&filed.account)));
            if now != *stamp || tainted.contains(id) {
                return Ok(Decision::Not(Outcome::Conflict));
            }
        }
        Ok(Decision::Write)
    }

    /// What a proposal comes to whose request has an outcome already.
    fn recorded(&mut self, proposal: &Proposal, record: Record) -> Result<Outcome, StoreError> {
        if record.fingerprint != proposal.fingerprint {
            return Ok(Outcome::RequestIdReused);
        }
        if record.attempt == proposal.attempt {
            return Ok(Outcome::Applied);
        }
        Ok(Outcome::Replayed(match record.outcome {
            RecordedOutcome::Refused(refusal) => Recorded::Refused(refusal),
            RecordedOutcome::Entry { position, id } => {
                let account_id = &proposal.key.account_id;
                let Some(filed) = &self.known(account_id)?.filed else {
                    return Err(StoreError::Corrupt(format!(
                        "account {account_id} is gone, but not the record of its entry {id}"
                    )));
                };
                let (currency, sequence) = (filed.account.currency, id.sequence);
                let place = Place { position, sequence };
                Recorded::Entry(Box::new(entry_at(&self.tables.log, account_id, currency, place)?.entry))
            }
        }))
    }

    fn write(&mut self, proposal: &Proposal) -> Result<(), StoreError> {
        let outcome = match &proposal.decision {
            Ok(plan) => {
                let position = self.next_position;
                for change in plan.changes() {
                    self.write_change(change)?;
                }
                RecordedOutcome::Entry { position, id: plan.primary.entry.id() }
            }
            Err(refusal) => RecordedOutcome::Refused(refusal.clone()),
        };
        if proposal.is_recorded() {
            let Proposal { fingerprint, attempt, .. } = *proposal;
            let record = Record { fingerprint, attempt, recorded_at_seconds: self.now_seconds, outcome };
            self.windows.write(&mut self.tables.requests, &proposal.key, &record)?;
        }
        Ok(())
    }

    /// Adds an entry to the log, and remembers the account, which is written when all are known.
    fn write_change(&mut self, change: &Change) -> Result<(), StoreError> {
        let Change { account, entry } = change;
        let position = self.next_position;
        self.next_position += 1;
        let previous = self.known(&account.id)?.filed.as_ref().map(|filed| filed.newest);
        let row = codec::encode_entry(entry, previous)?;
        self.tables.log.insert(position, row.as_slice()).map_err(storage_error)?;
        let id = account.id.as_str();
        if entry.sequence.is_multiple_of(MILESTONE_EVERY) {
            let milestone = (id, entry.time.unix_ms(), entry.sequence);
            self.tables.milestones.insert(milestone, position).map_err(storage_error)?;
        }
        if entry.sequence == 1 && !account.owner.is_empty() {
            self.tables.owners.insert((account.owner.as_str(), id), ()).map_err(storage_error)?;
        }
        let filed = Filed { account: account.clone(), newest: position };
        self.known.insert(account.id.clone(), Known { filed: Some(filed), is_changed: true });
        Ok(())
    }

    /// An account as the proposals before leave it.
    fn known(&mut self, id: &AccountId) -> Result<&Known, StoreError> {
        if !self.known.contains_key(id) {
            let filed = filed(&self.tables.accounts, self.partitions, id)?;
            self.known.insert(id.clone(), Known { filed, is_changed: false });
        }
        Ok(&self.known[id])
    }

    /// The accounts as the commit leaves them, but for those that cannot be read.
    fn current(
        &mut self,
        ids: HashSet<AccountId>,
    ) -> Result<HashMap<AccountId, Option<bank_domain::Account>>, StoreError> {
        let mut current = HashMap::with_capacity(ids.len());
        for id in ids {
            match self.known(&id) {
                Ok(known) => {
                    let account = known.filed.as_ref().map(|filed| filed.account.clone());
                    current.insert(id, account);
                }
                Err(StoreError::Corrupt(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(current)
    }

    /// Writes the accounts, each once, and forgets some requests that are too old.
    fn finish(mut self, proposals: usize) -> Result<(), StoreError> {
        for (id, known) in &self.known {
            if let Some(Filed { account, newest }) = known.filed.as_ref().filter(|_| known.is_changed) {
                let row = codec::encode_account(account, *newest)?;
                let key = (self.partitions.of(id), id.as_str());
                self.tables.accounts.insert(key, row.as_slice()).map_err(storage_error)?;
            }
        }
        self.windows.forget(&mut self.tables.requests, proposals)
    }
}
