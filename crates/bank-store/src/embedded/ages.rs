//! The age of request records.
//!
//! Records only age while the bank is open, and by the steady clock: a wrong or changed wall clock makes no record older.
//! The age is stored once in a while. What passed after that is lost when the file is opened again, so records may be kept
//! longer than the retention time, but never shorter.

use std::time::Duration;

use redb::{ReadableTable, Table};

use super::tables::{RecordKey, Row};
use crate::{StoreError, clock::Timekeeper, identity::Retention};

/// The field of `meta` with the time.
const AGED_TO_MS: &str = "aged_to_ms";
/// How often it is stored, which costs a commit one page.
const WRITTEN_EVERY_MS: u64 = 60_000;

/// A clock that runs while the bank is open. It started with the wall clock when the bank was initialized.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    aged_to_ms: u64,
    /// The steady time at which it showed that.
    at: Duration,
}

impl Ages {
    /// Continues from the stored time, or from the newest record in a file of a version that did not store it.
    pub(super) fn read(
        meta: &impl ReadableTable<&'static str, &'static str>,
        requests: &impl ReadableTable<RecordKey, Row>,
        retention: Retention,
        clock: &Timekeeper,
    ) -> Result<Self, StoreError> {
        let at = clock.steady();
        if let Some(aged_to_ms) = written(meta)? {
            return Ok(Self { aged_to_ms, at });
        }
        let now_ms = u64::try_from(clock.estimate().unix_ms()).unwrap_or_default();
        let newest = requests.last()?.map(|(key, _)| key.value().0);
        let window_ms = retention.window_seconds * 1_000;
        let newest_end_ms = newest.map(|window| (window + 1).saturating_mul(window_ms) - 1);
        Ok(Self { aged_to_ms: newest_end_ms.map_or(now_ms, |end_ms| end_ms.min(now_ms)), at })
    }

    /// The current time, in milliseconds.
    pub(super) fn now_ms(&self, clock: &Timekeeper) -> u64 {
        let open_ms = clock.steady().saturating_sub(self.at).as_millis();
        self.aged_to_ms.saturating_add(u64::try_from(open_ms).unwrap_or(u64::MAX))
    }
}

/// Stores the time, unless that was done recently.
pub(super) fn write(meta: &mut Table<'_, &'static str, &'static str>, now_ms: u64) -> Result<(), StoreError> {
    if written(meta)?.is_none_or(|aged_to_ms| now_ms >= aged_to_ms.saturating_add(WRITTEN_EVERY_MS)) {
        meta.insert(AGED_TO_MS, now_ms.to_string().as_str())?;
    }
    Ok(())
}

fn written(meta: &impl ReadableTable<&'static str, &'static str>) -> Result<Option<u64>, StoreError> {
    let Some(field) = meta.get(AGED_TO_MS)? else { return Ok(None) };
    let malformed = |_| StoreError::Corrupt(format!("field {AGED_TO_MS:?} of the bank is malformed"));
    field.value().parse().map(Some).map_err(malformed)
}
