//! The account cache of one lane.

use std::{slice, sync::Arc};

use bank_domain::{Account, AccountId, EntryHash};
use bank_store::{Proposal, Store, StoreError};
use lru::LruCache;

/// Accounts as the commits of the lane leave them, including those in flight if they apply as decided.
///
/// The cache may be stale: other servers write too, and a commit may fail. What was decided on a stale account
/// conflicts, and the conflict brings the current account.
pub(super) struct AccountCache {
    /// `None` for an account that does not exist.
    accounts: LruCache<AccountId, Option<Arc<Account>>>,
    accounts_max: usize,
}

/// Reads accounts. A damaged one does not keep the others from being read.
pub(super) async fn load(
    store: &dyn Store,
    ids: &[AccountId],
) -> Vec<(AccountId, Result<Option<Account>, StoreError>)> {
    match store.load(ids).await {
        Ok(loaded) => ids.iter().cloned().zip(loaded.into_iter().map(Ok)).collect(),
        Err(StoreError::Corrupt(_)) if ids.len() > 1 => {
            let mut loaded = Vec::with_capacity(ids.len());
            for id in ids {
                loaded.extend(Box::pin(load(store, slice::from_ref(id))).await);
            }
            loaded
        }
        Err(error) => ids.iter().map(|id| (id.clone(), Err(error.clone()))).collect(),
    }
}

impl AccountCache {
    pub(super) fn new(accounts_max: usize) -> Self {
        Self { accounts: LruCache::unbounded(), accounts_max }
    }

    /// Whether the account, or that it does not exist, is cached. Marks it as used.
    pub(super) fn touch(&mut self, id: &AccountId) -> bool {
        self.accounts.get(id).is_some()
    }

    /// The account, if it is cached and exists.
    pub(super) fn get(&self, id: &AccountId) -> Option<&Arc<Account>> {
        self.accounts.peek(id)?.as_ref()
    }

    pub(super) fn head(&self, id: &AccountId) -> Option<EntryHash> {
        self.get(id).map(|account| account.head)
    }

    pub(super) fn put(&mut self, id: &AccountId, account: Option<Arc<Account>>) {
        match self.accounts.peek_mut(id) {
            Some(cached) => *cached = account,
            None => drop(self.accounts.put(id.clone(), account)),
        }
    }

    /// Evicts the accounts that a proposal was decided on.
    pub(super) fn evict(&mut self, proposal: &Proposal) {
        for (id, _) in &proposal.decided_on {
            self.accounts.pop(id);
        }
    }

    /// Evicts the least recently used accounts above the limit. Between calls the cache holds all accounts of a batch,
    /// however many.
    pub(super) fn trim(&mut self) {
        while self.accounts.len() > self.accounts_max {
            self.accounts.pop_lru();
        }
    }
}
