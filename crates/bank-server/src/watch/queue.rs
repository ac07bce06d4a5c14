//! Accounts that are waiting to be read, each once.

use std::collections::{HashSet, VecDeque};

use bank_domain::AccountId;

/// First in, first out. An account that is already waiting keeps its place, so a busy account does not delay others.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<AccountId>,
    waiting: HashSet<AccountId>,
}

impl Queue {
    pub(super) fn push(&mut self, id: AccountId) {
        if self.waiting.insert(id.clone()) {
            self.order.push_back(id);
        }
    }

    pub(super) fn extend(&mut self, ids: impl IntoIterator<Item = AccountId>) {
        ids.into_iter().for_each(|id| self.push(id));
    }

    pub(super) fn pop(&mut self) -> Option<AccountId> {
        let id = self.order.pop_front()?;
        self.waiting.remove(&id);
        Some(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
