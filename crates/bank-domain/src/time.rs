//! Instants, as the history of an account records them.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// An instant in whole milliseconds since 1970-01-01T00:00:00Z, from the years 1 to 9999.
///
/// It prints as RFC 3339 in UTC.
///
/// ```
/// use bank_domain::Timestamp;
///
/// let timestamp = Timestamp::try_from_unix_ms(1_767_225_600_000)?;
/// assert_eq!(timestamp.to_string(), "2026-01-01T00:00:00Z");
/// # Ok::<(), bank_domain::InvalidTimestamp>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

/// The instant is outside the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is outside the years 1 to 9999")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// The last millisecond of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The instant that lies this many milliseconds after the Unix epoch.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] outside the years 1 to 9999.
    pub fn try_from_unix_ms(unix_ms: i64) -> Result<Self, InvalidTimestamp> {
        if (Self::MIN.0..=Self::MAX.0).contains(&unix_ms) { Ok(Self(unix_ms)) } else { Err(InvalidTimestamp) }
    }

    /// Whether it is later than another time by more than this.
    pub fn is_ahead_of(self, other: Self, max: Duration) -> bool {
        let ahead_ms = self.0.saturating_sub(other.0);
        u128::try_from(ahead_ms).is_ok_and(|ahead_ms| ahead_ms > max.as_millis())
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(unix_ms: i64) -> Result<Self, InvalidTimestamp> {
        Self::try_from_unix_ms(unix_ms)
    }
}

impl From<Timestamp> for i64 {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
        match epoch.checked_add(jiff::SignedDuration::from_millis(self.0)) {
            Ok(time) => write!(f, "{time}Z"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

#[cfg(test)]
mod tests;
