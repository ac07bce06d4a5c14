//! A store from which one caller reads lists: a few reads at a time, fairly among all callers, and each paid for.
//!
//! A list with a filter looks at up to ten thousand entries for a reply that may be empty. So what is looked at
//! counts against the caller's rate, as calls do, once it is known how much it was; whoever has no room left for it
//! waits, and holds up nobody.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};
use bank_store::{
    AccountsQuery, Committed, Durability, EntriesQuery, Proposal, Secret, Store, StoreError,
    clock::Timekeeper,
};
use tokio::time::sleep;

use crate::server::{Allowance, TooFast};

/// How many accounts or entries count as one more call: reading so many takes about as long as the rest of a call.
const ITEMS_PER_CALL: usize = 50;
/// The shortest pause of a caller who is too fast.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The store, as one caller reads lists from it.
pub(super) struct Scans {
    store: Arc<dyn Store>,
    caller: Allowance,
}

impl Scans {
    pub(super) fn new(store: Arc<dyn Store>, caller: Allowance) -> Self {
        Self { store, caller }
    }

    /// Reads a part of a list. Its place is free before it is paid for.
    async fn scan<T>(
        &self,
        read: impl Future<Output = Result<Vec<T>, StoreError>>,
    ) -> Result<Vec<T>, StoreError> {
        let place = self.caller.scan().await;
        let items = read.await?;
        drop(place);
        let calls = items.len() / ITEMS_PER_CALL;
        while let Err(TooFast { retry_after, .. }) = self.caller.take_at_most(calls) {
            sleep(retry_after.max(PAUSE_MIN)).await;
        }
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
        self.scan(self.store.entries(query)).await
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        self.scan(self.store.accounts(query)).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.scan(self.store.account_ids(after, limit)).await
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
