//! A clock for tests.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bank_domain::Timestamp;

use super::source::Clock;

/// A clock for tests, which only moves when it is told to.
#[derive(Debug)]
pub struct SimulatedClock(Mutex<State>);

#[derive(Debug)]
struct State {
    wall: Timestamp,
    steady: Duration,
}

impl SimulatedClock {
    /// A clock that shows this time.
    pub fn new(wall: Timestamp) -> Self {
        Self(Mutex::new(State { wall, steady: Duration::ZERO }))
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.steady += by;
        state.wall = after(state.wall, i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Sets the time of day ahead, or back if negative.
    pub fn step(&self, by_ms: i64) {
        let mut state = self.state();
        state.wall = after(state.wall, by_ms);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimulatedClock {
    fn wall(&self) -> Timestamp {
        self.state().wall
    }

    fn steady(&self) -> Duration {
        self.state().steady
    }
}

/// A later or earlier time, limited to the valid range.
fn after(time: Timestamp, by_ms: i64) -> Timestamp {
    let end = if by_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::try_from_unix_ms(time.unix_ms().saturating_add(by_ms)).unwrap_or(end)
}
