//! What every clock offers.

use std::{fmt::Debug, time::Duration};

use bank_domain::Timestamp;

/// A source of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day. It can be set, so it may jump either way.
    fn wall(&self) -> Timestamp;

    /// The time since a fixed instant. It never jumps while the process runs.
    fn steady(&self) -> Duration;
}
