//! How old records of requests are.
//!
//! They age while the bank is open, and by the steady clock: what the clock of the machine says when the file is
//! opened, or jumps to, makes no record any older. How far they have aged is written down once in a while; what came
//! after that is gone when the file is opened again, so records are kept for longer, and never for less.

use std::time::Duration;

use redb::{ReadableTable, Table};

use super::{file::storage_error, requests::Retention, tables};
use crate::{StoreError, clock::Timekeeper};

/// The field of `meta` that says how far.
const AGED_TO_MS: &str = "aged_to_ms";
/// After how much time it is written. That a commit writes it costs one page.
const WRITTEN_EVERY_MS: u64 = 60_000;

/// A clock that goes while the bank is open. At its founding it said what the clock of the machine did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    aged_to_ms: u64,
    /// When it said so, by the steady clock.
    at: Duration,
}

impl Ages {
    /// Goes on from what is written in `meta`; for a file of a version without it, from the newest record.
    pub(super) fn read(
        meta: &impl ReadableTable<&'static str, &'static str>,
        requests: &impl ReadableTable<tables::RequestKey, tables::Row>,
        retention: Retention,
        clock: &Timekeeper,
    ) -> Result<Self, StoreError> {
        let at = clock.steady();
        if let Some(aged_to_ms) = written(meta)? {
            return Ok(Self { aged_to_ms, at });
        }
        let now_ms = u64::try_from(clock.estimate().unix_ms()).unwrap_or_default();
        let newest = requests.last().map_err(storage_error)?.map(|(key, _)| key.value().0);
        let window_ms = retention.window_seconds * 1_000;
        let newest_end_ms = newest.map(|window| (window + 1).saturating_mul(window_ms) - 1);
        Ok(Self { aged_to_ms: newest_end_ms.map_or(now_ms, |end_ms| end_ms.min(now_ms)), at })
    }

    /// What it says now, in milliseconds.
    pub(super) fn now_ms(&self, clock: &Timekeeper) -> u64 {
        let open_ms = clock.steady().saturating_sub(self.at).as_millis();
        self.aged_to_ms.saturating_add(u64::try_from(open_ms).unwrap_or(u64::MAX))
    }
}

/// Writes down how far records have aged, if that was not done lately.
pub(super) fn write(meta: &mut Table<'_, &'static str, &'static str>, now_ms: u64) -> Result<(), StoreError> {
    if written(meta)?.is_none_or(|aged_to_ms| now_ms >= aged_to_ms.saturating_add(WRITTEN_EVERY_MS)) {
        meta.insert(AGED_TO_MS, now_ms.to_string().as_str()).map_err(storage_error)?;
    }
    Ok(())
}

fn written(meta: &impl ReadableTable<&'static str, &'static str>) -> Result<Option<u64>, StoreError> {
    let Some(field) = meta.get(AGED_TO_MS).map_err(storage_error)? else { return Ok(None) };
    let malformed = |_| StoreError::Corrupt(format!("the bank's field {AGED_TO_MS:?} is malformed"));
    field.value().parse().map(Some).map_err(malformed)
}
