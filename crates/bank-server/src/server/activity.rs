//! Whether a connection is of use, or only takes room.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::options::Patience;
use crate::{
    admission::{CallPlaces, HeldRoom},
    grpc::PacedByReader,
};

/// How long a connection has to close once its calls are done. Clients close at once when they are
/// told to; one that does not is gone, or never was a gRPC client.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// How long the rest of a stream, and its status, wait for their reader once its work has ended. They hold the places of
/// the call, so a stream that was left must not have them for as long as its connection lasts.
const LEFT_UNREAD_MAX: Duration = Duration::from_mins(10);

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then.
    Keep(Instant),
    /// Tell it to make its calls elsewhere.
    Dismiss,
}

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    patience: Patience,
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
    /// When it made its last call, or came.
    quiet_since: Instant,
    stage: Stage,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has made no call.
    New,
    Used,
    /// It was told to close.
    Leaving,
}

/// What a call takes up until the last of its reply was taken.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _places: Option<CallPlaces>,
    pub(super) _room: Option<HeldRoom>,
    pub(super) _stream: Option<OwnedSemaphorePermit>,
}

/// A call on a connection. It is in flight until this is dropped: whoever holds a part of its reply holds this.
#[derive(Debug)]
pub(super) struct CallInFlight {
    connection: Arc<Activity>,
    /// Parts of the reply that were handed to the connection and not sent yet.
    untaken: AtomicU64,
    /// The period in which the first of them was handed over, or one before it was sent.
    untaken_since: AtomicU64,
    held: OnceLock<Held>,
    /// If its reply waits for its reader.
    paced: OnceLock<PacedByReader>,
}

impl Activity {
    pub(super) fn new(patience: Patience) -> Self {
        let now = Instant::now();
        let state = State {
            in_flight: 0,
            newest: None,
            period_ends_at: now + patience.reply_timeout,
            quiet_since: now,
            stage: Stage::New,
        };
        Self { patience, period: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Whether it is time to look for calls that are [stalled](CallInFlight::is_stalled).
    pub(super) fn period_ends(&self, now: Instant) -> bool {
        let mut state = self.state();
        let ends = state.period_ends_at <= now;
        if ends {
            state.period_ends_at = now + self.patience.reply_timeout;
            self.period.fetch_add(1, Relaxed);
        }
        ends
    }

    /// What to do about the connection now.
    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let state = self.state();
        if state.in_flight > 0 {
            return Verdict::Keep(state.period_ends_at);
        }
        let patience = match state.stage {
            Stage::New => self.patience.first_call_timeout,
            Stage::Used => self.patience.idle_timeout,
            Stage::Leaving => GOODBYE,
        };
        let dismissed_at = state.quiet_since + patience;
        if dismissed_at <= now {
            return Verdict::Dismiss;
        }
        Verdict::Keep(dismissed_at.min(state.period_ends_at))
    }

    /// It was told to close. When to look whether it has.
    pub(super) fn leave(&self) -> Instant {
        let mut state = self.state();
        state.stage = Stage::Leaving;
        state.quiet_since = Instant::now();
        state.quiet_since + GOODBYE
    }

    /// The call that has just begun.
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
            untaken: AtomicU64::new(0),
            untaken_since: AtomicU64::new(0),
            held: OnceLock::new(),
            paced: OnceLock::new(),
        });
        let mut state = connection.state();
        state.in_flight += 1;
        if state.stage == Stage::New {
            state.stage = Stage::Used;
        }
        // One that was never handed over is dropped, which locks the state.
        let before = state.newest.replace(Arc::clone(&call));
        drop(state);
        drop(before);
        call
    }

    /// Keeps what the call takes up for as long as it is in flight.
    pub(super) fn hold(&self, held: Held) {
        // A call is answered once.
        let _ = self.held.set(held);
    }

    /// Its reader may take their time for the reply.
    pub(super) fn waits_for_reader(&self, paced: PacedByReader) {
        let _ = self.paced.set(paced);
    }

    /// A part of the reply was handed to the connection.
    pub(super) fn given(&self) {
        if self.untaken.fetch_add(1, Relaxed) == 0 {
            self.untaken_since.store(self.connection.period.load(Relaxed), Relaxed);
        }
    }

    /// A part of the reply was sent, or dropped.
    pub(super) fn taken(&self) {
        self.untaken.fetch_sub(1, Relaxed);
        self.untaken_since.store(self.connection.period.load(Relaxed), Relaxed);
    }

    /// Whether nothing of the reply has been sent for a whole period, although there is something to be sent, and nobody
    /// has to wait for its reader.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        let period = self.connection.period.load(Relaxed);
        let was_left = |paced: &PacedByReader| {
            paced.ended_at().is_some_and(|ended_at| now.saturating_duration_since(ended_at) > LEFT_UNREAD_MAX)
        };
        self.untaken.load(Relaxed) > 0
            && period - self.untaken_since.load(Relaxed) > 1
            && self.paced.get().is_none_or(was_left)
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
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn activity() -> Arc<Activity> {
        Arc::new(Activity::new(Patience {
            first_call_timeout: SECOND,
            idle_timeout: 60 * SECOND,
            reply_timeout: 10 * SECOND,
        }))
    }

    fn begin(activity: &Arc<Activity>) -> Arc<CallInFlight> {
        let call = CallInFlight::begin(activity);
        assert!(activity.take_newest().is_some_and(|newest| Arc::ptr_eq(&newest, &call)));
        call
    }

    fn keeps(activity: &Activity, now: Instant) -> bool {
        activity.period_ends(now);
        matches!(activity.verdict(now), Verdict::Keep(then) if then > now)
    }

    #[test]
    fn a_connection_without_calls_is_dismissed_sooner_if_it_never_made_one() {
        let activity = activity();
        let start = Instant::now();
        assert!(keeps(&activity, start));
        assert_eq!(activity.verdict(start + 2 * SECOND), Verdict::Dismiss);
        let call = begin(&activity);
        assert!(keeps(&activity, start + 1000 * SECOND), "a call that takes its time keeps it");
        drop(call);
        assert!(keeps(&activity, start + 59 * SECOND));
        assert_eq!(activity.verdict(start + 61 * SECOND), Verdict::Dismiss);
        let gone_at = activity.leave();
        assert_eq!(activity.verdict(gone_at), Verdict::Dismiss);
        let call = begin(&activity);
        assert!(keeps(&activity, gone_at), "a call that arrived meanwhile is finished");
        drop(call);
    }

    #[test]
    fn a_call_is_stalled_if_nothing_of_its_reply_is_taken_and_one_that_is_taken_slowly_is_not() {
        let (activity, start) = (activity(), Instant::now());
        let (slow, stalled) = (begin(&activity), begin(&activity));
        assert!(!activity.period_ends(start + 9 * SECOND));
        slow.given();
        stalled.given();
        for period in 1..10 {
            let now = start + 11 * period * SECOND;
            assert!(activity.period_ends(now));
            // The next part is handed over before the one before it was sent.
            slow.given();
            slow.taken();
            assert!(!slow.is_stalled(now));
            assert_eq!(stalled.is_stalled(now), period > 1);
        }
        slow.taken();
        stalled.taken();
        assert!(activity.period_ends(start + 200 * SECOND) && activity.period_ends(start + 300 * SECOND));
        let now = start + 300 * SECOND;
        assert!(!slow.is_stalled(now) && !stalled.is_stalled(now), "there is nothing to take");
        drop((slow, stalled));
        assert!(matches!(activity.verdict(Instant::now()), Verdict::Keep(_)));
    }

    #[test]
    fn a_stream_waits_for_its_reader_but_not_for_ever_once_it_has_ended() {
        let (activity, start) = (activity(), Instant::now());
        let (call, paced) = (begin(&activity), PacedByReader::default());
        call.waits_for_reader(paced.clone());
        call.given();
        let mut now = start;
        for _ in 0..10 {
            now += 3600 * SECOND;
            assert!(activity.period_ends(now) && !call.is_stalled(now));
        }
        paced.end(now);
        assert!(!call.is_stalled(now + LEFT_UNREAD_MAX), "it may yet be read");
        now += LEFT_UNREAD_MAX + SECOND;
        assert!(call.is_stalled(now));
        call.taken();
        assert!(!call.is_stalled(now), "it was read to its end");
    }
}
