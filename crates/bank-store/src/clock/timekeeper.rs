//! Gives out the time, and withholds it while the clock cannot be right.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bank_domain::Timestamp;

use super::{Clock, SystemClock};

/// How far a clock may be off unless it is said otherwise: `clock.offset_ms_max` in `config/default.toml`.
const OFFSET_MAX_DEFAULT: Duration = Duration::from_millis(1_500);
/// What is believed follows small corrections of the clock by one in so many parts of the time that passes. NTP slews
/// half as fast at most, so nobody can take the bank far from the time by corrections that are each too small to count.
const CORRECTION_DIVISOR: u128 = 1_000;
/// Two clocks cannot be read at one instant. If it took longer than this they are read again, since the process was
/// stopped in between.
const READING_MAX: Duration = Duration::from_millis(1);
/// How often they are read at most.
const READINGS_MAX: usize = 10;

/// The clock of this server is further off than it may be: nothing is to be dated by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock of this server is {} ms {}", .offset_ms.unsigned_abs(), if *.offset_ms < 0 { "behind" } else { "ahead" })]
pub struct ClockOff {
    /// How far it is ahead of the time that it should say.
    pub offset_ms: i64,
}

/// A look at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the clock says.
    pub wall: Timestamp,
    /// How far that is ahead of the time that it should say, in milliseconds.
    pub offset_ms: i64,
    /// Whether that is more than it may be.
    pub is_off: bool,
}

/// Gives out the time; cheap to clone, and all clones are one.
///
/// It believes that time passes as the steady clock says, from the time at which it was made on, and holds the
/// wall clock to that. A store with a clock of its own is believed more ([`Timekeeper::compare`]). If the wall
/// clock is further off than `offset_max`, there is no time ([`Timekeeper::now`]) until it is back within half of
/// that, whichever of the two has moved.
#[derive(Clone, Debug)]
pub struct Timekeeper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    offset_max_ms: i64,
    /// Only changed by who holds the state.
    is_off: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the wall clock should have said when the steady clock said zero, in milliseconds since 1970.
    zero_ms: i64,
    /// What the steady clock said when what is believed last followed the wall clock.
    followed_at: Duration,
}

impl Default for Timekeeper {
    /// By the clock of this machine.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), OFFSET_MAX_DEFAULT)
    }
}

impl Timekeeper {
    /// By this clock, which is right now, and may be off by so much from then on.
    pub fn new(clock: Arc<dyn Clock>, offset_max: Duration) -> Self {
        let (wall, steady) = read(&*clock);
        let state = State { zero_ms: wall.unix_ms() - ms(steady), followed_at: steady };
        let (is_off, state) = (AtomicBool::new(false), Mutex::new(state));
        Self(Arc::new(Inner { clock, offset_max_ms: ms(offset_max), is_off, state }))
    }

    /// How far the clock may be off.
    pub fn offset_max(&self) -> Duration {
        Duration::from_millis(self.0.offset_max_ms.unsigned_abs())
    }

    /// How far ahead of this clock an entry may be dated: the clock of another server may be off as well, the other way.
    pub fn ahead_max(&self) -> Duration {
        2 * self.offset_max()
    }

    /// Whether there is a time. Looks at the clock only if there was none when it was last looked at.
    ///
    /// # Errors
    /// As [`Timekeeper::now`].
    pub fn require_right(&self) -> Result<(), ClockOff> {
        if self.0.is_off.load(Relaxed) { self.now().map(drop) } else { Ok(()) }
    }

    /// The time.
    ///
    /// # Errors
    /// [`ClockOff`] while the clock is further off than it may be.
    pub fn now(&self) -> Result<Timestamp, ClockOff> {
        let Reading { wall, offset_ms, is_off } = self.read();
        if is_off { Err(ClockOff { offset_ms }) } else { Ok(wall) }
    }

    /// The time as well as it is known: what the clock says, or should say while it is off.
    pub fn estimate(&self) -> Timestamp {
        let Reading { wall, offset_ms, is_off } = self.read();
        if is_off { at(wall.unix_ms().saturating_sub(offset_ms)) } else { wall }
    }

    /// The same in seconds since 1970-01-01T00:00:00Z, never before.
    pub fn estimate_seconds(&self) -> u64 {
        u64::try_from(self.estimate().unix_ms() / 1000).unwrap_or_default()
    }

    /// How long ago some instant was that stays the same for as long as the process runs.
    pub fn steady(&self) -> Duration {
        self.0.clock.steady()
    }

    /// Looks at the clock, and says so in the log when it goes off, and when it is right again.
    pub fn read(&self) -> Reading {
        let (wall, steady) = read(&*self.0.clock);
        self.judge(&mut self.state(), wall, steady)
    }

    /// A store was asked for the time when the steady clock said `asked_at`, said this, and its answer has just
    /// come. It may have said so at any instant in between: what is possible counts in favour of how it was.
    pub fn compare(&self, asked_at: Duration, said: Timestamp) {
        let (wall, steady) = read(&*self.0.clock);
        let took_ms = ms(steady.saturating_sub(asked_at));
        let offset_max = wall.unix_ms().saturating_sub(said.unix_ms());
        let offset_min = offset_max.saturating_sub(took_ms);
        let mut state = self.state();
        let limit = self.limit();
        if offset_min > limit || offset_max < -limit {
            state.zero_ms = said.unix_ms().saturating_add(took_ms / 2).saturating_sub(ms(steady));
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
                "the clock of this server is off, so it takes no changes until that is right: \
                 docs/runbooks/BankClockOff.md says what to do"
            ),
            (true, false) => tracing::info!(offset_ms, "the clock of this server is right again"),
            (true, true) | (false, false) => {}
        }
        if !is_off {
            state.follow(offset_ms, steady);
        }
        Reading { wall, offset_ms, is_off }
    }

    /// Less for a clock that is off, so that one at the limit does not go back and forth.
    fn limit(&self) -> i64 {
        if self.0.is_off.load(Relaxed) { self.0.offset_max_ms / 2 } else { self.0.offset_max_ms }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
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

/// Both clocks, as close to one instant as can be had.
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
