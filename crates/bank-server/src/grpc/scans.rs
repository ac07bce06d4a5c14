//! A store from which one caller reads lists: a few reads at a time, fairly among all callers, and each paid for.
//!
//! A list with a filter looks at up to ten thousand entries for a reply that may be empty. So what is looked at
//! counts against the caller's rate, as calls do, once it is known how much it was; whoever has no room left for it
//! waits, and holds up nobody.

use std::sync::Arc;

use crate::admission::{Allowance, Resource};
use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};
use bank_store::{
    AccountsQuery, Committed, Durability, EntriesQuery, Proposal, Secret, Store, StoreError,
    clock::Timekeeper,
};

/// How many accounts or entries count as one more call: reading so many takes about as long as the rest of a call.
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

    /// Reads a part of a list. Its place is taken until the read has ended, even if the caller leaves: a read of a
    /// file goes on in its thread. It is free before the read is paid for.
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

    fn name(&self) -> String {
        self.store.name()
    }

    fn durability(&self) -> Durability {
        self.store.durability()
    }

    fn bank_id(&self) -> &str {
        self.store.bank_id()
    }

    fn secret(&self) -> &Secret {
        self.store.secret()
    }

    fn clock(&self) -> &Timekeeper {
        self.store.clock()
    }

    fn partitions(&self) -> u32 {
        self.store.partitions()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bank_store::MemoryStore;
    use futures::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;
    use crate::admission::one_scan;

    /// Callers who reset their calls could have as many reads under way as the store allows in all.
    #[tokio::test]
    async fn a_read_keeps_its_place_until_it_has_ended_even_if_its_caller_leaves() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Duration::from_hours(1)));
        let caller = one_scan();
        let scans = Scans::new(store, caller.clone());
        let (end, ended) = oneshot::channel::<()>();
        {
            let read = scans.scan(|_| async move {
                let _ = ended.await;
                Ok(vec![0])
            });
            tokio::pin!(read);
            assert!(read.as_mut().now_or_never().is_none());
        }
        tokio::task::yield_now().await;
        assert!(caller.take(Resource::Scans, 1).now_or_never().is_none(), "the read goes on");
        end.send(()).unwrap();
        drop(caller.take(Resource::Scans, 1).await);
    }
}
