use bank_domain::Timestamp;

use super::{Verdict::*, *};
use crate::clock::SimulatedClock;

const TIMEOUT: Duration = Duration::from_secs(2);

fn lease(down_after_ms: Option<u64>) -> (Arc<SimulatedClock>, Lease) {
    let clock = Arc::new(SimulatedClock::new(Timestamp::UNIX_EPOCH));
    let timekeeper = Timekeeper::new(Arc::<SimulatedClock>::clone(&clock), Duration::from_secs(1));
    (clock, Lease::new(&timekeeper, TIMEOUT, down_after_ms.map(|ms| Arc::new(AtomicU64::new(ms)))))
}

#[test]
fn a_reply_counts_until_a_failover_is_possible() {
    let (clock, lease) = lease(Some(5_500));
    for (idle_ms, takes_ms, verdict) in [
        (100, 100, InTime),
        (1_900, 2_000, InTime),
        // Late for a command, but the server is as good as before.
        (0, 2_001, Late),
        (2_000, 1, InTime),
        (2_999, 2_000, InTime),
        // The primary was silent for too long, however quick this reply is.
        (3_000, 1, PossiblyReplaced),
        (0, 0, PossiblyReplaced),
    ] {
        clock.advance(Duration::from_millis(idle_ms));
        let sent_at_ms = lease.now_ms();
        clock.advance(Duration::from_millis(takes_ms));
        assert_eq!(lease.judge(sent_at_ms), verdict, "{idle_ms} {takes_ms}");
    }
}

#[test]
fn without_sentinels_only_the_command_timeout_counts() {
    let (clock, lease) = lease(None);
    clock.advance(Duration::from_hours(1));
    let sent_at_ms = lease.now_ms();
    assert_eq!(lease.judge(sent_at_ms), InTime);
    clock.advance(TIMEOUT);
    assert_eq!(lease.judge(sent_at_ms), InTime);
    clock.advance(Duration::from_millis(1));
    assert_eq!(lease.judge(sent_at_ms), Late);
}
