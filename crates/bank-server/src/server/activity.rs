//! The calls of a connection: whether it is idle, and which replies are not taken.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::options::Timeouts;
use crate::{
    admission::{BufferPermit, CallPermits},
    grpc::PacedByReader,
};

/// How long a connection that was told to close has to do so once its calls are done. A gRPC client closes at once.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// How long the rest of a stream and its status wait for their reader once the work has ended. They hold the permits of
/// the call, so an abandoned stream must not keep them for as long as its connection lasts.
const LEFT_UNREAD_MAX: Duration = Duration::from_mins(10);

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Check again at this time.
    Keep(Instant),
    /// It is idle: tell it to close.
    Close,
}

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    timeouts: Timeouts,
    /// Counts periods of `reply_timeout`.
    period: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// The call that has begun and has not been handed to the connection.
    newest: Option<Arc<CallInFlight>>,
    period_ends_at: Instant,
    /// When its last call ended, or it was accepted.
    quiet_since: Instant,
    stage: Stage,
}

/// The stage of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Without a call so far.
    New,
    Used,
    /// It was told to close.
    Leaving,
}

/// What a call holds until its reply has been sent.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _permits: Option<CallPermits>,
    pub(super) _buffer: Option<Arc<BufferPermit>>,
    pub(super) _stream: Option<OwnedSemaphorePermit>,
}

/// A call on a connection. It is in flight until this is dropped; every part of its reply holds a reference.
#[derive(Debug)]
pub(super) struct CallInFlight {
    connection: Arc<Activity>,
    /// Parts of the reply that were passed to HTTP/2 and not sent yet.
    unsent: AtomicU64,
    /// The period in which the last part was sent, or the first of them was passed on.
    unsent_since: AtomicU64,
    held: OnceLock<Held>,
    /// Set if the reply waits for its reader.
    paced: OnceLock<PacedByReader>,
}

impl Activity {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        let state = State {
            in_flight: 0,
            newest: None,
            period_ends_at: now + timeouts.reply_timeout,
            quiet_since: now,
            stage: Stage::New,
        };
        Self { timeouts, period: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Whether it is time to look for [stalled](CallInFlight::is_stalled) calls.
    pub(super) fn period_ends(&self, now: Instant) -> bool {
        let mut state = self.state();
        let ends = state.period_ends_at <= now;
        if ends {
            state.period_ends_at = now + self.timeouts.reply_timeout;
            self.period.fetch_add(1, Relaxed);
        }
        ends
    }

    /// Whether to keep the connection.
    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let state = self.state();
        if state.in_flight > 0 {
            return Verdict::Keep(state.period_ends_at);
        }
        let timeout = match state.stage {
            Stage::New => self.timeouts.first_call_timeout,
            Stage::Used => self.timeouts.idle_timeout,
            Stage::Leaving => GOODBYE,
        };
        let closes_at = state.quiet_since + timeout;
        if closes_at <= now {
            return Verdict::Close;
        }
        Verdict::Keep(closes_at.min(state.period_ends_at))
    }

    /// Notes that it was told to close. Returns when to check whether it has.
    pub(super) fn leave(&self) -> Instant {
        let mut state = self.state();
        state.stage = Stage::Leaving;
        state.quiet_since = Instant::now();
        state.quiet_since + GOODBYE
    }

    /// Takes the call that has just begun.
    pub(super) fn take_newest(&self) -> Option<Arc<CallInFlight>> {
        self.state().newest.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallInFlight {
    pub(super) fn begin(connection: &Arc<Activity>) -> Arc<Self> {
        let call = Arc::new(Self {
            connection: Arc::clone(connection),
            unsent: AtomicU64::new(0),
            unsent_since: AtomicU64::new(0),
            held: OnceLock::new(),
            paced: OnceLock::new(),
        });
        let mut state = connection.state();
        state.in_flight += 1;
        if state.stage == Stage::New {
            state.stage = Stage::Used;
        }
        // Dropping a call that was never taken locks the state.
        let before = state.newest.replace(Arc::clone(&call));
        drop(state);
        drop(before);
        call
    }

    /// Holds permits for as long as the call is in flight.
    pub(super) fn hold(&self, held: Held) {
        // A call is answered once.
        let _ = self.held.set(held);
    }

    /// Notes that the reply waits for its reader.
    pub(super) fn waits_for_reader(&self, paced: PacedByReader) {
        let _ = self.paced.set(paced);
    }

    /// A part of the reply was passed to HTTP/2.
    pub(super) fn part_begins(&self) {
        if self.unsent.fetch_add(1, Relaxed) == 0 {
            self.unsent_since.store(self.connection.period.load(Relaxed), Relaxed);
        }
    }

    /// A part of the reply was sent or dropped.
    pub(super) fn part_ends(&self) {
        self.unsent.fetch_sub(1, Relaxed);
        self.unsent_since.store(self.connection.period.load(Relaxed), Relaxed);
    }

    /// Whether nothing of the reply has been sent for a whole period although there is something to send, and the reply
    /// does not wait for its reader.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        let period = self.connection.period.load(Relaxed);
        let is_abandoned = |paced: &PacedByReader| {
            paced.ended_at().is_some_and(|ended_at| now.saturating_duration_since(ended_at) > LEFT_UNREAD_MAX)
        };
        self.unsent.load(Relaxed) > 0
            && period - self.unsent_since.load(Relaxed) > 1
            && self.paced.get().is_none_or(is_abandoned)
    }
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.in_flight -= 1;
        state.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests;
