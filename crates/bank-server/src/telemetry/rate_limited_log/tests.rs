use super::*;

#[test]
fn the_first_event_is_logged_at_once_and_a_later_line_counts_what_was_not_logged() {
    let log = RateLimitedLog::default();
    let start = Instant::now();
    assert_eq!(log.count_at(start), Some(1));
    assert_eq!(log.count_at(start + PAUSE / 2), None);
    assert_eq!(log.count_at(start + PAUSE / 2), None);
    assert_eq!(log.count_at(start + PAUSE), Some(3));
    assert_eq!(log.count_at(start + PAUSE), None);
}
