//! Says when calls are due: at once, or evenly spaced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// How often the clock is read. Tokio's timers have a resolution of a millisecond, which is too coarse.
const TICK: Duration = Duration::from_micros(50);

pub(super) struct Pace {
    pub(super) began_at: Instant,
    pub(super) ends_at: Instant,
    schedule: Option<Schedule>,
}

/// Calls that are due whether or not a caller is free.
struct Schedule {
    interval: Interval,
    /// A permit for each call that is due and was not started.
    due: Arc<Semaphore>,
    started: AtomicU64,
}

/// The time between calls: `nanoseconds / calls`.
#[derive(Clone, Copy)]
struct Interval {
    nanoseconds: u128,
    calls: u128,
}

impl Pace {
    /// Begins now and lasts so long. The rate is in operations per second, `batch` of them in each call.
    pub(super) fn begin(rate: Option<u32>, batch: u32, lasts: Duration) -> Self {
        let began_at = Instant::now();
        let ends_at = began_at + lasts;
        let schedule = rate.map(|rate| {
            let interval = Interval { nanoseconds: u128::from(batch) * 1_000_000_000, calls: rate.into() };
            Schedule::begin(interval, began_at, ends_at)
        });
        Self { began_at, ends_at, schedule }
    }

    /// Waits until the next call is due, and returns when that was. None after the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        let Some(schedule) = &self.schedule else {
            return Some(Instant::now()).filter(|&now| now < self.ends_at);
        };
        schedule.due.acquire().await.ok()?.forget();
        if Instant::now() >= self.ends_at {
            return None;
        }
        let Interval { nanoseconds, calls } = schedule.interval;
        let after = u128::from(schedule.started.fetch_add(1, Relaxed)) * nanoseconds / calls;
        Some(self.began_at + Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX)))
    }

    /// The number of calls that were due and not started before the end.
    pub(super) fn not_started(&self) -> u64 {
        let Some(Schedule { interval, started, .. }) = &self.schedule else { return 0 };
        let all = ((self.ends_at - self.began_at).as_nanos() * interval.calls).div_ceil(interval.nanoseconds);
        u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(started.load(Relaxed))
    }
}

impl Schedule {
    fn begin(interval: Interval, began_at: Instant, ends_at: Instant) -> Self {
        let schedule = Self { interval, due: Arc::new(Semaphore::new(0)), started: AtomicU64::new(0) };
        let due = Arc::clone(&schedule.due);
        thread::spawn(move || {
            let mut released = 0;
            while Instant::now() < ends_at {
                // The first call is due at once.
                let now_due = began_at.elapsed().as_nanos() * interval.calls / interval.nanoseconds + 1;
                due.add_permits(usize::try_from(now_due - released).unwrap_or(0));
                released = now_due;
                thread::sleep(TICK);
            }
            due.close();
        });
        schedule
    }
}

#[cfg(test)]
mod tests;
