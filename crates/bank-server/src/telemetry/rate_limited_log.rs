//! Events that callers can cause as often as they like, logged at most once a second.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The least time between two lines about the same event.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts events, so that a line can say how many there were.
#[derive(Debug, Default)]
pub struct RateLimitedLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unlogged: u64,
    logged_at: Option<Instant>,
}

impl RateLimitedLog {
    /// Counts an event. Returns how many there were since the last line if it is time for another.
    pub fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unlogged += 1;
        if state.logged_at.is_some_and(|logged_at| now.saturating_duration_since(logged_at) < PAUSE) {
            return None;
        }
        state.logged_at = Some(now);
        Some(mem::take(&mut state.unlogged))
    }
}

#[cfg(test)]
mod tests;
