//! Gives the time unless the clock is wrong.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bank_domain::Timestamp;

use super::clocks::{Clock, SystemClock};

/// The default of `clock.offset_ms_max` in `config/default.toml`.
const OFFSET_MAX_DEFAULT: Duration = Duration::from_millis(1_500);
/// The expected time follows small corrections of the clock by one part in so many of the time that passes. NTP slews at
/// most half as fast, so many corrections that are each too small to detect cannot move the bank far.
const CORRECTION_DIVISOR: u128 = 1_000;
/// If reading both clocks took longer than this, the process was stopped in between, and they are read again.
const READING_MAX: Duration = Duration::from_millis(1);
/// How often they are read at most, for one reading.
const READINGS_MAX: usize = 10;

/// The clock of this server is off by more than the limit, so nothing may be dated by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock of this server is {} ms {}", .offset_ms.unsigned_abs(), if *.offset_ms < 0 { "behind" } else { "ahead" })]
pub struct ClockOff {
    /// How far the clock is ahead of the expected time; negative if it is behind.
    pub offset_ms: i64,
}

/// One reading of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time of day that the clock shows.
    pub wall: Timestamp,
    /// How far that is ahead of the expected time; negative if it is behind.
    pub offset_ms: i64,
    /// Whether the offset exceeds the limit.
    pub is_off: bool,
}

/// Gives the time. Clones are cheap and share their state.
///
/// The expected time is that of the wall clock at creation, plus the time that has passed by the steady clock. A store
/// with a clock of its own can correct it ([`Timekeeper::compare`]). If the wall clock is off by more than `offset_max`,
/// [`Timekeeper::now`] fails until it is back within half of that.
#[derive(Clone, Debug)]
pub struct Timekeeper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    offset_max_ms: i64,
    /// Only changed while the state is locked.
    is_off: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The expected wall time when the steady clock was zero, in milliseconds since 1970-01-01T00:00:00Z.
    zero_ms: i64,
    /// The steady time when the expected time last followed the wall clock.
    followed_at: Duration,
}

impl Default for Timekeeper {
    /// Uses the clock of this machine.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), OFFSET_MAX_DEFAULT)
    }
}

impl Timekeeper {
    /// Uses this clock, which must be right at the moment.
    pub fn new(clock: Arc<dyn Clock>, offset_max: Duration) -> Self {
        let (wall, steady) = read(&*clock);
        let state = State { zero_ms: wall.unix_ms() - ms(steady), followed_at: steady };
        let (is_off, state) = (AtomicBool::new(false), Mutex::new(state));
        Self(Arc::new(Inner { clock, offset_max_ms: ms(offset_max), is_off, state }))
    }

    /// The limit of the offset.
    pub fn offset_max(&self) -> Duration {
        Duration::from_millis(self.0.offset_max_ms.unsigned_abs())
    }

    /// How far ahead of this clock an entry may be dated: the clock of another server may be off the other way.
    pub fn ahead_max(&self) -> Duration {
        2 * self.offset_max()
    }

    /// Checks that the clock is right. Reads it only if the last reading was wrong.
    ///
    /// # Errors
    /// See [`Timekeeper::now`].
    pub fn require_accurate(&self) -> Result<(), ClockOff> {
        if self.0.is_off.load(Relaxed) { self.now().map(drop) } else { Ok(()) }
    }

    /// The time of day.
    ///
    /// # Errors
    /// [`ClockOff`] while the clock is off by more than the limit.
    pub fn now(&self) -> Result<Timestamp, ClockOff> {
        let Reading { wall, offset_ms, is_off } = self.read();
        if is_off { Err(ClockOff { offset_ms }) } else { Ok(wall) }
    }

    /// The best estimate: the wall clock, or the expected time while that is wrong.
    pub fn estimate(&self) -> Timestamp {
        let Reading { wall, offset_ms, is_off } = self.read();
        if is_off { at(wall.unix_ms().saturating_sub(offset_ms)) } else { wall }
    }

    /// [`Timekeeper::estimate`] in seconds since 1970-01-01T00:00:00Z.
    pub fn estimate_seconds(&self) -> u64 {
        u64::try_from(self.estimate().unix_ms() / 1000).unwrap_or_default()
    }

    /// The time since a fixed instant. It never jumps while the process runs.
    pub fn steady(&self) -> Duration {
        self.0.clock.steady()
    }

    /// Reads the clock. Logs when it becomes wrong, and when it is right again.
    pub fn read(&self) -> Reading {
        // Read under the lock: a reading from before a jump must not be judged after one from behind it.
        let mut state = self.state();
        let (wall, steady) = read(&*self.0.clock);
        self.judge(&mut state, wall, steady)
    }

    /// Compares the clock with that of a store, which was asked at the steady time `asked_at` and has just answered with
    /// `store_time`. It may have read its clock at any instant in between, so a difference within that time changes
    /// nothing.
    pub fn compare(&self, asked_at: Duration, store_time: Timestamp) {
        let mut state = self.state();
        let (wall, steady) = read(&*self.0.clock);
        let took_ms = ms(steady.saturating_sub(asked_at));
        let offset_max = wall.unix_ms().saturating_sub(store_time.unix_ms());
        let offset_min = offset_max.saturating_sub(took_ms);
        let limit = self.limit();
        if offset_min > limit || offset_max < -limit {
            state.zero_ms = store_time.unix_ms().saturating_add(took_ms / 2).saturating_sub(ms(steady));
        } else if offset_min >= -limit && offset_max <= limit && state.offset_ms(wall, steady).abs() > limit {
            state.zero_ms = wall.unix_ms() - ms(steady);
        }
        self.judge(&mut state, wall, steady);
    }

    fn judge(&self, state: &mut State, wall: Timestamp, steady: Duration) -> Reading {
        let offset_ms = state.offset_ms(wall, steady);
        let is_off = offset_ms.saturating_abs() > self.limit();
        match (self.0.is_off.swap(is_off, Relaxed), is_off) {
            (false, true) => tracing::error!(
                offset_ms,
                offset_ms_max = self.0.offset_max_ms,
                "the clock of this server is off; the server accepts no changes until it is right: see \
                 docs/runbooks/BankClockOff.md"
            ),
            (true, false) => tracing::info!(offset_ms, "the clock of this server is right again"),
            (true, true) | (false, false) => {}
        }
        if !is_off {
            state.follow(offset_ms, steady);
        }
        Reading { wall, offset_ms, is_off }
    }

    /// Half for a clock that is off, so that one near the limit does not flap.
    fn limit(&self) -> i64 {
        if self.0.is_off.load(Relaxed) { self.0.offset_max_ms / 2 } else { self.0.offset_max_ms }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn offset_ms(&self, wall: Timestamp, steady: Duration) -> i64 {
        wall.unix_ms().saturating_sub(self.zero_ms.saturating_add(ms(steady)))
    }

    fn follow(&mut self, offset_ms: i64, steady: Duration) {
        let most = steady.saturating_sub(self.followed_at).as_millis() / CORRECTION_DIVISOR;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        if most > 0 {
            self.zero_ms += offset_ms.clamp(-most, most);
            self.followed_at = steady;
        }
    }
}

/// Reads both clocks at nearly the same instant.
fn read(clock: &dyn Clock) -> (Timestamp, Duration) {
    let mut before = clock.steady();
    let mut wall = clock.wall();
    let mut after = clock.steady();
    for _ in 1..READINGS_MAX {
        if after.saturating_sub(before) <= READING_MAX {
            break;
        }
        before = after;
        wall = clock.wall();
        after = clock.steady();
    }
    (wall, after)
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn at(unix_ms: i64) -> Timestamp {
    let end = if unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::try_from_unix_ms(unix_ms).unwrap_or(end)
}
