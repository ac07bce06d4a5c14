//! The time, from one place.
//!
//! A [`Clock`] is where the time comes from: [`SystemClock`] asks the machine, [`SimulatedClock`] says what a
//! test sets it to. A [`Timekeeper`] is what everybody else has: a cheap handle on one clock, shared by the
//! store, the ledger and all that asks for the time. It gives no time while the clock is off. Nothing else reads the
//! machine's clock. `docs/clocks.md` says what is assumed of clocks, and what happens where it is not so.

mod simulated;
mod system;
mod timekeeper;

use std::{fmt::Debug, time::Duration};

use bank_domain::Timestamp;

pub use self::{
    simulated::SimulatedClock,
    system::SystemClock,
    timekeeper::{ClockOff, Reading, Timekeeper},
};

/// Where the time comes from.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day. Whoever administers the machine may set it, so it may jump either way.
    fn wall(&self) -> Timestamp;

    /// How long ago some instant was that stays the same for as long as the process runs. It never jumps.
    fn steady(&self) -> Duration;
}
