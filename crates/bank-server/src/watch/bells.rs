//! How a watch hears of what the same server has committed.
//!
//! The ledger rings, and never waits for it: one look at a number while nobody watches, else a short
//! lock. What a bell was rung for is bounded; past that it says that there was much.

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

use super::Scope;
use crate::metrics::Metrics;

/// How many accounts a bell remembers that it was rung for.
const ACCOUNTS_REMEMBERED_MAX: usize = 64;

/// A handle to all bells of a server; cheap to clone.
#[derive(Clone)]
pub struct Watchers {
    shared: Arc<Shared>,
}

struct Shared {
    metrics: Arc<Metrics>,
    count: AtomicUsize,
    bells: Mutex<HashMap<Rope, Vec<Arc<Bell>>>>,
}

/// What a bell hangs on.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Rope {
    Account(AccountId),
    Owner(Owner),
    Bank,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
    notify: Notify,
}

/// What a bell was rung for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// For these accounts.
    For(HashSet<AccountId>),
    /// For more accounts than it remembers.
    ForTooMany,
}

/// The bell of one watch, which is taken down when this is dropped.
pub(super) struct Registered {
    watchers: Watchers,
    rope: Rope,
    bell: Arc<Bell>,
}

impl Watchers {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let shared = Shared { metrics, count: AtomicUsize::new(0), bells: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// A commit that leaves an account so has been made.
    pub(crate) fn ring(&self, account: &Account) {
        // A watch that is missed for being new looks for itself.
        if self.shared.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let bells = self.bells();
        let ropes = [Rope::Account(account.id.clone()), Rope::Owner(account.owner.clone()), Rope::Bank];
        for bell in ropes.iter().filter_map(|rope| bells.get(rope)).flatten() {
            bell.ring(&account.id);
        }
    }

    pub(super) fn register(&self, scope: &Scope) -> Registered {
        let rope = match scope {
            Scope::Account(id) => Rope::Account(id.clone()),
            Scope::Owner(owner) => Rope::Owner(owner.clone()),
            Scope::Bank => Rope::Bank,
        };
        let bell = Arc::<Bell>::default();
        self.bells().entry(rope.clone()).or_default().push(Arc::clone(&bell));
        self.shared.count.fetch_add(1, Ordering::AcqRel);
        self.shared.metrics.watch_began();
        Registered { watchers: self.clone(), rope, bell }
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<Rope, Vec<Arc<Bell>>>> {
        // Nothing panics while it is held.
        self.shared.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Rung {
    fn default() -> Self {
        Self::For(HashSet::new())
    }
}

impl Bell {
    fn ring(&self, id: &AccountId) {
        let mut rung = self.rung();
        if let Rung::For(accounts) = &mut *rung {
            if accounts.len() < ACCOUNTS_REMEMBERED_MAX {
                accounts.insert(id.clone());
            } else if !accounts.contains(id) {
                *rung = Rung::ForTooMany;
            }
        }
        drop(rung);
        self.notify.notify_one();
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        // Nothing panics while it is held.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// Waits until it has been rung since this was waited for last.
    pub(super) async fn ringing(&self) {
        self.bell.notify.notified().await;
    }

    /// What it was rung for since this was asked last.
    pub(super) fn take(&self) -> Rung {
        mem::take(&mut self.bell.rung())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut bells = self.watchers.bells();
        if let Some(hanging) = bells.get_mut(&self.rope) {
            hanging.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
            if hanging.is_empty() {
                bells.remove(&self.rope);
            }
        }
        drop(bells);
        self.watchers.shared.count.fetch_sub(1, Ordering::AcqRel);
        self.watchers.shared.metrics.watch_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_remembers_what_it_was_rung_for_up_to_a_bound() {
        let bell = Bell::default();
        let id = |number: usize| format!("a{number}").parse::<AccountId>().unwrap();
        for number in (0..ACCOUNTS_REMEMBERED_MAX).chain([0, 0]) {
            bell.ring(&id(number));
        }
        let Rung::For(accounts) = mem::take(&mut *bell.rung()) else { panic!("it was not too many") };
        assert_eq!(accounts.len(), ACCOUNTS_REMEMBERED_MAX);
        for number in 0..10 * ACCOUNTS_REMEMBERED_MAX {
            bell.ring(&id(number));
        }
        assert_eq!(mem::take(&mut *bell.rung()), Rung::ForTooMany);
        assert_eq!(*bell.rung(), Rung::default());
    }

    #[test]
    fn bells_are_taken_down_with_their_watches() {
        let watchers = Watchers::new(Arc::new(Metrics::new().unwrap()));
        let scope = Scope::Account("a".parse().unwrap());
        let first = watchers.register(&scope);
        let second = watchers.register(&scope);
        drop(first);
        assert_eq!(watchers.bells().values().map(Vec::len).sum::<usize>(), 1);
        drop(second);
        assert!(watchers.bells().is_empty());
        assert_eq!(watchers.shared.count.load(Ordering::Acquire), 0);
    }
}
