//! Applies proposals in a write transaction.
//!
//! Everything is decided before anything is written. Then each table is written in the order of its keys, which is the
//! fastest for a B-tree.

use std::{collections::HashMap as StdHashMap, sync::Arc};

use bank_domain::{Account, AccountId, Change, EntryHash, Plan};
use hashbrown::{HashMap, HashSet};
use redb::{ReadableTableMetadata as _, WriteTransaction};

use super::{
    accounts::{self, StoredAccount},
    ages,
    codec::{self, Record, RecordedEntry},
    heads::{Head, HeadCache, RecentHeads},
    log::{self, EntryRef, NewEntries},
    requests::{Retention, Windows},
    tables::{MILESTONE_EVERY, Number, Position, WriteTables},
};
use crate::{
    Committed, Outcome, Proposal, RecordedOutcome, RequestKey, StoreError, partition::Partitions,
    proposal::chains,
};

/// The state before a commit.
pub(super) struct Before<'a> {
    pub(super) recent: &'a RecentHeads,
    pub(super) cache: &'a mut HeadCache,
    pub(super) partitions: Partitions,
    pub(super) retention: Retention,
    /// The age of new records, see `ages`.
    pub(super) aged_to_ms: u64,
}

/// The state after a transaction, once it is committed.
pub(super) struct After {
    pub(super) recent: RecentHeads,
    /// The heads to cache.
    pub(super) heads: Vec<(AccountId, Head)>,
}

impl After {
    pub(super) fn unchanged(before: &Before<'_>) -> Self {
        Self { recent: before.recent.clone(), heads: Vec::new() }
    }
}

/// Applies proposals, in order. After an error the transaction must not be committed.
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

/// Whether a proposal can be applied.
enum Check {
    Clear,
    /// Its request has a record.
    Recorded(Outcome),
    /// It is in conflict, or an account is damaged.
    Blocked(Outcome),
}

/// An account as the proposals so far leave it.
#[derive(Clone, Copy)]
pub(super) struct KnownAccount<'p> {
    /// `None` if it does not exist.
    pub(super) head: Option<Head>,
    /// The account, if the proposals so far have changed it.
    pub(super) changed: Option<&'p Account>,
}

/// A commit in progress.
pub(super) struct Commit<'a, 't, 'p> {
    pub(super) tables: WriteTables<'t>,
    pub(super) before: Before<'a>,
    pub(super) windows: Windows,
    pub(super) known: HashMap<&'p AccountId, KnownAccount<'p>>,
    next_number: Number,
    pub(super) log: NewEntries,
    account_rows: Vec<((u32, &'p str), Vec<u8>)>,
    milestones: Vec<((&'p str, i64, u64), Position)>,
    owners: Vec<(&'p str, &'p str)>,
    records: Vec<(&'p RequestKey, Record)>,
    /// The index of a request in `records`.
    record_indexes: HashMap<&'p RequestKey, usize>,
}

impl<'a, 't, 'p> Commit<'a, 't, 'p> {
    pub(super) fn begin(
        transaction: &'t WriteTransaction,
        before: Before<'a>,
        proposals: usize,
    ) -> Result<Self, StoreError> {
        let tables = WriteTables::open(transaction)?;
        Ok(Self {
            windows: Windows::at(before.aged_to_ms / 1_000, before.retention, &tables.requests)?,
            known: HashMap::with_capacity(proposals),
            next_number: tables.accounts.len()?,
            log: NewEntries::after(log::newest(&tables.log)?),
            account_rows: Vec::new(),
            milestones: Vec::new(),
            owners: Vec::new(),
            records: Vec::with_capacity(proposals),
            record_indexes: HashMap::with_capacity(proposals),
            tables,
            before,
        })
    }

    /// Adds what a chain writes, or finds out for each of its proposals why it writes nothing.
    fn settle(
        &mut self,
        chain: &'p [Proposal],
        tainted: &mut HashSet<&'p AccountId>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), StoreError> {
        // The heads after the earlier proposals of the chain.
        let mut chain_heads = HashMap::new();
        let mut checks = Vec::with_capacity(chain.len());
        for proposal in chain {
            checks.push(match self.check(proposal, &chain_heads, tainted) {
                // Damage concerns this proposal only; nothing has been written for it.
                Err(StoreError::Corrupt(what)) => Check::Blocked(Outcome::Damaged(what)),
                check => check?,
            });
            if proposal.linked {
                let changes = proposal.decision.iter().flat_map(Plan::changes);
                chain_heads.extend(changes.map(|it| (&it.account.id, it.account.head)));
            }
        }
        let is_recorded = checks.iter().any(|check| matches!(check, Check::Recorded(_)));
        let is_clear = checks.iter().all(|check| matches!(check, Check::Clear));
        let rejected = chain.iter().position(|proposal| proposal.decision.is_err());
        let mut are_applied = true;
        for (index, (proposal, check)) in chain.iter().zip(checks).enumerate() {
            let outcome = match check {
                Check::Clear if is_clear && rejected.is_none_or(|rejected| rejected == index) => {
                    self.add(proposal)?;
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

    /// Checks one proposal of a chain, see [`Store::commit`](crate::Store::commit).
    fn check(
        &mut self,
        proposal: &'p Proposal,
        chain_heads: &HashMap<&AccountId, EntryHash>,
        tainted: &HashSet<&AccountId>,
    ) -> Result<Check, StoreError> {
        let record = match self.record_indexes.get(&proposal.key) {
            Some(index) => Some(self.records[*index].1.clone()),
            None => self.windows.find(&self.tables.requests, &proposal.key)?,
        };
        if let Some(record) = record {
            return self.recorded_outcome(proposal, record).map(Check::Recorded);
        }
        for (id, hash) in &proposal.decided_on {
            let known = self.known(id)?.head.map(|head| head.hash);
            if chain_heads.get(id).copied().or(known) != *hash || tainted.contains(id) {
                return Ok(Check::Blocked(Outcome::Conflict));
            }
        }
        Ok(Check::Clear)
    }

    /// The outcome of a proposal whose request has a record.
    fn recorded_outcome(&mut self, proposal: &'p Proposal, record: Record) -> Result<Outcome, StoreError> {
        if record.fingerprint != proposal.fingerprint {
            return Ok(Outcome::RequestIdReused);
        }
        if record.attempt == proposal.attempt {
            return Ok(Outcome::Applied);
        }
        let RecordedEntry { position, id } = match record.outcome {
            RecordedOutcome::Entry(entry) => entry,
            RecordedOutcome::Rejected(rejection) => {
                return Ok(Outcome::Replayed(RecordedOutcome::Rejected(rejection)));
            }
        };
        let account_id = &proposal.key.account_id;
        let missing = || codec::damaged_account(account_id, "it is missing, but a request record names it");
        let currency = self.account(account_id)?.ok_or_else(missing)?.currency;
        let entry = EntryRef { position, sequence: Some(id.sequence) };
        let found = match self.log.read(account_id, currency, entry) {
            Some(found) => found?,
            None => log::read(&self.tables.log, account_id, currency, entry)?,
        };
        Ok(Outcome::Replayed(RecordedOutcome::Entry(Arc::new(found.entry))))
    }

    /// Adds what a proposal writes.
    fn add(&mut self, proposal: &'p Proposal) -> Result<(), StoreError> {
        let outcome = match &proposal.decision {
            Ok(plan) => {
                let position = self.log.next();
                for change in plan.changes() {
                    self.add_change(change)?;
                }
                RecordedOutcome::Entry(RecordedEntry { position, id: plan.primary.entry.id() })
            }
            Err(rejection) => RecordedOutcome::Rejected(Box::new(rejection.clone())),
        };
        if proposal.is_recorded() {
            let Proposal { ref key, fingerprint, attempt, .. } = *proposal;
            let record = Record { fingerprint, attempt, recorded_at: proposal.decided_at_seconds(), outcome };
            self.record_indexes.insert(key, self.records.len());
            self.records.push((key, record));
        }
        Ok(())
    }

    pub(super) fn add_change(&mut self, change: &'p Change) -> Result<(), StoreError> {
        let Change { account, entry } = change;
        let id = account.id.as_str();
        let before = self.known(&account.id)?.head;
        let newest = self.log.next();
        self.log.push(|row| codec::encode_entry(row, entry, before.map(|head| head.newest)))?;
        let number = match before {
            Some(head) => head.number,
            None => self.new_number()?,
        };
        if codec::changes_row(&entry.kind) {
            let mut row = Vec::new();
            codec::encode_account(&mut row, account, number)?;
            self.account_rows.push(((self.before.partitions.of(&account.id), id), row));
        }
        if entry.sequence.is_multiple_of(MILESTONE_EVERY) {
            self.milestones.push(((id, entry.time.unix_ms(), entry.sequence), newest));
        }
        if entry.sequence == 1 && !account.owner.is_empty() {
            self.owners.push((account.owner.as_str(), id));
        }
        let head = Some(Head { number, newest, hash: account.head });
        self.known.insert(&account.id, KnownAccount { head, changed: Some(account) });
        Ok(())
    }

    /// The number of a new account.
    fn new_number(&mut self) -> Result<Number, StoreError> {
        let number = self.next_number;
        if self.before.recent.find_number(&self.tables.heads, number)?.is_some() {
            let what = format!("the number {number} of the next account is taken: accounts are missing");
            return Err(StoreError::Corrupt(what));
        }
        self.next_number += 1;
        Ok(number)
    }

    fn known(&mut self, id: &'p AccountId) -> Result<KnownAccount<'p>, StoreError> {
        if let Some(known) = self.known.get(id) {
            return Ok(*known);
        }
        let head = match self.before.cache.get(id) {
            Some(head) => Some(head),
            None => self.stored(id)?.map(|stored| stored.head),
        };
        let known = KnownAccount { head, changed: None };
        self.known.insert(id, known);
        Ok(known)
    }

    /// An account as the proposals so far leave it.
    fn account(&mut self, id: &'p AccountId) -> Result<Option<Account>, StoreError> {
        match self.known(id)? {
            KnownAccount { changed: Some(account), .. } => Ok(Some(account.clone())),
            KnownAccount { head: None, .. } => Ok(None),
            KnownAccount { .. } => Ok(self.stored(id)?.map(|stored| stored.account)),
        }
    }

    /// An account before this commit.
    fn stored(&self, id: &AccountId) -> Result<Option<StoredAccount>, StoreError> {
        accounts::read(&self.tables, self.before.recent, self.before.partitions, id)
    }

    /// The accounts after the commit, without those that cannot be read.
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

    /// Writes everything that was added, and removes some expired records.
    pub(super) fn write(mut self, proposals: usize) -> Result<After, StoreError> {
        let tables = &mut self.tables;
        self.log.write(&mut tables.log)?;
        // The sort is stable, so the last row of an account wins.
        self.account_rows.sort_by_key(|(key, _)| *key);
        for (key, row) in self.account_rows {
            tables.accounts.insert(key, row.as_slice())?;
        }
        self.milestones.sort_unstable();
        for (key, position) in self.milestones {
            tables.milestones.insert(key, position)?;
        }
        self.owners.sort_unstable();
        for key in self.owners {
            tables.owners.insert(key, ())?;
        }
        self.windows.write(&mut tables.requests, self.records)?;
        self.windows.remove_expired(&mut tables.requests, proposals)?;
        ages::write(&mut tables.meta, self.before.aged_to_ms)?;

        let changed = self.known.into_iter().filter(|(_, known)| known.changed.is_some());
        let heads: Vec<_> =
            changed.filter_map(|(id, known)| known.head.map(|head| (id.clone(), head))).collect();
        let changed = heads.iter().map(|(_, head)| (head.number, head.newest)).collect();
        let recent = self.before.recent.extend(tables, changed, self.log.next() - 1)?;
        Ok(After { recent, heads })
    }
}
