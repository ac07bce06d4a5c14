//! Retries: which calls, how often, with which back-off and budget.

use std::{
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bank_domain::RequestId;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Error,
    error::Effect,
    servers::{Servers, is_failure_of_server},
};

/// How a client retries calls after temporary failures. All attempts of a call have the same request id, so it is
/// executed once.
///
/// The pause before the n-th retry is random between zero and `first * 2^(n-1)`, at most `max` (exponential back-off
/// with full jitter), plus the pause that the bank asks for. A call fails at once if the pause would pass its
/// deadline. There is no pause while another server of the bank can be tried.
///
/// A budget shared by all calls of a client keeps retries from overloading a struggling bank: every failure takes a
/// token, every answer gives back a tenth, and there are no retries while half of the tokens or fewer are left. It
/// is the retry throttling of gRPC (proposal A6).
///
/// ```
/// use std::time::Duration;
///
/// use bank_client::{BankClient, RetryPolicy};
///
/// let policy = RetryPolicy { attempts_max: 20, backoff_max: Duration::from_secs(10), ..Default::default() };
/// let builder = BankClient::builder("http://127.0.0.1:50051").retry(policy);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The most attempts of a call, including the first; 0 is taken as 1.
    pub attempts_max: u32,
    /// The longest pause before the first retry.
    pub backoff_first: Duration,
    /// The longest pause before any retry, without the pause that the bank asks for.
    pub backoff_max: Duration,
    /// The tokens of a full budget.
    pub budget_tokens: u32,
}

impl Default for RetryPolicy {
    /// At most 6 attempts, with pauses of at most 100 ms doubling to 2 s, and a budget of 100 tokens.
    fn default() -> Self {
        Self {
            attempts_max: 6,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            budget_tokens: 100,
        }
    }
}

impl RetryPolicy {
    /// One attempt for each call.
    pub fn never() -> Self {
        Self { attempts_max: 1, ..Self::default() }
    }

    /// A pause after an attempt, counted from 1.
    pub(crate) fn jitter(&self, attempt: u32) -> Duration {
        rand::random_range(Duration::ZERO..=self.pause_max(attempt))
    }

    /// The longest pause after an attempt, counted from 1.
    fn pause_max(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(30);
        self.backoff_first.saturating_mul(1 << doublings).min(self.backoff_max)
    }
}

/// The retry budget, shared by all calls of a client.
#[derive(Debug)]
pub(crate) struct Budget {
    tenths: AtomicU32,
    tenths_max: u32,
}

impl Budget {
    const TENTHS_PER_TOKEN: u32 = 10;

    pub(crate) fn new(policy: &RetryPolicy) -> Self {
        let tenths_max = policy.budget_tokens.saturating_mul(Self::TENTHS_PER_TOKEN);
        Self { tenths: AtomicU32::new(tenths_max), tenths_max }
    }

    /// Counts a call that was answered.
    fn give_back(&self) {
        self.update(|tenths| (tenths + 1).min(self.tenths_max));
    }

    /// Counts a failure; whether a repetition is still allowed.
    fn take(&self) -> bool {
        self.update(|tenths| tenths.saturating_sub(Self::TENTHS_PER_TOKEN)) > self.tenths_max / 2
    }

    /// Changes what is left and returns it. Calls may see each other's changes late, never lose them.
    fn update(&self, change: impl Fn(u32) -> u32) -> u32 {
        let before =
            self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tenths| Some(change(tenths)));
        // `change` always has a result, so this is the value before.
        change(before.unwrap_or_else(|tenths| tenths))
    }
}

/// One call with all its attempts.
pub(crate) struct Attempts<'a> {
    pub(crate) policy: &'a RetryPolicy,
    pub(crate) budget: &'a Budget,
    pub(crate) servers: &'a Servers,
    /// For all attempts and the pauses between them.
    pub(crate) timeout: Duration,
    /// Of a call that changes something.
    pub(crate) request_id: Option<&'a RequestId>,
}

impl Attempts<'_> {
    /// Attempts the call until it is answered, or may not be repeated, or the deadline passes.
    ///
    /// `attempt` is told how much time is left. Once an attempt may have changed something, no error
    /// says that nothing was done, unless the bank refuses the request itself.
    pub(crate) async fn run<T, F>(&self, attempt: impl FnMut(Duration) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match timeout(self.timeout, self.repeat(attempt)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Error::DeadlineExceeded { request_id: self.request_id.cloned() }),
        }
    }

    async fn repeat<T, F>(&self, mut attempt: impl FnMut(Duration) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let started = Instant::now();
        let left = || self.timeout.saturating_sub(started.elapsed());
        let mut in_doubt = false;
        let mut number = 1;
        loop {
            let error = match attempt(left()).await {
                Ok(reply) => {
                    self.budget.give_back();
                    return Ok(reply);
                }
                Err(error) => error,
            };
            in_doubt |= error.effect() == Effect::Unknown;
            match self.pause_after(&error, number).filter(|&pause| pause < left()) {
                Some(pause) => sleep(pause).await,
                None => return Err(self.settle(error, in_doubt)),
            }
            number += 1;
        }
    }

    /// Counts an answer outside of [`Attempts::run`].
    pub(crate) fn answered(&self) {
        self.budget.give_back();
    }

    /// How long to wait before the next attempt, if there may be one.
    pub(crate) fn pause_after(&self, error: &Error, attempt: u32) -> Option<Duration> {
        if !error.is_retryable() {
            self.budget.give_back();
            return None;
        }
        if !self.budget.take() || attempt >= self.policy.attempts_max {
            return None;
        }
        // What one server could not do, another can at once.
        if is_failure_of_server(error) && self.servers.has_other() {
            return Some(Duration::ZERO);
        }
        let jitter = self.policy.jitter(attempt);
        Some(error.retry_after().unwrap_or_default().saturating_add(jitter))
    }

    /// The error of the call, given that of its last attempt.
    fn settle(&self, last: Error, in_doubt: bool) -> Error {
        match self.request_id {
            Some(request_id) if in_doubt && !last.is_rejection() && !last.outcome_unknown() => {
                Error::OutcomeUnknown { request_id: request_id.clone(), message: last.to_string() }
            }
            _ => last,
        }
    }
}

#[cfg(test)]
mod tests;
