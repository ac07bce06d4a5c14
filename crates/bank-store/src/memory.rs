//! The reference backend: this process's memory.

mod backup;
mod blocks;
mod commit;
mod records;

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Change, Entry, EntryId, Owner};
use hashbrown::HashMap;
use uuid::Uuid;

use self::{
    blocks::Blocks,
    records::{Record, Records},
};
use crate::{
    AccountsQuery, Backup, Committed, Durability, DurabilityLevel, EntriesQuery, Order, Proposal, Secret,
    Store, StoreError, backup::marked, clock::Timekeeper, partition::Partitions,
};

/// Keeps everything in memory, and loses it with the process.
///
/// One lock guards all of it; every call holds it for as long as the call takes, so a commit is one
/// instant for every reader. Memory grows with accounts and entries, and with the requests of the
/// last one to two retention times.
#[derive(Debug)]
pub struct MemoryStore {
    bank_id: String,
    secret: Secret,
    retention: Duration,
    partitions: Partitions,
    clock: Timekeeper,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    accounts: HashMap<AccountId, History>,
    /// In the order of the list: by partition first.
    listed: BTreeSet<(u32, AccountId)>,
    by_owner: HashMap<Owner, BTreeSet<AccountId>>,
    records: Records,
    import: Option<backup::Mark>,
}

/// An account and how it came to be.
#[derive(Debug)]
struct History {
    account: Arc<Account>,
    entries: Blocks<Arc<Entry>>,
}

impl MemoryStore {
    /// An empty bank that keeps request records at least for the time given.
    pub fn new(request_retention: Duration) -> Self {
        Self {
            bank_id: Uuid::new_v4().to_string(),
            secret: Secret::draw(),
            retention: request_retention,
            partitions: Partitions::default(),
            clock: Timekeeper::default(),
            state: Mutex::new(State {
                accounts: HashMap::new(),
                listed: BTreeSet::new(),
                by_owner: HashMap::new(),
                records: Records::new(Timekeeper::default().steady()),
                import: None,
            }),
        }
    }

    /// The same by another clock. It must be empty still.
    #[must_use]
    pub fn with_clock(self, clock: Timekeeper) -> Self {
        self.state().records = Records::new(clock.steady());
        Self { clock, ..self }
    }

    /// The same with another number of partitions.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] unless there are from 1 to 16384.
    pub fn with_partitions(self, count: u32) -> Result<Self, StoreError> {
        Ok(Self { partitions: Partitions::try_new(count)?, ..self })
    }

    /// What there is, unless it is half of an import.
    fn serving(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.is_marked() { Err(marked()) } else { Ok(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing below panics half way through a change, so what a poisoned lock guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn account(&self, id: &AccountId) -> Option<Account> {
        self.accounts.get(id).map(|history| Account::clone(&history.account))
    }

    fn entry(&self, account_id: &AccountId, id: EntryId) -> Option<&Arc<Entry>> {
        let place = usize::try_from(id.sequence).ok()?.checked_sub(1)?;
        self.accounts.get(account_id)?.entries.get(place).filter(|entry| entry.id() == id)
    }

    fn write(&mut self, change: &Change, partitions: Partitions) {
        let Change { account, entry } = change;
        if let Some(history) = self.accounts.get_mut(&account.id) {
            history.account = Arc::clone(account);
            history.entries.push(Arc::clone(entry));
            return;
        }
        self.listed.insert((partitions.of(&account.id), account.id.clone()));
        if !account.owner.is_empty() {
            self.by_owner.entry(account.owner.clone()).or_default().insert(account.id.clone());
        }
        let mut history = History { account: Arc::clone(account), entries: Blocks::default() };
        history.entries.push(Arc::clone(entry));
        self.accounts.insert(account.id.clone(), history);
    }

    fn accounts_after(&self, after: Option<(u32, AccountId)>, limit: usize) -> Vec<Account> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let listed = self.listed.range((start, Bound::Unbounded));
        listed.take(limit).filter_map(|(_, id)| self.account(id)).collect()
    }

    fn accounts_of(&self, owner: &Owner, after: Option<&AccountId>, limit: usize) -> Vec<Account> {
        let Some(ids) = self.by_owner.get(owner) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        ids.range((start, Bound::Unbounded)).take(limit).filter_map(|id| self.account(id)).collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        let state = self.serving()?;
        Ok(ids.iter().map(|id| state.account(id)).collect())
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        let mut state = self.serving()?;
        state.records.forget(self.retention, self.clock.steady());
        Ok(commit::apply(&mut state, self.partitions, proposals))
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let state = self.serving()?;
        let Some(history) = state.accounts.get(&query.account_id) else { return Ok(Vec::new()) };
        // Entries are in the order of their ids, so the stretch is found by halving.
        let before = |id: EntryId| history.entries.partition_point(|it| it.id() < id);
        let upto = |id: EntryId| history.entries.partition_point(|it| it.id() <= id);
        let first = |time| EntryId { time, sequence: 0 };
        let last = |time| EntryId { time, sequence: u64::MAX };
        let mut from = query.start.map_or(0, |time| before(first(time)));
        let mut to = query.end.map_or(history.entries.len(), |time| upto(last(time)));
        match (query.order, query.after) {
            (Order::OldestFirst, Some(after)) => from = from.max(upto(after)),
            (Order::NewestFirst, Some(after)) => to = to.min(before(after)),
            (_, None) => {}
        }
        let stretch = history.entries.range(from..to);
        Ok(match query.order {
            Order::OldestFirst => stretch.take(query.limit).map(|it| Entry::clone(it)).collect(),
            Order::NewestFirst => stretch.rev().take(query.limit).map(|it| Entry::clone(it)).collect(),
        })
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let state = self.serving()?;
        Ok(match &query.owner {
            None => {
                let after = query.after.clone().map(|id| (self.partitions.of(&id), id));
                state.accounts_after(after, query.limit)
            }
            Some(owner) => state.accounts_of(owner, query.after.as_ref(), query.limit),
        })
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let after = after.cloned().map(|id| (self.partitions.of(&id), id));
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.serving()?;
        let listed = state.listed.range((start, Bound::Unbounded));
        Ok(listed.take(limit).map(|(_, id)| id.clone()).collect())
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.serving()?.listed.len() as u64))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.serving().map(drop)
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn durability(&self) -> Durability {
        Durability {
            level: DurabilityLevel::None,
            replicas: 0,
            words: "none: everything is lost when this process ends".to_owned(),
        }
    }

    fn clock(&self) -> &Timekeeper {
        &self.clock
    }

    fn bank_id(&self) -> &str {
        &self.bank_id
    }

    fn secret(&self) -> &Secret {
        &self.secret
    }

    fn partitions(&self) -> u32 {
        self.partitions.count()
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }
}
