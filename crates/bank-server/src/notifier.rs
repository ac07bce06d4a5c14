//! Tells subscribers which accounts this server has just written to.
//!
//! The ledger publishes and never waits for a subscriber: without subscriptions that costs one atomic read, otherwise a
//! short lock. A subscription collects up to 64 accounts; beyond that it only knows that there were too many.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bank_domain::{Account, AccountId, Owner};
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// How many changed accounts a subscription collects.
const ACCOUNTS_MAX: usize = 64;

/// The accounts that a subscription, or a watch, is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    /// One account.
    Account(AccountId),
    /// All accounts of an owner.
    Owner(Owner),
    /// Every account.
    Bank,
}

impl Selection {
    /// Whether it includes this account.
    pub(crate) fn includes(&self, account: &Account) -> bool {
        match self {
            Self::Account(id) => account.id == *id,
            Self::Owner(owner) => account.owner == *owner,
            Self::Bank => true,
        }
    }
}

/// A handle to all subscriptions of a server; cheap to clone.
#[derive(Clone)]
pub struct Notifier {
    shared: Arc<Shared>,
}

struct Shared {
    metrics: Arc<Metrics>,
    count: AtomicUsize,
    mailboxes: Mutex<HashMap<Selection, Vec<Arc<Mailbox>>>>,
}

/// What one subscription has not taken yet.
#[derive(Default)]
struct Mailbox {
    changed: Mutex<Changed>,
    notify: Notify,
}

/// Accounts that were written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Exactly these.
    Accounts(HashSet<AccountId>),
    /// More than a subscription collects: any account may have changed.
    TooMany,
}

/// A subscription, which ends when this is dropped.
pub(crate) struct Subscription {
    notifier: Notifier,
    selection: Selection,
    mailbox: Arc<Mailbox>,
}

impl Notifier {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let shared = Shared { metrics, count: AtomicUsize::new(0), mailboxes: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Publishes that an account was written to. `account` is its state after the commit.
    pub(crate) fn publish(&self, account: &Account) {
        // A subscription that is too new to be counted here belongs to a watch that has yet to read the store.
        if self.shared.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mailboxes = self.mailboxes();
        let selections = [
            Selection::Account(account.id.clone()),
            Selection::Owner(account.owner.clone()),
            Selection::Bank,
        ];
        for mailbox in selections.iter().filter_map(|selection| mailboxes.get(selection)).flatten() {
            mailbox.add(&account.id);
        }
    }

    pub(crate) fn subscribe(&self, selection: Selection) -> Subscription {
        let mailbox = Arc::<Mailbox>::default();
        self.mailboxes().entry(selection.clone()).or_default().push(Arc::clone(&mailbox));
        self.shared.count.fetch_add(1, Ordering::AcqRel);
        self.shared.metrics.watches_open.inc();
        Subscription { notifier: self.clone(), selection, mailbox }
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<Selection, Vec<Arc<Mailbox>>>> {
        // Nothing panics while it is held.
        self.shared.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Changed {
    fn default() -> Self {
        Self::Accounts(HashSet::new())
    }
}

impl Mailbox {
    fn add(&self, id: &AccountId) {
        let mut changed = self.changed();
        if let Changed::Accounts(accounts) = &mut *changed {
            if accounts.len() < ACCOUNTS_MAX {
                accounts.insert(id.clone());
            } else if !accounts.contains(id) {
                *changed = Changed::TooMany;
            }
        }
        drop(changed);
        self.notify.notify_one();
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        // Nothing panics while it is held.
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    pub(crate) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Waits until an account was written to since the last wait.
    pub(crate) async fn notified(&self) {
        self.mailbox.notify.notified().await;
    }

    /// What was written to since the last call.
    pub(crate) fn take(&self) -> Changed {
        mem::take(&mut self.mailbox.changed())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut mailboxes = self.notifier.mailboxes();
        if let Some(subscribed) = mailboxes.get_mut(&self.selection) {
            subscribed.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
            if subscribed.is_empty() {
                mailboxes.remove(&self.selection);
            }
        }
        drop(mailboxes);
        self.notifier.shared.count.fetch_sub(1, Ordering::AcqRel);
        self.notifier.shared.metrics.watches_open.dec();
    }
}

#[cfg(test)]
mod tests;
