use std::{cell::RefCell, collections::VecDeque};

use bank_domain::Rejection;

use super::*;
use crate::servers::Server;

/// What an attempt does: takes this long, and ends so.
type Step = (Duration, Result<&'static str, Error>);

struct Run {
    result: Result<&'static str, Error>,
    attempts: u32,
    took: Duration,
}

const INSTANT: Duration = Duration::ZERO;
const HANGS: Duration = Duration::from_hours(1);

/// Runs a call that changes something, with a timeout of 10 s.
async fn run(policy: &RetryPolicy, budget: &Budget, steps: impl IntoIterator<Item = Step>) -> Run {
    let request_id: RequestId = "r-1".parse().unwrap();
    let steps = RefCell::new(steps.into_iter().collect::<VecDeque<_>>());
    let attempts = RefCell::new(0);
    let started = Instant::now();
    let servers = Servers::new(vec![Server::new("http://bank.test:50051".to_owned(), Vec::new())]);
    let timeout = Duration::from_secs(10);
    let call = Attempts { policy, budget, servers: &servers, timeout, request_id: Some(&request_id) };
    let result = call
        .run(|left| {
            assert!(left + started.elapsed() <= Duration::from_secs(10));
            *attempts.borrow_mut() += 1;
            let (duration, result) = steps.borrow_mut().pop_front().expect("no further attempt is due");
            async move {
                sleep(duration).await;
                result
            }
        })
        .await;
    assert!(result.is_err() || steps.borrow().is_empty(), "a call ends with its first answer");
    Run { result, attempts: attempts.into_inner(), took: started.elapsed() }
}

async fn run_once(steps: impl IntoIterator<Item = Step>) -> Run {
    let policy = RetryPolicy::default();
    run(&policy, &Budget::new(&policy), steps).await
}

fn unavailable() -> Step {
    (INSTANT, Err(Error::Unavailable { message: "store".into(), retry_after: None }))
}

fn lost() -> Step {
    (INSTANT, Err(Error::ConnectionLost("reset".into())))
}

fn done() -> Step {
    (INSTANT, Ok("done"))
}

fn refused() -> Step {
    (
        INSTANT,
        Err(Error::Rejected {
            rejection: Rejection::AccountFrozen { account_id: "1".parse().unwrap() },
            replayed: false,
        }),
    )
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_are_retried_until_answered() {
    let run = run_once([unavailable(), lost(), done()]).await;
    assert_eq!(run.result.unwrap(), "done");
    assert_eq!(run.attempts, 3);
    assert!(run.took <= Duration::from_millis(100 + 200), "{:?}", run.took);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_an_answer() {
    let run = run_once([lost(), refused()]).await;
    assert!(matches!(run.result, Err(Error::Rejected { rejection: Rejection::AccountFrozen { .. }, .. })));
    assert_eq!(run.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted() {
    let run = run_once(std::iter::repeat_with(unavailable).take(6)).await;
    assert!(matches!(run.result, Err(Error::Unavailable { .. })));
    assert_eq!(run.attempts, 6);

    let policy = RetryPolicy::never();
    let run = self::run(&policy, &Budget::new(&policy), [unavailable()]).await;
    assert_eq!(run.attempts, 1);
}

/// The last attempt did nothing, but an earlier one may have: "nothing was done" would invite the
/// caller to pay twice.
#[tokio::test(start_paused = true)]
async fn an_attempt_of_unknown_outcome_is_remembered() {
    let steps = [lost()].into_iter().chain(std::iter::repeat_with(unavailable).take(5));
    let error = run_once(steps).await.result.unwrap_err();
    assert!(error.outcome_unknown());
    assert_eq!(error.request_id().unwrap().as_str(), "r-1");
    assert_eq!(
        error.to_string(),
        "it is not known whether request r-1 was carried out: the bank is unavailable: store"
    );

    let denied = (INSTANT, Err(Error::Unauthenticated("expired".into())));
    assert!(run_once([lost(), denied]).await.result.unwrap_err().outcome_unknown());

    let fault = (INSTANT, Err(Error::Internal("bug".into())));
    assert!(run_once([fault]).await.result.unwrap_err().outcome_unknown());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_attempts_and_pauses() {
    let run = run_once([unavailable(), (HANGS, Ok("late"))]).await;
    assert!(
        matches!(&run.result, Err(Error::DeadlineExceeded { request_id: Some(id) }) if id.as_str() == "r-1")
    );
    assert_eq!(run.took, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn retries_wait_as_long_as_the_bank_asks() {
    let later = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        (INSTANT, Err(Error::Overloaded { message: "queue".into(), retry_after }))
    };
    let run = run_once([later(3), done()]).await;
    assert_eq!(run.attempts, 2);
    assert!((Duration::from_secs(3)..=Duration::from_millis(3_100)).contains(&run.took), "{:?}", run.took);

    // Past the deadline: no use in waiting for it.
    let run = run_once([later(11)]).await;
    assert!(matches!(run.result, Err(Error::Overloaded { .. })));
    assert_eq!(run.took, INSTANT);
}

#[tokio::test(start_paused = true)]
async fn the_budget_limits_retries_of_all_calls_and_replies_refill_it() {
    let policy = RetryPolicy { budget_tokens: 10, ..RetryPolicy::default() };
    let budget = Budget::new(&policy);
    let storm = || std::iter::repeat_with(unavailable).take(6);
    // Ten tokens: the fifth failure leaves half, and no more is repeated.
    assert_eq!(run(&policy, &budget, storm()).await.attempts, 5);
    assert_eq!(run(&policy, &budget, storm()).await.attempts, 1);
    for _ in 0..30 {
        run(&policy, &budget, [done()]).await.result.unwrap();
    }
    // Four tokens and three more are seven.
    assert_eq!(run(&policy, &budget, storm()).await.attempts, 2);
}

#[test]
fn pauses_double_up_to_a_bound() {
    let policy = RetryPolicy::default();
    let pauses: Vec<_> = (1..=7).map(|attempt| policy.pause_max(attempt).as_millis()).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
    assert_eq!(policy.pause_max(u32::MAX), Duration::from_secs(2));
}
