//! The time by this machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// In seconds since 1970-01-01T00:00:00Z, never before.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
