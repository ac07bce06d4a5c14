//! Records of requests, those of the last one to two retention times.

use std::{
    hash::BuildHasher as _,
    mem,
    time::{Duration, Instant},
};

use bank_domain::Fingerprint;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{Attempt, KeptOutcome, RequestKey};

/// What is kept of a request.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: RequestKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) attempt: Attempt,
    pub(super) outcome: KeptOutcome,
    /// In seconds since 1970-01-01T00:00:00Z.
    pub(super) recorded_at: u64,
}

/// The windows of time in which requests were recorded: the one that is under way, and the one before.
#[derive(Debug)]
pub(super) struct Records {
    hasher: DefaultHashBuilder,
    /// Each record with the hash of its key: a table that grows need not look at the keys again.
    windows: [HashTable<(u64, Record)>; 2],
    began_at: Instant,
}

impl Records {
    pub(super) fn new() -> Self {
        Self { hasher: DefaultHashBuilder::default(), windows: Default::default(), began_at: Instant::now() }
    }

    pub(super) fn get(&self, key: &RequestKey) -> Option<&Record> {
        let hash = self.hasher.hash_one(key);
        let found = |(_, record): &(u64, Record)| record.key == *key;
        self.windows.iter().find_map(|window| window.find(hash, found)).map(|(_, record)| record)
    }

    /// Adds a record to the window that is under way. Its key has none.
    pub(super) fn add(&mut self, record: Record) {
        self.insert(0, record);
    }

    /// Adds a record that has this age, or takes it for that of its key, unless it is too old.
    pub(super) fn import(&mut self, record: Record, age_seconds: u64, retention: Duration) {
        // Those of the older window live for up to one retention time more.
        let window = match age_seconds.checked_div(retention.as_secs().max(1)) {
            Some(0) => 0,
            Some(1) => 1,
            _ => return,
        };
        let hash = self.hasher.hash_one(&record.key);
        if let Ok(known) = self.windows[window].find_entry(hash, |(_, known)| known.key == record.key) {
            known.remove();
        }
        self.insert(window, record);
    }

    fn insert(&mut self, window: usize, record: Record) {
        let hash = self.hasher.hash_one(&record.key);
        self.windows[window].insert_unique(hash, (hash, record), |(hash, _)| *hash);
    }

    /// Forgets those that are older than the retention time.
    pub(super) fn forget(&mut self, retention: Duration) {
        let elapsed = self.began_at.elapsed();
        if elapsed >= retention {
            self.began_at = Instant::now();
            let [current, before] = &mut self.windows;
            mem::swap(current, before);
            current.clear();
        }
        if elapsed >= 2 * retention {
            self.windows[1].clear();
        }
    }

    /// All of them, those of the newer window last.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.windows.iter().rev().flatten().map(|(_, record)| record)
    }

    pub(super) fn clear(&mut self) {
        self.windows = Default::default();
    }
}
