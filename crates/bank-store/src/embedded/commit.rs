//! Applies proposals, within one write transaction.
//!
//! First it is decided what to write, in order; then all of it is written, table by table and in the order
//! of keys, which is what a B-tree takes fastest.

mod import;

use std::{collections::HashMap as StdHashMap, sync::Arc};

use bank_domain::{Account, AccountId, Change, EntryHash, Plan};
use hashbrown::{HashMap, HashSet};
use redb::{ReadableTableMetadata as _, WriteTransaction};

pub(super) use self::import::apply as import;
use super::{
    ages,
    codec::{self, EntryPlace, Record},
    file::storage_error,
    heads::{Head, Recent, Remembered},
    history::{self, Place},
    list::{self, Filed},
    log::{self, Addition},
    requests::{Retention, Windows},
    tables::{MILESTONE_EVERY, Number, Position, WriteTables},
};
use crate::{
    Committed, Outcome, Proposal, RecordedOutcome, RequestKey, StoreError, partition::Partitions,
    proposal::chains,
};

/// What a commit begins with.
pub(super) struct Before<'a> {
    pub(super) recent: &'a Recent,
    pub(super) remembered: &'a mut Remembered,
    pub(super) partitions: Partitions,
    pub(super) retention: Retention,
    /// How old what is new is: see `ages`.
    pub(super) aged_to_ms: u64,
}

/// What is so once the transaction is committed.
pub(super) struct After {
    pub(super) recent: Recent,
    /// Of the accounts that have changed.
    pub(super) heads: Vec<(AccountId, Head)>,
}

/// Applies proposals, in order. An error means that the transaction must not be committed.
pub(super) fn apply(
    transaction: &WriteTransaction,
    before: Before<'_>,
    proposals: &[Proposal],
) -> Result<(Committed, After), StoreError> {
    let mut commit = Commit::begin(transaction, before, proposals.len())?;
    let mut outcomes = Vec::with_capacity(proposals.len());
    let mut tainted = HashSet::new();
    for chain in chains(proposals) {
        commit.settle(chain, &mut tainted, &mut outcomes)?;
    }
    let current = commit.current(tainted)?;
    let after = commit.write(proposals.len())?;
    Ok((Committed { outcomes, current }, after))
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
#[derive(Clone, Copy)]
struct Known<'p> {
    /// `None` for one that does not exist.
    head: Option<Head>,
    /// If they have changed it.
    changed: Option<&'p Account>,
}

/// A commit under way.
struct Commit<'a, 't, 'p> {
    tables: WriteTables<'t>,
    before: Before<'a>,
    windows: Windows,
    known: HashMap<&'p AccountId, Known<'p>>,
    next_number: Number,
    log: Addition,
    /// Rows of accounts, with what they are to be written under.
    rows: Vec<((u32, &'p str), Vec<u8>)>,
    milestones: Vec<((&'p str, i64, u64), Position)>,
    owners: Vec<(&'p str, &'p str)>,
    records: Vec<(&'p RequestKey, Record)>,
    /// Where among the records that of a request is.
    recorded: HashMap<&'p RequestKey, usize>,
}

impl<'a, 't, 'p> Commit<'a, 't, 'p> {
    fn begin(
        transaction: &'t WriteTransaction,
        before: Before<'a>,
        proposals: usize,
    ) -> Result<Self, StoreError> {
        let tables = WriteTables::open(transaction)?;
        Ok(Self {
            windows: Windows::at(before.aged_to_ms / 1_000, before.retention, &tables.requests)?,
            known: HashMap::with_capacity(proposals),
            next_number: tables.accounts.len().map_err(storage_error)?,
            log: Addition::after(log::newest(&tables.log)?),
            rows: Vec::new(),
            milestones: Vec::new(),
            owners: Vec::new(),
            records: Vec::with_capacity(proposals),
            recorded: HashMap::with_capacity(proposals),
            tables,
            before,
        })
    }

    /// Adds what a chain writes, or says of each proposal why it writes nothing.
    fn settle(
        &mut self,
        chain: &'p [Proposal],
        tainted: &mut HashSet<&'p AccountId>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), StoreError> {
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
                ahead.extend(changes.map(|it| (&it.account.id, it.account.head)));
            }
        }
        let is_recorded = decisions.iter().any(|decision| matches!(decision, Decision::Recorded(_)));
        let is_whole = decisions.iter().all(|decision| matches!(decision, Decision::Write));
        let refused = chain.iter().position(|proposal| proposal.decision.is_err());
        let mut are_applied = true;
        for (place, (proposal, decision)) in chain.iter().zip(decisions).enumerate() {
            let outcome = match decision {
                Decision::Write if is_whole && refused.is_none_or(|refused| refused == place) => {
                    self.add(proposal)?;
                    Outcome::Applied
                }
                Decision::Recorded(outcome) => outcome,
                Decision::Not(outcome) if !is_recorded => outcome,
                Decision::Write | Decision::Not(_) => Outcome::Abandoned,
            };
            are_applied &= outcome == Outcome::Applied;
            outcomes.push(outcome);
        }
        if !is_whole && !are_applied {
            tainted.extend(chain.iter().flat_map(|it| &it.decided_on).map(|(id, _)| id));
        }
        Ok(())
    }

    /// As [`Store::commit`](crate::Store::commit) has it, for one proposal of a chain. Adds nothing.
    fn decide(
        &mut self,
        proposal: &'p Proposal,
        ahead: &HashMap<&AccountId, EntryHash>,
        tainted: &HashSet<&AccountId>,
    ) -> Result<Decision, StoreError> {
        let record = match self.recorded.get(&proposal.key) {
            Some(place) => Some(self.records[*place].1.clone()),
            None => self.windows.find(&self.tables.requests, &proposal.key)?,
        };
        if let Some(record) = record {
            return self.outcome_of(proposal, record).map(Decision::Recorded);
        }
        for (id, hash) in &proposal.decided_on {
            let known = self.known(id)?.head.map(|head| head.hash);
            if ahead.get(id).copied().or(known) != *hash || tainted.contains(id) {
                return Ok(Decision::Not(Outcome::Conflict));
            }
        }
        Ok(Decision::Write)
    }

    /// What a proposal comes to whose request has an outcome already.
    fn outcome_of(&mut self, proposal: &'p Proposal, record: Record) -> Result<Outcome, StoreError> {
        if record.fingerprint != proposal.fingerprint {
            return Ok(Outcome::RequestIdReused);
        }
        if record.attempt == proposal.attempt {
            return Ok(Outcome::Applied);
        }
        let (position, id) = match record.outcome {
            RecordedOutcome::Rejected(rejection) => {
                return Ok(Outcome::Replayed(RecordedOutcome::Rejected(rejection)));
            }
            RecordedOutcome::Entry(EntryPlace { position, id }) => (position, id),
        };
        let account_id = &proposal.key.account_id;
        let account = self.account(account_id)?.ok_or_else(|| {
            StoreError::Corrupt(format!("account {account_id} is gone, but not the record of its entry {id}"))
        })?;
        let place = Place { position, sequence: Some(id.sequence) };
        let linked = match self.log.get(position) {
            Some(row) => {
                history::own(account_id, place, Some(codec::entry(position, account.currency, row)?))?
            }
            None => history::entry_at(&self.tables.log, account_id, account.currency, place)?,
        };
        Ok(Outcome::Replayed(RecordedOutcome::Entry(Arc::new(linked.entry))))
    }

    /// Adds what a proposal writes.
    fn add(&mut self, proposal: &'p Proposal) -> Result<(), StoreError> {
        let outcome = match &proposal.decision {
            Ok(plan) => {
                let position = self.log.next();
                for change in plan.changes() {
                    self.add_change(change)?;
                }
                RecordedOutcome::Entry(EntryPlace { position, id: plan.primary.entry.id() })
            }
            Err(rejection) => RecordedOutcome::Rejected(Box::new(rejection.clone())),
        };
        if proposal.is_recorded() {
            let Proposal { fingerprint, attempt, .. } = *proposal;
            let record = Record { fingerprint, attempt, recorded_at: proposal.decided_at_seconds(), outcome };
            self.recorded.insert(&proposal.key, self.records.len());
            self.records.push((&proposal.key, record));
        }
        Ok(())
    }

    fn add_change(&mut self, change: &'p Change) -> Result<(), StoreError> {
        let Change { account, entry } = change;
        let id = account.id.as_str();
        let before = self.known(&account.id)?.head;
        let newest = self.log.next();
        self.log.push(|row| codec::encode_entry(row, entry, before.map(|head| head.newest)))?;
        let number = match before {
            Some(head) => head.number,
            None => self.fresh_number()?,
        };
        if codec::changes_row(&entry.kind) {
            let mut row = Vec::new();
            codec::encode_account(&mut row, account, number)?;
            self.rows.push(((self.before.partitions.of(&account.id), id), row));
        }
        if entry.sequence.is_multiple_of(MILESTONE_EVERY) {
            self.milestones.push(((id, entry.time.unix_ms(), entry.sequence), newest));
        }
        if entry.sequence == 1 && !account.owner.is_empty() {
            self.owners.push((account.owner.as_str(), id));
        }
        let head = Some(Head { number, newest, hash: account.head });
        self.known.insert(&account.id, Known { head, changed: Some(account) });
        Ok(())
    }

    /// The number of an account that is opened.
    fn fresh_number(&mut self) -> Result<Number, StoreError> {
        let number = self.next_number;
        if self.before.recent.find(&self.tables.heads, number)?.is_some() {
            let what = format!("the number {number} of the next account is taken: accounts are missing");
            return Err(StoreError::Corrupt(what));
        }
        self.next_number += 1;
        Ok(number)
    }

    /// An account as the proposals before leave it.
    fn known(&mut self, id: &'p AccountId) -> Result<Known<'p>, StoreError> {
        if let Some(known) = self.known.get(id) {
            return Ok(*known);
        }
        let head = match self.before.remembered.get(id) {
            Some(head) => Some(head),
            None => self.filed(id)?.map(|filed| filed.head),
        };
        let known = Known { head, changed: None };
        self.known.insert(id, known);
        Ok(known)
    }

    /// The same, all of it.
    fn account(&mut self, id: &'p AccountId) -> Result<Option<Account>, StoreError> {
        match self.known(id)? {
            Known { changed: Some(account), .. } => Ok(Some(account.clone())),
            Known { head: None, .. } => Ok(None),
            Known { .. } => Ok(self.filed(id)?.map(|filed| filed.account)),
        }
    }

    /// An account as it was before this commit.
    fn filed(&self, id: &AccountId) -> Result<Option<Filed>, StoreError> {
        list::filed(&self.tables, self.before.recent, self.before.partitions, id)
    }

    /// The accounts as the commit leaves them, but for those that cannot be read.
    fn current(
        &mut self,
        ids: HashSet<&'p AccountId>,
    ) -> Result<StdHashMap<AccountId, Option<Account>>, StoreError> {
        let mut current = StdHashMap::with_capacity(ids.len());
        for id in ids {
            match self.account(id) {
                Ok(account) => drop(current.insert(id.clone(), account)),
                Err(StoreError::Corrupt(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(current)
    }

    /// Writes all that was added, and forgets some requests that are too old.
    fn write(mut self, proposals: usize) -> Result<After, StoreError> {
        let tables = &mut self.tables;
        self.log.write(&mut tables.log)?;
        // Of one account, the last counts.
        self.rows.sort_by_key(|(key, _)| *key);
        for (key, row) in self.rows {
            tables.accounts.insert(key, row.as_slice()).map_err(storage_error)?;
        }
        self.milestones.sort_unstable();
        for (key, position) in self.milestones {
            tables.milestones.insert(key, position).map_err(storage_error)?;
        }
        self.owners.sort_unstable();
        for key in self.owners {
            tables.owners.insert(key, ()).map_err(storage_error)?;
        }
        self.windows.write(&mut tables.requests, self.records)?;
        self.windows.forget(&mut tables.requests, proposals)?;
        ages::write(&mut tables.meta, self.before.aged_to_ms)?;

        let changed = self.known.into_iter().filter(|(_, known)| known.changed.is_some());
        let heads: Vec<_> =
            changed.filter_map(|(id, known)| known.head.map(|head| (id.clone(), head))).collect();
        let changed = heads.iter().map(|(_, head)| (head.number, head.newest)).collect();
        let recent = self.before.recent.extend(tables, changed, self.log.next() - 1)?;
        Ok(After { recent, heads })
    }
}
