use super::*;

fn limits(calls_per_second_max: u64) -> Limits {
    let free_at = Mutex::new(Instant::now());
    let rate = Limit::new("callers.calls_per_second_max", calls_per_second_max, free_at);
    Limits { rate: Some(rate), in_flight: None }
}

#[tokio::test]
async fn turns_are_spaced_by_the_rate() {
    let limits = limits(1_000);
    let first = limits.rate.as_ref().unwrap().reserve(100);
    let second = limits.rate.as_ref().unwrap().reserve(1);
    assert!(second - first >= Duration::from_millis(100), "{:?}", second - first);
    assert!(limits.reached().is_empty());
    let far = limits.rate.as_ref().unwrap().reserve(1_000);
    assert!(!limits.turn(1, Some(far)).await, "the load has ended by then");
}

#[tokio::test]
async fn limits_that_were_reached_are_named() {
    let mut limits = limits(1_000_000);
    let free_at = Instant::now() + Duration::from_millis(5);
    *limits.rate.as_ref().unwrap().state.lock().unwrap() = free_at;
    assert!(limits.turn(1, None).await);
    assert!(Instant::now() >= free_at);
    limits.in_flight = Some(Limit::new("callers.concurrent_batches_max", 1, Semaphore::new(1)));
    let permit = limits.permit().await;
    assert_eq!(limits.reached(), ["callers.calls_per_second_max = 1000000"]);
    let (second, ()) = tokio::join!(limits.permit(), async { drop(permit) });
    assert!(second.is_some());
    assert_eq!(limits.reached()[1], "callers.concurrent_batches_max = 1");
}

#[test]
fn a_rate_above_the_limit_is_reported() {
    assert_eq!(limits(10).exceeded_by(10), None);
    assert_eq!(limits(10).exceeded_by(11).unwrap(), "callers.calls_per_second_max = 10");
}
