use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn activity() -> Arc<Activity> {
    Arc::new(Activity::new(Timeouts {
        first_call_timeout: SECOND,
        idle_timeout: 60 * SECOND,
        reply_timeout: 10 * SECOND,
    }))
}

fn begin(activity: &Arc<Activity>) -> Arc<CallInFlight> {
    let call = CallInFlight::begin(activity);
    assert!(activity.take_newest().is_some_and(|newest| Arc::ptr_eq(&newest, &call)));
    call
}

fn keeps(activity: &Activity, now: Instant) -> bool {
    activity.period_ends(now);
    matches!(activity.verdict(now), Verdict::Keep(then) if then > now)
}

#[test]
fn an_idle_connection_is_closed_sooner_if_it_never_made_a_call() {
    let activity = activity();
    let start = Instant::now();
    assert!(keeps(&activity, start));
    assert_eq!(activity.verdict(start + 2 * SECOND), Verdict::Close);
    let call = begin(&activity);
    assert!(keeps(&activity, start + 1000 * SECOND), "a slow call keeps it");
    drop(call);
    assert!(keeps(&activity, start + 59 * SECOND));
    assert_eq!(activity.verdict(start + 61 * SECOND), Verdict::Close);
    let gone_at = activity.leave();
    assert_eq!(activity.verdict(gone_at), Verdict::Close);
    let call = begin(&activity);
    assert!(keeps(&activity, gone_at), "a call that arrived meanwhile is finished");
    drop(call);
}

#[test]
fn a_call_is_stalled_if_none_of_its_reply_is_sent_but_not_if_it_is_sent_slowly() {
    let (activity, start) = (activity(), Instant::now());
    let (slow, stalled) = (begin(&activity), begin(&activity));
    assert!(!activity.period_ends(start + 9 * SECOND));
    slow.part_begins();
    stalled.part_begins();
    for period in 1..10 {
        let now = start + 11 * period * SECOND;
        assert!(activity.period_ends(now));
        // The next part is passed on before the previous one is sent.
        slow.part_begins();
        slow.part_ends();
        assert!(!slow.is_stalled(now));
        assert_eq!(stalled.is_stalled(now), period > 1);
    }
    slow.part_ends();
    stalled.part_ends();
    assert!(activity.period_ends(start + 200 * SECOND) && activity.period_ends(start + 300 * SECOND));
    let now = start + 300 * SECOND;
    assert!(!slow.is_stalled(now) && !stalled.is_stalled(now), "there is nothing to send");
    drop((slow, stalled));
    assert!(matches!(activity.verdict(Instant::now()), Verdict::Keep(_)));
}

#[test]
fn a_stream_waits_for_its_reader_but_not_forever_after_its_work_has_ended() {
    let (activity, start) = (activity(), Instant::now());
    let (call, paced) = (begin(&activity), PacedByReader::default());
    call.waits_for_reader(paced.clone());
    call.part_begins();
    let mut now = start;
    for _ in 0..10 {
        now += 3600 * SECOND;
        assert!(activity.period_ends(now) && !call.is_stalled(now));
    }
    paced.end(now);
    assert!(!call.is_stalled(now + LEFT_UNREAD_MAX), "it may yet be read");
    now += LEFT_UNREAD_MAX + SECOND;
    assert!(call.is_stalled(now));
    call.part_ends();
    assert!(!call.is_stalled(now), "it was read to its end");
}
