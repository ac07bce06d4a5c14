//! When calls are due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// The pause between two looks at the clock. Tokio's own timers go by whole milliseconds.
const TICK: Duration = Duration::from_micros(50);

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// Says when each call is due: at once, or evenly over time.
pub(super) struct Pace {
    began_at: Instant,
    ends_at: Instant,
    clock: Option<Clock>,
}

/// Calls that fall due whether or not anybody has time for them.
struct Clock {
    /// How long after one the next is due: this many nanoseconds divided by the other.
    interval: (u128, u128),
    /// As many as are due and not begun.
    due: Arc<Semaphore>,
    begun: AtomicU64,
}

impl Pace {
    /// Begins now, and lets go of the last call after so long. The rate is one of operations, of which
    /// each call has so many.
    pub(super) fn begin(rate: Option<u32>, batch: u32, lasts: Duration) -> Self {
        let began_at = Instant::now();
        let ends_at = began_at + lasts;
        let clock = rate.map(|rate| {
            let interval = (u128::from(batch) * NANOSECONDS_PER_SECOND, u128::from(rate));
            Clock::begin(interval, began_at, ends_at)
        });
        Self { began_at, ends_at, clock }
    }

    pub(super) fn began_at(&self) -> Instant {
        self.began_at
    }

    pub(super) fn ends_at(&self) -> Instant {
        self.ends_at
    }

    /// Waits until the next call is due, and says when it was; `None` if it is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        let Some(clock) = &self.clock else {
            return Some(Instant::now()).filter(|&now| now < self.ends_at);
        };
        clock.due.acquire().await.ok()?.forget();
        if Instant::now() >= self.ends_at {
            return None;
        }
        let number = clock.begun.fetch_add(1, Relaxed);
        Some(self.began_at + clock.due_after(number))
    }

    /// How many calls fell due, and were not begun before the end.
    pub(super) fn never_begun(&self) -> u64 {
        self.clock.as_ref().map_or(0, |clock| {
            let (nanoseconds, number) = clock.interval;
            let all = ((self.ends_at - self.began_at).as_nanos() * number).div_ceil(nanoseconds);
            u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(clock.begun.load(Relaxed))
        })
    }
}

impl Clock {
    fn begin(interval: (u128, u128), began_at: Instant, ends_at: Instant) -> Self {
        let clock = Self { interval, due: Arc::new(Semaphore::new(0)), begun: AtomicU64::new(0) };
        let due = Arc::clone(&clock.due);
        thread::spawn(move || {
            let (nanoseconds, number) = interval;
            let mut let_go = 0;
            while Instant::now() < ends_at {
                // The first is due at once.
                let now_due = began_at.elapsed().as_nanos() * number / nanoseconds + 1;
                due.add_permits(usize::try_from(now_due - let_go).unwrap_or(0));
                let_go = now_due;
                thread::sleep(TICK);
            }
            due.close();
        });
        clock
    }

    /// How long after the first a call is due.
    fn due_after(&self, call: u64) -> Duration {
        let (nanoseconds, number) = self.interval;
        Duration::from_nanos(u64::try_from(u128::from(call) * nanoseconds / number).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_due_evenly_and_those_nobody_had_time_for_are_counted() {
        let pace = Pace::begin(Some(4_000), 4, Duration::from_millis(50));
        for number in 0..10 {
            let due_at = pace.next().await.unwrap();
            assert_eq!(due_at - pace.began_at(), Duration::from_millis(number));
            assert!(due_at <= Instant::now(), "none is begun before its time");
        }
        thread::sleep(Duration::from_millis(60));
        assert_eq!(pace.next().await, None, "it is over");
        assert_eq!(pace.never_begun(), 40);
    }

    #[tokio::test]
    async fn without_a_rate_each_is_due_at_once() {
        let pace = Pace::begin(None, 1, Duration::from_millis(5));
        let due_at = pace.next().await.unwrap();
        assert!(due_at >= pace.began_at());
        thread::sleep(Duration::from_millis(10));
        assert_eq!((pace.next().await, pace.never_begun()), (None, 0));
    }
}
