//! The writes that this server has acknowledged, and whether they are still in the store.
//!
//! A store may go back to an earlier state: a Redis that crashes with `everysec` loses its last writes, and so does a
//! failover to a replica that lagged behind. The bank is not told. But the server remembers the newest entry of each
//! account that it has acknowledged. It notices an account without that entry whenever it reads one, and by a sweep over all
//! remembered accounts at the beginning of each epoch of the store.
//!
//! There are no false alarms: entries are never removed and never change, so what was acknowledged before a read began is
//! in what was read, whoever else has written. What another server acknowledged, or this one has evicted, is not noticed.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bank_domain::{Account, AccountId, EntryHash, EntryId, Timestamp};
use bank_store::{EntriesQuery, Store, StoreError, clock::Timekeeper};
use lru::LruCache;
use tokio::time::{Instant, sleep};

use super::accounts::load;
use crate::{metrics::Metrics, notifier::Notifier};

/// How many accounts a sweep reads at a time: few enough to delay no other call.
const SWEEP_ACCOUNTS_MAX: usize = 256;

/// The pause before a sweep repeats a read that failed.
const SWEEP_PAUSE: Duration = Duration::from_millis(200);

/// The writes that this server acknowledged and that are known to be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostWrites {
    /// How many accounts lack an acknowledged entry.
    pub accounts: u64,
    /// How many entries they lack at least. What was overwritten cannot be counted.
    pub entries_min: u64,
    /// When the last loss was found.
    pub found_at: Option<Timestamp>,
}

/// The newest acknowledged entry of each account; cheap to clone.
#[derive(Clone)]
pub(super) struct Acknowledged {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Timekeeper,
    metrics: Arc<Metrics>,
    notifier: Notifier,
    marks: Mutex<LruCache<AccountId, Mark>>,
    lost: Mutex<LostWrites>,
}

/// The newest acknowledged entry of an account. Its hash covers all entries before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    entry_id: EntryId,
    hash: EntryHash,
    noted_at: Instant,
}

impl Mark {
    fn of(account: &Account, noted_at: Instant) -> Self {
        Self {
            entry_id: EntryId { time: account.updated_at, sequence: account.version },
            hash: account.head,
            noted_at,
        }
    }

    fn version(&self) -> u64 {
        self.entry_id.sequence
    }

    /// Whether the entry is in the history of the account.
    async fn is_in_history(&self, store: &dyn Store, id: &AccountId) -> Result<bool, StoreError> {
        let EntryId { time, sequence } = self.entry_id;
        let query = EntriesQuery {
            start: Some(time),
            end: Some(time),
            after: sequence.checked_sub(1).map(|sequence| EntryId { time, sequence }),
            limit: 1,
            ..EntriesQuery::all(id.clone())
        };
        match store.entries(&query).await {
            Ok(entries) => Ok(entries.first().is_some_and(|entry| entry.hash == self.hash)),
            Err(error) if error.is_retryable() => Err(error),
            // It is damaged and not lost. Whoever reads it gets the error.
            Err(_) => Ok(true),
        }
    }
}

impl Acknowledged {
    /// Remembers the `accounts_max` accounts that were written to last.
    pub(super) fn new(
        accounts_max: usize,
        clock: Timekeeper,
        metrics: Arc<Metrics>,
        notifier: Notifier,
    ) -> Self {
        let capacity = NonZeroUsize::new(accounts_max).unwrap_or(NonZeroUsize::MIN);
        let marks = Mutex::new(LruCache::new(capacity));
        Self { shared: Arc::new(Shared { clock, metrics, notifier, marks, lost: Mutex::default() }) }
    }

    /// Remembers the accounts of a commit that is about to be acknowledged, in order, and notifies their watches.
    pub(super) fn note<'a>(&self, accounts: impl IntoIterator<Item = &'a Account>) {
        let now = Instant::now();
        let mut marks = self.marks();
        for account in accounts {
            self.shared.notifier.publish(account);
            let mark = Mark::of(account, now);
            match marks.get_mut(&account.id) {
                Some(known) => *known = mark,
                None => drop(marks.put(account.id.clone(), mark)),
            }
        }
    }

    /// Compares an account that was read by a call that began at `asked_at`.
    pub(super) fn compare(&self, id: &AccountId, found: Option<&Account>, asked_at: Instant) {
        if let Some((mark, found_version)) = self.mismatch(id, found, asked_at)
            && found_version <= mark.version()
        {
            self.report(id, &mark, found_version);
        }
    }

    pub(super) fn lost(&self) -> LostWrites {
        *self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all remembered accounts whenever the store may have gone back. Runs for ever.
    pub(super) async fn sweep_each_epoch(self, store: Arc<dyn Store>) {
        let mut epoch = 0;
        loop {
            epoch = store.epoch_after(epoch).await;
            tokio::select! {
                () = self.sweep(&*store) => {}
                // The sweep starts again.
                _ = store.epoch_after(epoch) => {}
            }
        }
    }

    async fn sweep(&self, store: &dyn Store) {
        let ids: Vec<_> = self.marks().iter().map(|(id, _)| id.clone()).collect();
        for ids in ids.chunks(SWEEP_ACCOUNTS_MAX) {
            while self.sweep_some(store, ids).await.is_err_and(|error| error.is_retryable()) {
                sleep(SWEEP_PAUSE).await;
            }
        }
        tracing::debug!(accounts = ids.len(), "checked that all acknowledged entries are in the store");
    }

    async fn sweep_some(&self, store: &dyn Store, ids: &[AccountId]) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        for (id, found) in load(store, ids).await {
            match found {
                Ok(found) => self.compare_history(store, &id, found.as_ref(), asked_at).await?,
                Err(error) if error.is_retryable() => return Err(error),
                // Whoever needs the account gets the error.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Compares an account, and its history if there are newer entries.
    async fn compare_history(
        &self,
        store: &dyn Store,
        id: &AccountId,
        found: Option<&Account>,
        asked_at: Instant,
    ) -> Result<(), StoreError> {
        let Some((mark, found_version)) = self.mismatch(id, found, asked_at) else { return Ok(()) };
        if found_version <= mark.version() || !mark.is_in_history(store, id).await? {
            self.report(id, &mark, found_version);
        }
        Ok(())
    }

    /// The mark of an account that was read without the acknowledged entry as its newest, and the version that was read. If
    /// that is newer, only the history can tell whether the entry is lost.
    fn mismatch(&self, id: &AccountId, found: Option<&Account>, asked_at: Instant) -> Option<(Mark, u64)> {
        // An entry acknowledged since then may be missing from what was read.
        let mark = self.marks().peek(id).copied().filter(|mark| mark.noted_at < asked_at)?;
        let is_newest =
            found.is_some_and(|account| account.version == mark.version() && account.head == mark.hash);
        (!is_newest).then_some((mark, found.map_or(0, |account| account.version)))
    }

    /// Reports a loss once, however often it is found.
    fn report(&self, id: &AccountId, mark: &Mark, found_version: u64) {
        let mut marks = self.marks();
        if marks.peek(id) != Some(mark) {
            return;
        }
        marks.pop(id);
        drop(marks);
        // New entries may have replaced the lost ones.
        let entries_min = mark.version().saturating_sub(found_version).max(1);
        self.shared.metrics.lost_entries.inc_by(entries_min);
        let mut lost = self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.accounts += 1;
        lost.entries_min += entries_min;
        lost.found_at = Some(self.shared.clock.estimate());
        tracing::error!(
            account = id.as_str(),
            acknowledged_version = mark.version(),
            found_version,
            entries_min,
            accounts_so_far = lost.accounts,
            "acknowledged writes are lost: the store has gone back to an earlier state"
        );
    }

    fn marks(&self) -> MutexGuard<'_, LruCache<AccountId, Mark>> {
        // Nothing panics while it is held.
        self.shared.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
