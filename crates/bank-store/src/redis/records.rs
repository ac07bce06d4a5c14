//! Request records: the outcome of each request, by which it is recognised when it is sent again.

use std::{ops::RangeInclusive, time::Duration};

use bank_domain::{Fingerprint, Timestamp};

use crate::{Attempt, Caller, RecordedOutcome, RequestKey, RequestRecord, StoreError, identity::Retention};

/// How far the clock of Redis may step back in a failover; `commit.lua` has it too.
const CLOCK_SKEW_SECONDS_MAX: u64 = 300;

/// The oldest window that is kept at a time: the clock of Redis may step back in a failover.
pub(super) fn oldest_kept(retention: Retention, now_seconds: u64) -> u64 {
    let Retention { seconds, window_seconds } = retention;
    now_seconds.saturating_sub(seconds + skew_seconds(retention)) / window_seconds
}

/// How much the clock of Redis may step back.
fn skew_seconds(retention: Retention) -> u64 {
    CLOCK_SKEW_SECONDS_MAX.min(retention.window_seconds)
}

/// All windows that the script may look at, for a commit that is sent now: this clock may be off by `offset_max`, and the
/// script may run up to `timeout` later.
pub(super) fn possible_windows(
    retention: Retention,
    sent_at: Timestamp,
    offset_max: Duration,
    timeout: Duration,
) -> RangeInclusive<u64> {
    let sent_at = u64::try_from(sent_at.unix_ms() / 1_000).unwrap_or_default();
    let (offset, timeout) = (offset_max.as_secs() + 1, timeout.as_secs() + 1);
    let oldest = *windows(retention, sent_at.saturating_sub(offset)).start();
    oldest..=*windows(retention, sent_at + offset + timeout).end()
}

/// The windows that can hold a record that has not expired. Those of a window are removed together.
pub(super) fn windows(retention: Retention, now_seconds: u64) -> RangeInclusive<u64> {
    let Retention { seconds, window_seconds } = retention;
    let newest = (now_seconds + skew_seconds(retention)) / window_seconds;
    now_seconds.saturating_sub(seconds) / window_seconds..=newest
}

/// The field of a request within its partition's records. Account and request ids contain no space; the name of
/// the caller may, so it is last.
pub(super) fn field(key: &RequestKey) -> String {
    format!("{} {} {}", key.account_id, key.request_id, key.caller.as_str())
}

/// The inverse of [`field`].
pub(super) fn key(field: &str) -> Result<RequestKey, StoreError> {
    let mut parts = field.splitn(3, ' ');
    let mut next = || parts.next();
    let key = (|| {
        Some(RequestKey {
            account_id: next()?.parse().ok()?,
            request_id: next()?.parse().ok()?,
            caller: Caller::new(next()?),
        })
    })();
    key.ok_or_else(|| StoreError::Corrupt(format!("a request record has the malformed field {field:?}")))
}

/// A record: `<attempt> <fingerprint> <outcome> <recorded at>`, where the outcome is the id of the entry on the
/// account of the request, or the rejection in JSON, and the time is in Unix seconds.
pub(super) fn encode(record: &RequestRecord) -> Result<String, StoreError> {
    let RequestRecord { fingerprint, attempt, recorded_at, outcome } = record;
    let outcome = match outcome {
        RecordedOutcome::Entry(id) => id.to_string(),
        RecordedOutcome::Rejected(rejection) => serde_json::to_string(rejection)
            .map_err(|error| StoreError::Misconfigured(format!("a rejection cannot be encoded: {error}")))?,
    };
    Ok(format!("{attempt} {fingerprint} {outcome} {recorded_at}"))
}

/// The inverse of [`encode`].
pub(super) fn decode(key: &RequestKey, record: &str) -> Result<RequestRecord, StoreError> {
    let parsed = (|| {
        let (attempt, rest) = record.split_once(' ')?;
        let (fingerprint, rest) = rest.split_once(' ')?;
        let (outcome, recorded_at) = rest.rsplit_once(' ')?;
        let bits = |text| u64::from_str_radix(text, 16).ok();
        let outcome = if outcome.starts_with('{') {
            RecordedOutcome::Rejected(serde_json::from_str(outcome).ok()?)
        } else {
            RecordedOutcome::Entry(outcome.parse().ok()?)
        };
        let fingerprint = Fingerprint::from_bits(bits(fingerprint)?);
        Some((Attempt(bits(attempt)?), fingerprint, outcome, recorded_at.parse().ok()?))
    })();
    let Some((attempt, fingerprint, outcome, recorded_at)) = parsed else {
        let RequestKey { account_id, request_id, .. } = key;
        return Err(StoreError::Corrupt(format!(
            "the record of request {request_id} of account {account_id} is malformed"
        )));
    };
    Ok(RequestRecord { fingerprint, attempt, recorded_at, outcome })
}
