//! The accounts of one lane as its last commits leave them, those too that are still under way, if all goes as it was
//! decided.

use std::sync::Arc;

use bank_domain::{Account, AccountId, EntryHash};
use bank_store::Proposal;
use lru::LruCache;

/// It may be wrong: others write too, and a commit may fail. What was decided on it conflicts then, and the
/// conflict brings the accounts as they were after its commit.
pub(super) struct Remembered {
    /// `None` for one that does not exist.
    accounts: LruCache<AccountId, Option<Arc<Account>>>,
    accounts_max: usize,
}

impl Remembered {
    pub(super) fn new(accounts_max: usize) -> Self {
        Self { accounts: LruCache::unbounded(), accounts_max }
    }

    /// Whether an account is known, or known not to exist. It is about to be used.
    pub(super) fn recall(&mut self, id: &AccountId) -> bool {
        self.accounts.get(id).is_some()
    }

    /// An account, if it exists as far as is known.
    pub(super) fn account(&self, id: &AccountId) -> Option<&Arc<Account>> {
        self.accounts.peek(id)?.as_ref()
    }

    pub(super) fn head(&self, id: &AccountId) -> Option<EntryHash> {
        self.account(id).map(|account| account.head)
    }

    /// An account was read.
    pub(super) fn learn(&mut self, id: AccountId, account: Option<Account>) {
        self.put(&id, account.map(Arc::new));
    }

    pub(super) fn put(&mut self, id: &AccountId, account: Option<Arc<Account>>) {
        match self.accounts.peek_mut(id) {
            Some(known) => *known = account,
            None => drop(self.accounts.put(id.clone(), account)),
        }
    }

    /// What proposals were decided on, or would have changed, is not known any more.
    pub(super) fn forget(&mut self, proposals: &[Proposal]) {
        for (id, _) in proposals.iter().flat_map(|proposal| &proposal.decided_on) {
            self.accounts.pop(id);
        }
    }

    /// Forgets what was not used for longest, if it is too much. Until then there is room for all of a batch,
    /// however large.
    pub(super) fn trim(&mut self) {
        while self.accounts.len() > self.accounts_max {
            self.accounts.pop_lru();
        }
    }
}
