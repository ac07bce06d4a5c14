//! Request records, in windows of time.
//!
//! A window is as long as the retention time when the bank was initialized, so a commit looks at two windows unless the
//! retention time was raised since. Every commit removes some expired records, more than it adds.

use std::ops::Bound;

use redb::{ReadableTable, Table};

use super::{
    codec::{self, Record},
    tables::{RecordKey, Row},
};
use crate::{RequestKey, StoreError, identity::Retention};

/// How many expired records a commit removes, besides two for each proposal.
const REMOVED_MIN: usize = 64;

/// The windows that can have a record which has not expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// Records in earlier windows have expired.
    oldest: u64,
    /// The window of new records.
    current: u64,
    /// The windows that have records, newest first.
    written: Vec<Window>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    number: u64,
    /// The greatest request id. Ids that clients generate grow with time, so most new requests need no look-up.
    highest: String,
}

impl Windows {
    /// The windows at a time, in seconds of `ages`. That time may have gone back, so the current window is never before the
    /// newest one that has records.
    pub(super) fn at(
        now_seconds: u64,
        retention: Retention,
        requests: &impl ReadableTable<RecordKey, Row>,
    ) -> Result<Self, StoreError> {
        let oldest = now_seconds.saturating_sub(retention.seconds) / retention.window_seconds;
        let mut written = Vec::new();
        let mut next = oldest;
        while let Some(row) = requests.range((next, "", "", "")..)?.next() {
            let (number, ..) = row?.0.value();
            next = number + 1;
            let mut rows = requests.upper_bound(Bound::Excluded((next, "", "", "")))?;
            let last = rows.prev()?;
            let highest = last.map(|(key, _)| key.value().1.to_owned()).unwrap_or_default();
            written.insert(0, Window { number, highest });
        }
        let newest = written.first().map_or(0, |window| window.number);
        let current = newest.max(now_seconds / retention.window_seconds);
        Ok(Self { oldest, current, written })
    }

    /// The record of a request, if it has one that has not expired.
    pub(super) fn find(
        &self,
        requests: &impl ReadableTable<RecordKey, Row>,
        key: &RequestKey,
    ) -> Result<Option<Record>, StoreError> {
        for window in &self.written {
            if key.request_id.as_str() <= window.highest.as_str()
                && let Some(row) = requests.get(in_window(window.number, key))?
            {
                return codec::record(row.value()).map(Some);
            }
        }
        Ok(None)
    }

    /// Writes new records into the current window.
    pub(super) fn write(
        &self,
        requests: &mut Table<'_, RecordKey, Row>,
        mut records: Vec<(&RequestKey, Record)>,
    ) -> Result<(), StoreError> {
        // They are usually sorted already, which makes this sort cheap.
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
            requests.insert(in_window(self.current, key), row.as_slice())?;
        }
        // A cursor is three times as fast at the end of the table.
        let mut end = requests.upper_bound_mut(Bound::<RecordKey>::Unbounded)?;
        for (key, record) in beyond {
            row.clear();
            codec::encode_record(&mut row, record)?;
            end.insert_before(in_window(self.current, key), row.as_slice())?;
        }
        Ok(end.close()?)
    }

    /// The windows that have records, oldest first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = u64> {
        self.written.iter().rev().map(|window| window.number)
    }

    /// Writes a record of another bank into the window of its age, unless it has expired.
    pub(super) fn import(
        &self,
        requests: &mut Table<'_, RecordKey, Row>,
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
        requests.insert(in_window(window, key), row.as_slice())?;
        Ok(())
    }

    /// Removes expired records, oldest first.
    pub(super) fn remove_expired(
        &self,
        requests: &mut Table<'_, RecordKey, Row>,
        proposals: usize,
    ) -> Result<(), StoreError> {
        let expired = ..(self.oldest, "", "", "");
        let removed = requests.extract_from_if(expired, |_, _| true)?;
        for row in removed.take(REMOVED_MIN + 2 * proposals) {
            row?;
        }
        Ok(())
    }
}

fn in_window(window: u64, key: &RequestKey) -> (u64, &str, &str, &str) {
    (window, key.request_id.as_str(), key.account_id.as_str(), key.caller.as_str())
}
