//! Records of requests as `commit.lua` writes them, read and written in other ways than by a commit.

use super::RedisOptions;
use crate::{Attempt, Caller, RecordedOutcome, RequestKey, RequestRecord, StoreError};

/// By how much the clock of Redis may step back after a failover, at most; `commit.lua` has it too.
const CLOCK_SKEW_SECONDS_MAX: u64 = 300;

/// In which windows of time records are, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) retention_seconds: u64,
    pub(super) window_seconds: u64,
}

impl Windows {
    pub(super) fn new(options: &RedisOptions, window_seconds: u64) -> Self {
        Self { retention_seconds: options.request_retention_seconds(), window_seconds }
    }

    /// The windows that can hold a record which is not too old, from the oldest on.
    pub(super) fn at(self, now_seconds: u64) -> std::ops::RangeInclusive<u64> {
        let oldest = now_seconds.saturating_sub(self.retention_seconds) / self.window_seconds;
        oldest..=(now_seconds + self.skew()) / self.window_seconds
    }

    fn skew(self) -> u64 {
        CLOCK_SKEW_SECONDS_MAX.min(self.window_seconds)
    }
}

/// The field of a request within its partition's records. Neither an account id nor a request id has a
/// space in it; a caller's name comes last, since it may.
pub(super) fn field(key: &RequestKey) -> String {
    format!("{} {} {}", key.account_id, key.request_id, key.caller.as_str())
}

/// The request that a field is of.
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
    key.ok_or_else(|| StoreError::Corrupt(format!("there is a record of {field:?}, which names no request")))
}

/// The record of a request.
pub(super) fn record(record: &RequestRecord) -> Result<String, StoreError> {
    let RequestRecord { attempt, fingerprint, recorded_at, outcome } = record;
    let outcome = match outcome {
        RecordedOutcome::Entry(id) => id.to_string(),
        RecordedOutcome::Rejected(rejection) => serde_json::to_string(rejection)
            .map_err(|error| StoreError::Misconfigured(format!("a rejection cannot be encoded: {error}")))?,
    };
    Ok(format!("{attempt} {fingerprint} {outcome} {recorded_at}"))
}

/// A request record from its text.
pub(super) fn parse(key: &RequestKey, record: &str) -> Result<RequestRecord, StoreError> {
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
        Some((Attempt(bits(attempt)?), bits(fingerprint)?, outcome, recorded_at.parse().ok()?))
    })();
    let Some((attempt, fingerprint, outcome, recorded_at)) = parsed else {
        let RequestKey { account_id, request_id, .. } = key;
        return Err(StoreError::Corrupt(format!(
            "the record of request {request_id} of account {account_id} is malformed"
        )));
    };
    let fingerprint = bank_domain::Fingerprint::from_bits(fingerprint);
    Ok(RequestRecord { fingerprint, attempt, recorded_at, outcome })
}
