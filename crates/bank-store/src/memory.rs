//! The backend for tests and trials: the memory of this process.

mod backup;
mod state;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};
use uuid::Uuid;

use self::state::{ImportState, Records, State};
use crate::{
    AccountsQuery, Backup, Committed, Durability, DurabilityLevel, EntriesQuery, Order, Proposal, Secret,
    Store, StoreError, StoreProperties, backup::marked, clock::Timekeeper, placement::Placement,
    settlement::settle,
};

/// Keeps a bank in memory until the process ends.
///
/// Every call holds one lock, so each commit is a single instant for every reader. Memory grows with the number of
/// accounts and entries, and of the requests in up to two retention times.
#[derive(Debug)]
pub struct MemoryStore {
    properties: StoreProperties,
    request_retention: Duration,
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty bank, which keeps request records for at least the given time.
    pub fn new(request_retention: Duration) -> Self {
        let clock = Timekeeper::default();
        let properties = StoreProperties {
            name: "memory".to_owned(),
            durability: Durability {
                level: DurabilityLevel::None,
                replicas: 0,
                description: "none: everything is lost when this process ends".to_owned(),
            },
            clock: clock.clone(),
            bank_id: Uuid::new_v4().to_string(),
            secret: Secret::draw(),
            placement: Placement::default(),
            commits_span_partitions: true,
        };
        Self { properties, request_retention, state: Mutex::default() }.with_clock(clock)
    }

    /// Sets the clock of an empty bank.
    #[must_use]
    pub fn with_clock(mut self, clock: Timekeeper) -> Self {
        self.locked().records = Records::starting_at(clock.steady());
        self.properties.clock = clock;
        self
    }

    /// Sets the placement of accounts in an empty bank.
    #[must_use]
    pub fn with_placement(mut self, placement: Placement) -> Self {
        self.locked().placement = placement;
        self.properties.placement = placement;
        self
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
        state.records.expire(self.request_retention, self.clock().steady());
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
        settle(&mut *state, proposals)
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let state = self.serving()?;
        let Some(history) = state.histories.get(&query.account_id) else { return Ok(Vec::new()) };
        let ids = query.ids();
        let start = history.entries.partition_point(|entry| entry.id() < *ids.start());
        let end = history.entries.partition_point(|entry| entry.id() <= *ids.end());
        let selected = history.entries.get(start..end).unwrap_or_default().iter();
        let selected = selected.map(|entry| Entry::clone(entry));
        Ok(match query.order {
            Order::OldestFirst => selected.take(query.limit).collect(),
            Order::NewestFirst => selected.rev().take(query.limit).collect(),
        })
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let state = self.serving()?;
        let AccountsQuery { owner, after, limit } = query;
        let ids: Vec<_> = match owner {
            None => state.listed(after.as_ref()).take(*limit).collect(),
            Some(owner) => state.owned_by(owner, after.as_ref()).take(*limit).collect(),
        };
        Ok(ids.into_iter().filter_map(|id| state.account(id)).collect())
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let state = self.serving()?;
        Ok(state.listed(after).take(limit).cloned().collect())
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.serving()?.histories.len() as u64))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.serving().map(drop)
    }

    fn properties(&self) -> &StoreProperties {
        &self.properties
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }
}
