//! What may happen very often, and is said seldom.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The least time between two lines about the same.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts what happens, and tells when it is time to say so: whoever makes it happen cannot fill the
/// log.
#[derive(Debug, Default)]
pub struct Seldom {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unsaid: u64,
    said_at: Option<Instant>,
}

impl Seldom {
    /// Counts one more. How many there were since it was last said, if it is time to say it again.
    pub fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unsaid += 1;
        if state.said_at.is_some_and(|said_at| now.saturating_duration_since(said_at) < PAUSE) {
            return None;
        }
        state.said_at = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_seldom_with_all_that_was_not_said() {
        let seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.count_at(start), Some(1));
        assert_eq!(seldom.count_at(start + PAUSE / 2), None);
        assert_eq!(seldom.count_at(start + PAUSE / 2), None);
        assert_eq!(seldom.count_at(start + PAUSE), Some(3));
        assert_eq!(seldom.count_at(start + PAUSE), None);
    }
}
