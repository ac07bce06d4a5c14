//! Reads of lists for one caller: a few at a time, shared fairly among callers and charged to them.
//!
//! A list with a filter reads up to ten thousand entries for a reply that may be empty. So what was read counts against
//! the caller's rate limit, like calls. A caller above the limit waits, and delays nobody else.

use std::sync::Arc;

use bank_domain::{Account, Entry};
use bank_store::{AccountsQuery, EntriesQuery, Store, StoreError};

use crate::admission::{Allowance, Resource};

/// How many accounts or entries count as one more call: reading this many takes about as long as the rest of a call.
const ITEMS_PER_CALL: usize = 50;

/// The store, as one caller reads lists from it.
pub(crate) struct Scans {
    store: Arc<dyn Store>,
    caller: Allowance,
}

impl Scans {
    pub(crate) fn new(store: Arc<dyn Store>, caller: Allowance) -> Self {
        Self { store, caller }
    }

    /// The store, for reads that are no lists.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) async fn entries(&self, query: EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let store = Arc::clone(&self.store);
        self.scan(async move { store.entries(&query).await }).await
    }

    pub(crate) async fn accounts(&self, query: AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let store = Arc::clone(&self.store);
        self.scan(async move { store.accounts(&query).await }).await
    }

    /// Reads a part of a list. The read holds its permit until it has ended, even if the caller leaves: a read of a file
    /// continues in its thread. The permit is free before the caller is charged.
    async fn scan<T: Send + 'static>(
        &self,
        read: impl Future<Output = Result<Vec<T>, StoreError>> + Send + 'static,
    ) -> Result<Vec<T>, StoreError> {
        let permit = self.caller.take(Resource::Scans, 1).await;
        let task = tokio::spawn(async move {
            let items = read.await;
            drop(permit);
            items
        });
        let items =
            task.await.map_err(|error| StoreError::Unavailable(format!("a read ended: {error}")))??;
        self.caller.keep_pace(items.len() / ITEMS_PER_CALL).await;
        Ok(items)
    }
}

#[cfg(test)]
mod tests;
