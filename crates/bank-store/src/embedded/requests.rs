//! Outcomes of requests, in windows of time: found by name, forgotten by age.
//!
//! A window is as long as records were kept when the bank was founded, so a commit looks at two of
//! them, unless the retention was raised since. Every commit forgets some records that are too old,
//! more than it adds: they go as steadily as they came.

use std::time::{SystemTime, UNIX_EPOCH};

use redb::{ReadableTable, Table};

use super::{
    codec::{self, Record},
    file::storage_error,
    tables::{self, Row},
};
use crate::{RequestKey, StoreError};

/// How many records a commit forgets besides two for each proposal.
const FORGOTTEN_MIN: usize = 64;

/// How request records are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) seconds: u64,
    pub(super) window_seconds: u64,
}

/// The windows that can hold a record which is not too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// What is before this is too old.
    oldest: u64,
    /// What is new is written here.
    current: u64,
    /// Those before the current one that hold anything, the newest first.
    earlier: Vec<u64>,
}

impl Windows {
    /// The windows at an instant. A clock that was set back does not take the bank to a window before
    /// the newest that it has written to.
    pub(super) fn at(
        now_seconds: u64,
        retention: Retention,
        requests: &impl ReadableTable<tables::RequestKey, Row>,
    ) -> Result<Self, StoreError> {
        let oldest = now_seconds.saturating_sub(retention.seconds) / retention.window_seconds;
        let mut written = Vec::new();
        let mut next = oldest;
        while let Some(row) = requests.range((next, "", "", "")..).map_err(storage_error)?.next() {
            let (key, _) = row.map_err(storage_error)?;
            let (window, ..) = key.value();
            written.insert(0, window);
            next = window + 1;
        }
        let current = (now_seconds / retention.window_seconds).max(written.first().copied().unwrap_or(0));
        let earlier = written.into_iter().filter(|window| *window < current).collect();
        Ok(Self { oldest, current, earlier })
    }

    /// The record of a request, if it has one that is not too old.
    pub(super) fn find(
        &self,
        requests: &impl ReadableTable<tables::RequestKey, Row>,
        key: &RequestKey,
    ) -> Result<Option<Record>, StoreError> {
        for &window in std::iter::once(&self.current).chain(&self.earlier) {
            if let Some(row) = requests.get(in_window(window, key)).map_err(storage_error)? {
                return codec::record(row.value()).map(Some);
            }
        }
        Ok(None)
    }

    /// Writes a record into the window of now.
    pub(super) fn write(
        &self,
        requests: &mut Table<'_, tables::RequestKey, Row>,
        key: &RequestKey,
        record: &Record,
    ) -> Result<(), StoreError> {
        let row = codec::encode_record(record)?;
        requests.insert(in_window(self.current, key), row.as_slice()).map_err(storage_error)?;
        Ok(())
    }

    /// All of them, the oldest first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = u64> {
        self.earlier.iter().rev().copied().chain([self.current])
    }

    /// Writes a record of another bank into the window of the time that it was recorded at, unless that
    /// is too old.
    pub(super) fn import(
        &self,
        requests: &mut Table<'_, tables::RequestKey, Row>,
        retention: Retention,
        key: &RequestKey,
        record: &Record,
    ) -> Result<(), StoreError> {
        let window = (record.recorded_at_seconds / retention.window_seconds).min(self.current);
        if window < self.oldest {
            return Ok(());
        }
        let row = codec::encode_record(record)?;
        requests.insert(in_window(window, key), row.as_slice()).map_err(storage_error)?;
        Ok(())
    }

    /// Forgets records that are too old, the oldest first.
    pub(super) fn forget(
        &self,
        requests: &mut Table<'_, tables::RequestKey, Row>,
        proposals: usize,
    ) -> Result<(), StoreError> {
        for _ in 0..FORGOTTEN_MIN + 2 * proposals {
            let first = requests.first().map_err(storage_error)?;
            if first.is_none_or(|(key, _)| key.value().0 >= self.oldest) {
                break;
            }
            requests.pop_first().map_err(storage_error)?;
        }
        Ok(())
    }
}

/// The time by this machine's clock.
pub(super) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn in_window(window: u64, key: &RequestKey) -> (u64, &str, &str, &str) {
    (window, key.request_id.as_str(), key.account_id.as_str(), key.caller.as_str())
}
