//! The time.
//!
//! A [`Clock`] is a source of time: [`SystemClock`] for the machine, [`SimulatedClock`] for tests. Everything else uses a
//! [`Timekeeper`], a cheap handle on one clock that the store, the ledger and their users share. It refuses to give a
//! time while the clock is wrong. `docs/clocks.md` says what is assumed of clocks, and what happens otherwise.

mod clocks;
mod timekeeper;

pub use self::{
    clocks::{Clock, SimulatedClock, SystemClock},
    timekeeper::{ClockOff, Reading, Timekeeper},
};
