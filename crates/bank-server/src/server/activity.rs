//! Whether a connection is of use, or only takes room.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long a connection has to close once its calls are done. Clients close at once when they are
/// told to; one that does not is gone, or never was a gRPC client.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// How long a connection may be of no use.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A new one, before its first call.
    pub first_call_timeout: Duration,
    /// One that has made calls, without one in flight.
    pub idle_timeout: Duration,
    /// One that does not take the reply that it asked for.
    pub reply_timeout: Duration,
}

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then.
    Keep(Instant),
    /// Tell it to make its calls elsewhere.
    Dismiss,
    /// Its client does not take what it asked for.
    CutOff,
}

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// Parts of replies that their callers have not taken: those handed on in this period, and those
    /// of the period before.
    untaken: [usize; 2],
    period: u64,
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

/// A call on a connection.
#[derive(Debug)]
pub(super) struct CallInFlight {
    connection: Arc<Activity>,
    /// The period in which it was handed what it has not taken yet.
    untaken_since: Option<u64>,
}

impl Activity {
    pub(super) fn new(patience: Patience) -> Self {
        let now = Instant::now();
        let state = State {
            in_flight: 0,
            untaken: [0; 2],
            period: 0,
            period_ends_at: now + patience.reply_timeout,
            quiet_since: now,
            stage: Stage::New,
        };
        Self { patience, state: Mutex::new(state) }
    }

    /// What to do about the connection now.
    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let mut state = self.state();
        if state.period_ends_at <= now {
            // What is left of the period before is at least one period old.
            state.period += 1;
            state.period_ends_at = now + self.patience.reply_timeout;
            if state.untaken[index(state.period)] > 0 {
                return Verdict::CutOff;
            }
        }
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

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a period is counted: its place is that of the one before the last.
fn index(period: u64) -> usize {
    usize::from(period % 2 == 1)
}

impl CallInFlight {
    pub(super) fn begin(connection: Arc<Activity>) -> Self {
        let mut state = connection.state();
        state.in_flight += 1;
        if state.stage == Stage::New {
            state.stage = Stage::Used;
        }
        drop(state);
        Self { connection, untaken_since: None }
    }

    /// Its caller was handed a part of the reply.
    pub(super) fn given(&mut self) {
        let mut state = self.connection.state();
        let period = state.period;
        state.untaken[index(period)] += 1;
        self.untaken_since = Some(period);
    }

    /// Its caller has taken what it was handed.
    pub(super) fn taken(&mut self) {
        if let Some(period) = self.untaken_since.take() {
            self.connection.state().untaken[index(period)] -= 1;
        }
    }
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        self.taken();
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

    fn keeps(activity: &Activity, now: Instant) -> bool {
        matches!(activity.verdict(now), Verdict::Keep(then) if then > now)
    }

    #[test]
    fn a_connection_without_calls_is_dismissed_sooner_if_it_never_made_one() {
        let activity = activity();
        let start = Instant::now();
        assert!(keeps(&activity, start));
        assert_eq!(activity.verdict(start + 2 * SECOND), Verdict::Dismiss);
        let call = CallInFlight::begin(Arc::clone(&activity));
        assert!(keeps(&activity, start + 1000 * SECOND), "a call that takes its time keeps it");
        drop(call);
        assert!(keeps(&activity, start + 59 * SECOND));
        assert_eq!(activity.verdict(start + 61 * SECOND), Verdict::Dismiss);
        let gone_at = activity.leave();
        assert_eq!(activity.verdict(gone_at), Verdict::Dismiss);
        let call = CallInFlight::begin(Arc::clone(&activity));
        assert!(keeps(&activity, gone_at), "a call that arrived meanwhile is finished");
        drop(call);
    }

    #[test]
    fn a_connection_that_does_not_take_a_reply_is_cut_off_and_one_that_takes_it_slowly_is_not() {
        let (activity, start) = (activity(), Instant::now());
        let mut call = CallInFlight::begin(Arc::clone(&activity));
        for period in 1..10 {
            call.given();
            assert!(keeps(&activity, start + 11 * period * SECOND));
            call.taken();
        }
        call.given();
        assert!(keeps(&activity, start + 110 * SECOND));
        assert_eq!(activity.verdict(start + 121 * SECOND), Verdict::CutOff);
    }
}
