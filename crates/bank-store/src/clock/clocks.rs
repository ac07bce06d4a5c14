//! Sources of time: the clock of this machine, and one for tests.

use std::{
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bank_domain::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// A source of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day. It can be set, so it may jump either way.
    fn wall(&self) -> Timestamp;

    /// The time since a fixed instant. It never jumps while the process runs.
    fn steady(&self) -> Duration;
}

/// Includes the time that the machine is suspended, as the wall clock does: the two are compared.
#[cfg(any(target_os = "linux", target_os = "android"))]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STEADY: ClockId = ClockId::Monotonic;

/// The clock of this machine. Reading it needs no system call.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Never before 1970.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place of the server that reads the machine's clock"
    )]
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = i64::try_from(since_epoch.as_millis()).ok();
        time.and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn steady(&self) -> Duration {
        clock_gettime(STEADY).try_into().unwrap_or_default()
    }
}

/// A clock for tests, which moves only on request.
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
