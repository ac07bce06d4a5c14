//! A store from which one caller reads lists: a few reads at a time, shared fairly among callers and charged to them.
//!
//! A list with a filter reads up to ten thousand entries for a reply that may be empty. So what was read counts against
//! the caller's rate limit, like calls. A caller above the limit waits, and delays nobody else.

use std::sync::Arc;

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};
use bank_store::{AccountsQuery, Committed, EntriesQuery, Proposal, Store, StoreError, StoreProperties};

use crate::admission::{Allowance, Resource};

/// How many accounts or entries count as one more call: reading this many takes about as long as the rest of a call.
const ITEMS_PER_CALL: usize = 50;

/// The store, as one caller reads lists from it.
pub(super) struct Scans {
    store: Arc<dyn Store>,
    caller: Allowance,
}

impl Scans {
    pub(super) fn new(store: Arc<dyn Store>, caller: Allowance) -> Self {
        Self { store, caller }
    }

    /// Reads a part of a list. The read holds its permit until it has ended, even if the caller leaves: a read of a file
    /// continues in its thread. The permit is free before the caller is charged.
    async fn scan<T: Send + 'static, Read>(
        &self,
        read: impl FnOnce(Arc<dyn Store>) -> Read,
    ) -> Result<Vec<T>, StoreError>
    where
        Read: Future<Output = Result<Vec<T>, StoreError>> + Send + 'static,
    {
        let place = self.caller.take(Resource::Scans, 1).await;
        let read = read(Arc::clone(&self.store));
        let task = tokio::spawn(async move {
            let items = read.await;
            drop(place);
            items
        });
        let items =
            task.await.map_err(|error| StoreError::Unavailable(format!("a read ended: {error}")))??;
        self.caller.keep_pace(items.len() / ITEMS_PER_CALL).await;
        Ok(items)
    }
}

#[async_trait]
impl Store for Scans {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        self.store.load(ids).await
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        self.store.commit(proposals).await
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let query = query.clone();
        self.scan(|store| async move { store.entries(&query).await }).await
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let query = query.clone();
        self.scan(|store| async move { store.accounts(&query).await }).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let after = after.cloned();
        self.scan(|store| async move { store.account_ids(after.as_ref(), limit).await }).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.store.health().await
    }

    fn properties(&self) -> &StoreProperties {
        self.store.properties()
    }
}

#[cfg(test)]
mod tests;
