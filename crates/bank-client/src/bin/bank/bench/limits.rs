//! Keeps a load within what the server allows one caller.

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

/// The part of the rate that is used, in percent: clocks differ, and the caller may do other things.
const SHARE_PERCENT: u128 = 99;

/// The limits that a server has reported. One that it has not reported does not apply.
pub(super) struct Limits {
    rate: Option<Limit<Mutex<Instant>>>,
    in_flight: Option<Limit<Semaphore>>,
}

/// A setting of the server, its value, and what keeps to it.
struct Limit<T> {
    setting: &'static str,
    max: u64,
    /// For the rate, when the next operation may start; for calls in flight, their permits.
    state: T,
    was_reached: AtomicBool,
}

impl<T> Limit<T> {
    fn new(setting: &'static str, max: u64, state: T) -> Self {
        Self { setting, max, state, was_reached: AtomicBool::new(false) }
    }

    fn if_reached(&self) -> Option<String> {
        self.was_reached.load(Relaxed).then(|| self.to_string())
    }
}

impl<T> std::fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}", self.setting, self.max)
    }
}

impl Limits {
    /// The limits for a load.
    ///
    /// # Errors
    /// If the server never accepts a batch of this size.
    pub(super) fn of(server: &ServerLimits, args: &Bench) -> Result<Self, Failure> {
        let batch_max = [
            ("server.batch_operations_max", Some(server.batch_operations_max)),
            ("callers.calls_burst_max", server.calls_burst_max),
        ];
        for (setting, max) in batch_max {
            if let Some(max) = max.filter(|&max| u64::from(args.batch) > max) {
                return Err(Failure::batch_too_large(args.batch.into(), setting, max));
            }
        }
        let (setting, max) = match args.batch {
            1 => ("callers.calls_in_flight_max", server.calls_in_flight_max),
            _ => ("callers.concurrent_batches_max", server.concurrent_batches_max),
        };
        let permits =
            |max| Semaphore::new(usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS));
        let now = || Mutex::new(Instant::now());
        Ok(Self {
            rate: server
                .calls_per_second_max
                .map(|max| Limit::new("callers.calls_per_second_max", max, now())),
            in_flight: max.map(|max| Limit::new(setting, max, permits(max))),
        })
    }

    /// The limit that a requested rate exceeds.
    pub(super) fn exceeded_by(&self, rate: u32) -> Option<String> {
        self.rate.as_ref().filter(|limit| u64::from(rate) > limit.max).map(ToString::to_string)
    }

    /// Waits for a permit to make a call.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        let Limit { state: permits, was_reached, .. } = self.in_flight.as_ref()?;
        if let Ok(permit) = permits.try_acquire() {
            return Some(permit);
        }
        was_reached.store(true, Relaxed);
        permits.acquire().await.ok()
    }

    /// Waits until so many operations may start. Returns `false` at once if that is not before the end.
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
        let rate = self.rate.as_ref().and_then(Limit::if_reached);
        rate.into_iter().chain(self.in_flight.as_ref().and_then(Limit::if_reached)).collect()
    }
}

impl Limit<Mutex<Instant>> {
    /// When so many operations may start. Later reservations get later times.
    fn reserve(&self, operations: u32) -> Instant {
        let per_second = u128::from(self.max.max(1)) * SHARE_PERCENT / 100;
        let nanoseconds = u128::from(operations) * 1_000_000_000 / per_second.max(1);
        let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let mut free_at = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*free_at).max(Instant::now());
        *free_at = turn + takes;
        turn
    }
}

#[cfg(test)]
mod tests;
