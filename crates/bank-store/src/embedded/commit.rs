//! Applies proposals in a write transaction.
//!
//! Everything is decided before anything is written. Then each table is written in the order of its keys, which is the
//! fastest for a B-tree.

use std::sync::Arc;

use bank_domain::{Account, AccountId, Change, Entry, EntryHash, Plan};
use hashbrown::HashMap;
use redb::{ReadableTableMetadata as _, WriteTransaction};

use super::{
    accounts::{self, StoredAccount},
    ages,
    codec::{self, Record, RecordedEntry},
    heads::{Head, HeadCache, RecentHeads},
    log::{self, EntryRef, NewEntries},
    requests::Windows,
    tables::{MILESTONE_EVERY, Number, Position, WriteTables},
};
use crate::{
    Committed, Proposal, RequestKey, StoreError,
    checks::changes_properties,
    identity::Retention,
    placement::Placement,
    settlement::{Unsettled, settle},
};

/// The state before a commit.
pub(super) struct Before<'a> {
    pub(super) recent: &'a RecentHeads,
    pub(super) cache: &'a mut HeadCache,
    pub(super) placement: Placement,
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
    let committed = settle(&mut commit, proposals)?;
    Ok((committed, commit.write(proposals.len())?))
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
        if changes_properties(&entry.kind) {
            let mut row = Vec::new();
            codec::encode_account(&mut row, account, number)?;
            self.account_rows.push(((self.before.placement.of(&account.id), id), row));
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
        if self.before.recent.find(&self.tables.heads, number)?.is_some() {
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

    /// An account before this commit.
    fn stored(&self, id: &AccountId) -> Result<Option<StoredAccount>, StoreError> {
        accounts::read(&self.tables, self.before.recent, self.before.placement, id)
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

impl<'p> Unsettled<'p> for Commit<'_, '_, 'p> {
    type EntryRef = RecordedEntry;

    fn record(&mut self, key: &'p RequestKey) -> Result<Option<Record>, StoreError> {
        match self.record_indexes.get(key) {
            Some(index) => Ok(Some(self.records[*index].1.clone())),
            None => self.windows.find(&self.tables.requests, key),
        }
    }

    fn entry(&mut self, key: &'p RequestKey, entry: RecordedEntry) -> Result<Arc<Entry>, StoreError> {
        let id = &key.account_id;
        let missing = || codec::damaged_account(id, "it is missing, but a request record names it");
        let currency = self.account(id)?.ok_or_else(missing)?.currency;
        let entry = EntryRef { position: entry.position, sequence: Some(entry.id.sequence) };
        let found = match self.log.read(id, currency, entry) {
            Some(found) => found?,
            None => log::read(&self.tables.log, id, currency, entry)?,
        };
        Ok(Arc::new(found.entry))
    }

    fn head(&mut self, id: &'p AccountId) -> Result<Option<EntryHash>, StoreError> {
        Ok(self.known(id)?.head.map(|head| head.hash))
    }

    fn account(&mut self, id: &'p AccountId) -> Result<Option<Account>, StoreError> {
        match self.known(id)? {
            KnownAccount { changed: Some(account), .. } => Ok(Some(account.clone())),
            KnownAccount { head: None, .. } => Ok(None),
            KnownAccount { .. } => Ok(self.stored(id)?.map(|stored| stored.account)),
        }
    }

    fn apply(&mut self, proposal: &'p Proposal) -> Result<(), StoreError> {
        let position = self.log.next();
        for change in proposal.decision.iter().flat_map(Plan::changes) {
            self.add_change(change)?;
        }
        if proposal.is_recorded() {
            let record = proposal.record().try_map(|id| Ok(RecordedEntry { position, id }))?;
            self.record_indexes.insert(&proposal.key, self.records.len());
            self.records.push((&proposal.key, record));
        }
        Ok(())
    }
}
