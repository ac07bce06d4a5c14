//! Outcomes of requests, in windows of time: found by name, forgotten by age.
//!
//! A window is as long as records were kept when the bank was founded, so a commit looks at two of
//! them, unless the retention was raised since. Every commit forgets some records that are too old,
//! more than it adds: they go as steadily as they came.

use std::ops::Bound;

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
    /// Those that hold anything, the newest first.
    written: Vec<Window>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    number: u64,
    /// No request id in it is greater. Those that clients make grow with time, so a new one is known to
    /// be new without a look into the table.
    highest: String,
}

impl Windows {
    /// The windows at an instant, as `ages` counts the time. It may have lost some of that: that does not take the
    /// bank to a window before the newest that it has written to.
    pub(super) fn at(
        now_seconds: u64,
        retention: Retention,
        requests: &impl ReadableTable<tables::RequestKey, Row>,
    ) -> Result<Self, StoreError> {
        let oldest = now_seconds.saturating_sub(retention.seconds) / retention.window_seconds;
        let mut written = Vec::new();
        let mut next = oldest;
        while let Some(row) = requests.range((next, "", "", "")..).map_err(storage_error)?.next() {
            let (number, ..) = row.map_err(storage_error)?.0.value();
            next = number + 1;
            let mut rows =
                requests.upper_bound(Bound::Excluded((next, "", "", ""))).map_err(storage_error)?;
            let last = rows.prev().map_err(storage_error)?;
            let highest = last.map(|(key, _)| key.value().1.to_owned()).unwrap_or_default();
            written.insert(0, Window { number, highest });
        }
        let newest = written.first().map_or(0, |window| window.number);
        let current = newest.max(now_seconds / retention.window_seconds);
        Ok(Self { oldest, current, written })
    }

    /// The record of a request, if it has one that is not too old.
    pub(super) fn find(
        &self,
        requests: &impl ReadableTable<tables::RequestKey, Row>,
        key: &RequestKey,
    ) -> Result<Option<Record>, StoreError> {
        for window in &self.written {
            if key.request_id.as_str() <= window.highest.as_str()
                && let Some(row) = requests.get(in_window(window.number, key)).map_err(storage_error)?
            {
                return codec::record(row.value()).map(Some);
            }
        }
        Ok(None)
    }

    /// Writes records that are not there yet into the window of now.
    pub(super) fn write(
        &self,
        requests: &mut Table<'_, tables::RequestKey, Row>,
        mut records: Vec<(&RequestKey, Record)>,
    ) -> Result<(), StoreError> {
        // Most often they are sorted already: this sort sees that.
        records.sort_by(|(one, _), (other, _)| in_window(0, one).cmp(&in_window(0, other)));
        let highest = self.written.first().filter(|window| window.number == self.current);
        let is_among = |(key, _): &(&RequestKey, Record)| {
            highest.is_some_and(|window| key.request_id.as_str() <= window.highest.as_str())
        };
        let (among, beyond) = records.split_at(records.partition_point(is_among));
        let mut row = Vec::new();
        for (key, record) in among {
            row.clear();
            codec::encode_record(&mut row, record)?;
            requests.insert(in_window(self.current, key), row.as_slice()).map_err(storage_error)?;
        }
        // A cursor adds rows at the end three times as fast.
        let mut end =
            requests.upper_bound_mut(Bound::<tables::RequestKey>::Unbounded).map_err(storage_error)?;
        for (key, record) in beyond {
            row.clear();
            codec::encode_record(&mut row, record)?;
            end.insert_before(in_window(self.current, key), row.as_slice()).map_err(storage_error)?;
        }
        end.close().map_err(storage_error)
    }

    /// Those that hold anything, the oldest first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = u64> {
        self.written.iter().rev().map(|window| window.number)
    }

    /// Writes a record of another bank, of this age, into the window that one of its own would be in, unless it is too
    /// old.
    pub(super) fn import(
        &self,
        requests: &mut Table<'_, tables::RequestKey, Row>,
        retention: Retention,
        key: &RequestKey,
        record: &Record,
        aged_to_seconds: u64,
    ) -> Result<(), StoreError> {
        let window = (aged_to_seconds / retention.window_seconds).min(self.current);
        if window < self.oldest {
            return Ok(());
        }
        let mut row = Vec::new();
        codec::encode_record(&mut row, record)?;
        requests.insert(in_window(window, key), row.as_slice()).map_err(storage_error)?;
        Ok(())
    }

    /// Forgets records that are too old, the oldest first.
    pub(super) fn forget(
        &self,
        requests: &mut Table<'_, tables::RequestKey, Row>,
        proposals: usize,
    ) -> Result<(), StoreError> {
        let too_old = ..(self.oldest, "", "", "");
        let removed = requests.extract_from_if(too_old, |_, _| true).map_err(storage_error)?;
        for row in removed.take(FORGOTTEN_MIN + 2 * proposals) {
            row.map_err(storage_error)?;
        }
        Ok(())
    }
}

fn in_window(window: u64, key: &RequestKey) -> (u64, &str, &str, &str) {
    (window, key.request_id.as_str(), key.account_id.as_str(), key.caller.as_str())
}
