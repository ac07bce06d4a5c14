//! Records of requests, those of the last one to two retention times.

use std::{hash::BuildHasher as _, mem, time::Duration};

use bank_domain::Fingerprint;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::blocks::Blocks;
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
    windows: [Window; 2],
    /// When the one that is under way began, by the steady clock.
    began_at: Duration,
}

#[derive(Debug, Default)]
struct Window {
    /// The hash of each key, and where its record is: so little is moved when the table grows, and no key is
    /// looked at.
    places: HashTable<(u64, usize)>,
    records: Blocks<Record>,
}

impl Records {
    pub(super) fn new(now: Duration) -> Self {
        Self { hasher: DefaultHashBuilder::default(), windows: Default::default(), began_at: now }
    }

    pub(super) fn get(&self, key: &RequestKey) -> Option<&Record> {
        let hash = self.hasher.hash_one(key);
        self.windows.iter().find_map(|window| window.get(hash, key))
    }

    /// Adds a record. Its key has none.
    pub(super) fn add(&mut self, record: Record) {
        let hash = self.hasher.hash_one(&record.key);
        self.windows[0].add(hash, record);
    }

    /// Adds a record that has this age, unless it is too old, or is there.
    pub(super) fn import(&mut self, record: Record, age_seconds: u64, retention: Duration) {
        // Those of the older window live for up to one retention time more.
        let window = match age_seconds.checked_div(retention.as_secs().max(1)) {
            Some(0) => 0,
            Some(1) => 1,
            _ => return,
        };
        let hash = self.hasher.hash_one(&record.key);
        let window = &mut self.windows[window];
        if window.get(hash, &record.key).is_none() {
            window.add(hash, record);
        }
    }

    /// Forgets those that are older than the retention time.
    pub(super) fn forget(&mut self, retention: Duration, now: Duration) {
        let elapsed = now.saturating_sub(self.began_at);
        if elapsed >= retention {
            self.began_at = now;
            let [current, before] = &mut self.windows;
            *before = mem::take(current);
        }
        if elapsed >= 2 * retention {
            self.windows[1] = Window::default();
        }
    }

    /// All of them, those of the newer window last.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.windows.iter().rev().flat_map(|window| window.records.iter())
    }

    pub(super) fn clear(&mut self) {
        self.windows = Default::default();
    }
}

impl Window {
    fn get(&self, hash: u64, key: &RequestKey) -> Option<&Record> {
        let record = |place| self.records.get(place).filter(|record| record.key == *key);
        let (_, place) =
            self.places.find(hash, |(known, place)| *known == hash && record(*place).is_some())?;
        record(*place)
    }

    fn add(&mut self, hash: u64, record: Record) {
        self.places.insert_unique(hash, (hash, self.records.len()), |(hash, _)| *hash);
        self.records.push(record);
    }
}
