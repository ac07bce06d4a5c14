use super::*;

#[tokio::test]
async fn calls_are_due_evenly_and_missed_ones_are_counted() {
    let pace = Pace::begin(Some(4_000), 4, Duration::from_millis(50));
    for number in 0..10 {
        let due_at = pace.next().await.unwrap();
        assert_eq!(due_at - pace.began_at, Duration::from_millis(number));
        assert!(due_at <= Instant::now(), "no call is due in the future");
    }
    thread::sleep(Duration::from_millis(60));
    assert_eq!(pace.next().await, None, "it is over");
    assert_eq!(pace.not_started(), 40);
}

#[tokio::test]
async fn without_a_rate_every_call_is_due_at_once() {
    let pace = Pace::begin(None, 1, Duration::from_millis(5));
    let due_at = pace.next().await.unwrap();
    assert!(due_at >= pace.began_at);
    thread::sleep(Duration::from_millis(10));
    assert_eq!((pace.next().await, pace.not_started()), (None, 0));
}
