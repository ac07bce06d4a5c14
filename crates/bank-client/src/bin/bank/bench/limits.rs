//! What the server allows one caller: the load keeps to it, and says so, rather than measure rejections.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bank_client::ServerLimits;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::sleep_until,
};

use crate::{args::Bench, failure::Failure};

const CALLS_PER_SECOND: &str = "callers.calls_per_second_max";
/// How much of the rate is used, in percent: clocks differ, and callers do more than the load.
const SHARE_PERCENT: u128 = 99;
const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// Bounds that a server has told of. One that it has not told of is none.
pub(super) struct Limits {
    rate: Option<Rate>,
    in_flight: Option<InFlight>,
}

struct Rate {
    operations_per_second_max: u64,
    /// When the next operation may be asked for.
    free_at: Mutex<Instant>,
    was_reached: AtomicBool,
}

struct InFlight {
    setting: &'static str,
    max: usize,
    places: Semaphore,
    was_reached: AtomicBool,
}

impl Limits {
    /// Those of a load.
    ///
    /// # Errors
    /// If the server would never carry out such a batch.
    pub(super) fn of(server: &ServerLimits, args: &Bench) -> Result<Self, Failure> {
        let batch_max = [
            ("server.batch_operations_max", Some(server.batch_operations_max)),
            ("callers.calls_burst_max", server.calls_burst_max),
        ];
        for (setting, max) in batch_max {
            if let Some(max) = max.filter(|&max| u64::from(args.batch) > max) {
                return Err(Failure::BatchTooLarge { batch: args.batch.into(), setting, max });
            }
        }
        let (setting, max) = match args.batch {
            1 => ("callers.calls_in_flight_max", server.calls_in_flight_max),
            _ => ("callers.concurrent_batches_max", server.concurrent_batches_max),
        };
        let in_flight = max.and_then(|max| usize::try_from(max).ok()).map(|max| InFlight {
            setting,
            max,
            places: Semaphore::new(max.min(Semaphore::MAX_PERMITS)),
            was_reached: AtomicBool::new(false),
        });
        let rate = server.calls_per_second_max.map(|operations_per_second_max| Rate {
            operations_per_second_max,
            free_at: Mutex::new(Instant::now()),
            was_reached: AtomicBool::new(false),
        });
        Ok(Self { rate, in_flight })
    }

    /// What a rate that was asked for exceeds.
    pub(super) fn exceeded_by(&self, rate: u32) -> Option<String> {
        let max = self.rate.as_ref()?.operations_per_second_max;
        (u64::from(rate) > max).then(|| format!("{CALLS_PER_SECOND} = {max}"))
    }

    /// A place for a call, once there is one.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        let InFlight { places, was_reached, .. } = self.in_flight.as_ref()?;
        if let Ok(place) = places.try_acquire() {
            return Some(place);
        }
        was_reached.store(true, Relaxed);
        places.acquire().await.ok()
    }

    /// Waits until so many operations may be asked for; `false`, at once, if that is not before the end.
    pub(super) async fn turn(&self, operations: u32, ends_at: Option<Instant>) -> bool {
        let Some(rate) = &self.rate else { return true };
        let turn = rate.reserve(operations);
        if ends_at.is_some_and(|ends_at| turn >= ends_at) {
            return false;
        }
        if turn > Instant::now() {
            rate.was_reached.store(true, Relaxed);
            sleep_until(turn.into()).await;
        }
        true
    }

    /// The settings that the load had to wait for, with their values.
    pub(super) fn reached(&self) -> Vec<String> {
        let rate = self.rate.as_ref().filter(|rate| rate.was_reached.load(Relaxed));
        let rate = rate.map(|rate| format!("{CALLS_PER_SECOND} = {}", rate.operations_per_second_max));
        let in_flight = self.in_flight.as_ref().filter(|in_flight| in_flight.was_reached.load(Relaxed));
        let in_flight = in_flight.map(|InFlight { setting, max, .. }| format!("{setting} = {max}"));
        rate.into_iter().chain(in_flight).collect()
    }
}

impl Rate {
    /// When so many operations may be asked for. Those who ask later get a later time.
    fn reserve(&self, operations: u32) -> Instant {
        let per_second = u128::from(self.operations_per_second_max.max(1)) * SHARE_PERCENT / 100;
        let takes = u128::from(operations) * NANOSECONDS_PER_SECOND / per_second.max(1);
        let takes = Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*free_at).max(Instant::now());
        *free_at = turn + takes;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(operations_per_second_max: u64) -> Limits {
        let free_at = Mutex::new(Instant::now());
        let was_reached = AtomicBool::new(false);
        Limits { rate: Some(Rate { operations_per_second_max, free_at, was_reached }), in_flight: None }
    }

    #[tokio::test]
    async fn turns_are_as_far_apart_as_the_rate_asks_for() {
        let limits = rate(1_000);
        let first = limits.rate.as_ref().unwrap().reserve(100);
        let second = limits.rate.as_ref().unwrap().reserve(1);
        assert!(second - first >= Duration::from_millis(100), "{:?}", second - first);
        assert!(limits.reached().is_empty());
        let far = limits.rate.as_ref().unwrap().reserve(1_000);
        assert!(!limits.turn(1, Some(far)).await, "it is over by then");
    }

    #[tokio::test]
    async fn what_had_to_be_waited_for_is_named() {
        let mut limits = rate(1_000_000);
        let free_at = Instant::now() + Duration::from_millis(5);
        *limits.rate.as_ref().unwrap().free_at.lock().unwrap() = free_at;
        assert!(limits.turn(1, None).await);
        assert!(Instant::now() >= free_at);
        limits.in_flight = Some(InFlight {
            setting: "callers.concurrent_batches_max",
            max: 1,
            places: Semaphore::new(1),
            was_reached: AtomicBool::new(false),
        });
        let place = limits.place().await;
        assert_eq!(limits.reached(), ["callers.calls_per_second_max = 1000000"]);
        let (second, ()) = tokio::join!(limits.place(), async { drop(place) });
        assert!(second.is_some());
        assert_eq!(limits.reached()[1], "callers.concurrent_batches_max = 1");
    }

    #[test]
    fn a_rate_that_is_too_high_is_told_of() {
        assert_eq!(rate(10).exceeded_by(10), None);
        assert_eq!(rate(10).exceeded_by(11).unwrap(), "callers.calls_per_second_max = 10");
    }
}
