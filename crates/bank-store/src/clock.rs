//! The time, from one place.
//!
//! A [`Clock`] is where the time comes from: [`SystemClock`] asks the machine, [`SimulatedClock`] says what a
//! test sets it to. A [`Timekeeper`] is what everybody else has: a cheap handle on one clock, shared by the
//! store, the ledger and all that asks for the time. Nothing else reads the machine's clock.

mod simulated;
mod system;

use std::{fmt::Debug, sync::Arc, time::Duration};

use bank_domain::Timestamp;

pub use self::{simulated::SimulatedClock, system::SystemClock};

/// Where the time comes from.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day. Whoever administers the machine may set it, so it may jump either way.
    fn wall(&self) -> Timestamp;

    /// How long ago some instant was that stays the same for as long as the process runs. It never jumps.
    fn steady(&self) -> Duration;
}

/// Tells the time; cheap to clone.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    clock: Arc<dyn Clock>,
}

impl Default for Timekeeper {
    /// By the clock of this machine.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Timekeeper {
    /// By this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// The time in seconds since 1970-01-01T00:00:00Z, never before.
    pub fn now_seconds(&self) -> u64 {
        u64::try_from(self.now().unix_ms() / 1000).unwrap_or_default()
    }

    /// How long ago some instant was that stays the same for as long as the process runs.
    pub fn steady(&self) -> Duration {
        self.clock.steady()
    }
}
