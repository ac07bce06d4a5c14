//! The data of a bank in memory.

use std::{collections::BTreeSet, mem, ops::Bound, sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Change, Entry, EntryHash, EntryId, Owner, Plan};
use hashbrown::{DefaultHashBuilder, HashMap};
use indexmap::IndexMap;

use crate::{
    ImportId, Proposal, RequestKey, RequestRecord, StoreError, backup::without_entry, placement::Placement,
    settlement::Unsettled,
};

/// All data of a bank.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) placement: Placement,
    pub(super) histories: HashMap<AccountId, History>,
    /// All accounts, in the order of the list.
    by_partition: BTreeSet<(u32, AccountId)>,
    by_owner: HashMap<Owner, BTreeSet<AccountId>>,
    pub(super) records: Records,
    pub(super) import: ImportState,
}

/// An account and its entries, oldest first.
#[derive(Debug)]
pub(super) struct History {
    pub(super) account: Arc<Account>,
    pub(super) entries: Vec<Arc<Entry>>,
}

/// The latest import.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum ImportState {
    #[default]
    None,
    InProgress(ImportId),
    Ended(ImportId),
}

impl State {
    pub(super) fn account(&self, id: &AccountId) -> Option<Account> {
        self.histories.get(id).map(|history| Account::clone(&history.account))
    }

    /// The entry that a request record names.
    pub(super) fn entry(&self, key: &RequestKey, id: EntryId) -> Result<&Arc<Entry>, StoreError> {
        let find = || {
            let index = usize::try_from(id.sequence).ok()?.checked_sub(1)?;
            self.histories.get(&key.account_id)?.entries.get(index).filter(|entry| entry.id() == id)
        };
        find().ok_or_else(|| without_entry(key, id))
    }

    pub(super) fn write(&mut self, change: &Change) {
        let Change { account, entry } = change;
        if let Some(history) = self.histories.get_mut(&account.id) {
            history.account = Arc::clone(account);
            history.entries.push(Arc::clone(entry));
            return;
        }
        self.by_partition.insert((self.placement.of(&account.id), account.id.clone()));
        if !account.owner.is_empty() {
            self.by_owner.entry(account.owner.clone()).or_default().insert(account.id.clone());
        }
        let history = History { account: Arc::clone(account), entries: vec![Arc::clone(entry)] };
        self.histories.insert(account.id.clone(), history);
    }

    /// The ids of all accounts after one, in the order of the list.
    pub(super) fn listed(&self, after: Option<&AccountId>) -> impl Iterator<Item = &AccountId> {
        let after = after.map(|id| (self.placement.of(id), id.clone()));
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.by_partition.range(range).map(|(_, id)| id)
    }

    /// The ids of the accounts of an owner after one.
    pub(super) fn owned_by(
        &self,
        owner: &Owner,
        after: Option<&AccountId>,
    ) -> impl Iterator<Item = &AccountId> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.by_owner.get(owner).into_iter().flat_map(move |ids| ids.range::<AccountId, _>(range))
    }

    /// Removes everything but the state of the import.
    pub(super) fn clear(&mut self) {
        let import = mem::take(&mut self.import);
        let records = Records::starting_at(self.records.window_start);
        *self = Self { placement: self.placement, records, import, ..Self::default() };
    }
}

impl Unsettled<'_> for State {
    type EntryRef = EntryId;

    fn record(&mut self, key: &RequestKey) -> Result<Option<RequestRecord>, StoreError> {
        Ok(self.records.get(key).cloned())
    }

    fn entry(&mut self, key: &RequestKey, entry: EntryId) -> Result<Arc<Entry>, StoreError> {
        State::entry(self, key, entry).cloned()
    }

    fn head(&mut self, id: &AccountId) -> Result<Option<EntryHash>, StoreError> {
        Ok(self.histories.get(id).map(|history| history.account.head))
    }

    fn account(&mut self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        Ok(State::account(self, id))
    }

    fn apply(&mut self, proposal: &Proposal) -> Result<(), StoreError> {
        proposal.decision.iter().flat_map(Plan::changes).for_each(|change| self.write(change));
        if proposal.is_recorded() {
            self.records.current.insert(proposal.key.clone(), proposal.record());
        }
        Ok(())
    }
}

/// It keeps the hash of each key, so it grows without reading the keys again.
type RecordMap = IndexMap<RequestKey, RequestRecord, DefaultHashBuilder>;

/// Request records, in two windows of time that are as long as the retention time.
#[derive(Debug, Default)]
pub(super) struct Records {
    current: RecordMap,
    previous: RecordMap,
    /// When the current window began, by the steady clock.
    window_start: Duration,
}

impl Records {
    pub(super) fn starting_at(window_start: Duration) -> Self {
        Self { window_start, ..Self::default() }
    }

    fn get(&self, key: &RequestKey) -> Option<&RequestRecord> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }

    /// Adds a record of another bank to the window of its age, unless it is too old.
    pub(super) fn import(&mut self, key: &RequestKey, record: &RequestRecord, now: u64, retention: Duration) {
        let window = match now.saturating_sub(record.recorded_at) / retention.as_secs().max(1) {
            0 => &mut self.current,
            1 => &mut self.previous,
            _ => return,
        };
        window.insert(key.clone(), record.clone());
    }

    /// Removes records that are more than one retention time older than the current window.
    pub(super) fn expire(&mut self, retention: Duration, now: Duration) {
        let elapsed = now.saturating_sub(self.window_start);
        if elapsed >= retention {
            self.window_start = now;
            self.previous = mem::take(&mut self.current);
        }
        if elapsed >= 2 * retention {
            self.previous.clear();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&RequestKey, &RequestRecord)> {
        self.previous.iter().chain(&self.current)
    }
}
