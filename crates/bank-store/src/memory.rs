//! The backend for tests and trials: the memory of this process.

mod backup;
mod commit;
mod state;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, EntryId};
use uuid::Uuid;

use self::state::{ImportState, Records, State};
use crate::{
    AccountsQuery, Backup, Committed, Durability, DurabilityLevel, EntriesQuery, Order, Proposal, Secret,
    Store, StoreError, backup::marked, clock::Timekeeper, partition::Partitions,
};

/// Keeps a bank in memory until the process ends.
///
/// Every call holds one lock, so each commit is a single instant for every reader. Memory grows with the number of
/// accounts and entries, and of the requests in up to two retention times.
#[derive(Debug)]
pub struct MemoryStore {
    bank_id: String,
    secret: Secret,
    request_retention: Duration,
    partitions: Partitions,
    clock: Timekeeper,
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty bank, which keeps request records for at least the given time.
    pub fn new(request_retention: Duration) -> Self {
        let store = Self {
            bank_id: Uuid::new_v4().to_string(),
            secret: Secret::draw(),
            request_retention,
            partitions: Partitions::default(),
            clock: Timekeeper::default(),
            state: Mutex::default(),
        };
        store.with_clock(Timekeeper::default())
    }

    /// Sets the clock of an empty bank.
    #[must_use]
    pub fn with_clock(self, clock: Timekeeper) -> Self {
        self.locked().records = Records::starting_at(clock.steady());
        Self { clock, ..self }
    }

    /// Sets the number of partitions of an empty bank.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] unless the number is from 1 to 16384.
    pub fn with_partitions(self, count: u32) -> Result<Self, StoreError> {
        Ok(Self { partitions: Partitions::try_new(count)?, ..self })
    }

    /// The data of a bank that is not being imported.
    fn serving(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.locked();
        if matches!(state.import, ImportState::InProgress(_)) { Err(marked()) } else { Ok(state) }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // Nothing panics half way through a change, so poisoned data is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expire_records(&self, state: &mut State) {
        state.records.expire(self.request_retention, self.clock.steady());
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
        self.expire_records(&mut state);
        Ok(commit::apply(&mut state, self.partitions, proposals))
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let state = self.serving()?;
        let Some(history) = state.histories.get(&query.account_id) else { return Ok(Vec::new()) };
        let entries = &history.entries;
        let before = |id: EntryId| entries.partition_point(|entry| entry.id() < id);
        let through = |id: EntryId| entries.partition_point(|entry| entry.id() <= id);
        let mut start = query.start.map_or(0, |time| before(EntryId { time, sequence: 0 }));
        let mut end = query.end.map_or(entries.len(), |time| through(EntryId { time, sequence: u64::MAX }));
        match (query.order, query.after) {
            (Order::OldestFirst, Some(after)) => start = start.max(through(after)),
            (Order::NewestFirst, Some(after)) => end = end.min(before(after)),
            (_, None) => {}
        }
        let selected = entries.get(start..end).unwrap_or_default().iter().map(|entry| Entry::clone(entry));
        Ok(match query.order {
            Order::OldestFirst => selected.take(query.limit).collect(),
            Order::NewestFirst => selected.rev().take(query.limit).collect(),
        })
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let state = self.serving()?;
        let AccountsQuery { owner, after, limit } = query;
        Ok(match owner {
            None => state
                .listed(after.as_ref(), self.partitions)
                .take(*limit)
                .filter_map(|id| state.account(id))
                .collect(),
            Some(owner) => state
                .owned_by(owner, after.as_ref())
                .take(*limit)
                .filter_map(|id| state.account(id))
                .collect(),
        })
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let state = self.serving()?;
        Ok(state.listed(after, self.partitions).take(limit).cloned().collect())
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.serving()?.histories.len() as u64))
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
            description: "none: everything is lost when this process ends".to_owned(),
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
