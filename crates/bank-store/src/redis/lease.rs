//! For how long an answer of a primary counts.
//!
//! A primary that was frozen carries out what waits in its sockets, says OK and calls itself the
//! primary, although another was promoted meanwhile: what it acknowledges is thrown away. Sentinel
//! promotes another only once a primary has been silent for `down-after-milliseconds`. So one that has
//! answered on a connection within less than that cannot have been replaced in between. Each answer
//! that is taken shows that the primary was there when its command was sent. An answer that comes longer
//! after that than a failover takes is not taken, nor any after it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Timekeeper;

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    InTime,
    /// It came later than a command may take.
    Late,
    /// It came so late that another primary may have taken over.
    PerhapsReplaced,
}

/// The signs of life on one connection. Its clock goes on while this process, or the machine, stands still.
#[derive(Debug)]
pub(super) struct Lease {
    clock: Timekeeper,
    command_timeout_ms: u64,
    /// When the newest command was sent that has been answered, in milliseconds by the steady clock.
    alive_at_ms: AtomicU64,
}

impl Lease {
    /// For a connection that is begun now.
    pub(super) fn new(clock: &Timekeeper, command_timeout: Duration) -> Self {
        let begun_at_ms = milliseconds(clock.steady());
        Self {
            clock: clock.clone(),
            command_timeout_ms: milliseconds(command_timeout),
            alive_at_ms: AtomicU64::new(begun_at_ms),
        }
    }

    /// When a command is sent that is sent now, for [`Lease::judge`].
    pub(super) fn now_ms(&self) -> u64 {
        milliseconds(self.clock.steady())
    }

    /// Judges an answer that comes now to what was sent then. `silence_ms_max` is how long a primary may be
    /// silent before another can have been promoted, if anybody promotes.
    pub(super) fn judge(&self, sent_at_ms: u64, silence_ms_max: Option<u64>) -> Verdict {
        let now_ms = self.now_ms();
        // Commands are answered in the order in which they were sent, but are judged in any.
        let alive_at_ms = self.alive_at_ms.load(Ordering::SeqCst);
        if silence_ms_max.is_some_and(|max| now_ms.saturating_sub(alive_at_ms) > max) {
            return Verdict::PerhapsReplaced;
        }
        self.alive_at_ms.fetch_max(sent_at_ms, Ordering::SeqCst);
        let is_late = now_ms.saturating_sub(sent_at_ms) > self.command_timeout_ms;
        if is_late { Verdict::Late } else { Verdict::InTime }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bank_domain::Timestamp;

    use super::{Verdict::*, *};
    use crate::clock::SimulatedClock;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn lease() -> (Arc<SimulatedClock>, Lease) {
        let clock = Arc::new(SimulatedClock::new(Timestamp::UNIX_EPOCH));
        let timekeeper = Timekeeper::new(Arc::<SimulatedClock>::clone(&clock), Duration::from_secs(1));
        (clock, Lease::new(&timekeeper, TIMEOUT))
    }

    #[test]
    fn an_answer_counts_until_a_failover_can_have_been() {
        let (clock, lease) = lease();
        for (idle_ms, takes_ms, verdict) in [
            (100, 100, InTime),
            (1_900, 2_000, InTime),
            // Late for a command, but the server is as good as before.
            (0, 2_001, Late),
            (2_000, 1, InTime),
            (2_999, 2_000, InTime),
            // Nothing was heard for too long, however quick this answer is.
            (3_000, 1, PerhapsReplaced),
            (0, 0, PerhapsReplaced),
        ] {
            clock.advance(Duration::from_millis(idle_ms));
            let sent_at_ms = lease.now_ms();
            clock.advance(Duration::from_millis(takes_ms));
            assert_eq!(lease.judge(sent_at_ms, Some(5_000)), verdict, "{idle_ms} {takes_ms}");
        }
    }

    #[test]
    fn where_nobody_promotes_only_the_command_counts() {
        let (clock, lease) = lease();
        clock.advance(Duration::from_hours(1));
        let sent_at_ms = lease.now_ms();
        assert_eq!(lease.judge(sent_at_ms, None), InTime);
        clock.advance(TIMEOUT);
        assert_eq!(lease.judge(sent_at_ms, None), InTime);
        clock.advance(Duration::from_millis(1));
        assert_eq!(lease.judge(sent_at_ms, None), Late);
    }
}
