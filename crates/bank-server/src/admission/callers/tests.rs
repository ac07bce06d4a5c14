use std::num::NonZeroUsize;

use super::*;
use crate::{admission::limits::Limit, auth::Scopes};

/// Each caller may make so many calls at once and have so many in flight; all else there is one of.
pub(in crate::admission) fn callers(calls_burst_max: u32, calls_max: usize) -> Callers {
    let one = Limit { total: 1, per_caller: 1 };
    Callers::new(CallerLimits {
        calls_per_second_max: NonZeroU32::MIN,
        calls_burst_max: NonZeroU32::new(calls_burst_max).unwrap(),
        callers_remembered_max: NonZeroUsize::new(2).unwrap(),
        calls: Limit { total: 10, per_caller: calls_max },
        batches: one,
        streams: one,
        buffered_bytes: Limit { total: 30 * 1024, per_caller: 20 * 1024 },
        scans: one,
        watches: Limit { total: 3, per_caller: 2 },
        dry_run_bytes: one,
    })
}

pub(in crate::admission) fn peer(address: &str) -> Peer {
    Peer((address.parse::<IpAddr>().unwrap(), 1).into())
}

/// Checks that a caller may make no further call now, and may within a second.
fn assert_limited(allowance: &Allowance) {
    let RateLimited { retry_after, .. } = allowance.count(1).unwrap_err();
    assert!(!retry_after.is_zero() && retry_after <= Duration::from_secs(1), "{retry_after:?}");
}

#[test]
fn a_caller_who_calls_too_often_learns_when_to_retry_and_others_are_served() {
    let callers = callers(2, 10);
    let one = callers.allowance(None, peer("10.0.0.1"));
    one.count(1).unwrap();
    one.count(1).unwrap();
    assert_limited(&one);
    callers.allowance(None, peer("10.0.0.2")).count(1).unwrap();
}

#[test]
fn operations_count_all_at_once_or_not_at_all() {
    let allowance = callers(10, 10).allowance(None, peer("10.0.0.1"));
    allowance.count(9).unwrap();
    assert!(allowance.count(2).unwrap_err().retry_after <= Duration::from_secs(1));
    allowance.count(1).unwrap();
    assert_limited(&allowance);
    allowance.count(0).unwrap();
}

#[test]
fn a_permit_counts_for_its_caller_and_for_all_until_it_is_dropped() {
    let callers = callers(10, 10);
    let [one, other, third] =
        ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|it| callers.allowance(None, peer(it)));
    let reached = |scope, max| LimitReached { resource: Resource::Watches, scope, max };
    let first = one.try_take(Resource::Watches, 1).unwrap();
    let second = one.try_take(Resource::Watches, 1).unwrap();
    let own = reached(LimitScope::PerCaller, 2);
    assert_eq!(one.try_take(Resource::Watches, 1).unwrap_err(), own);
    let total = reached(LimitScope::Total, 3);
    assert_eq!(other.try_take(Resource::Watches, 2).unwrap_err(), total);
    let last = other.try_take(Resource::Watches, 1).unwrap();
    assert_eq!(third.try_take(Resource::Watches, 1).unwrap_err(), total);
    drop((first, second, last));
    drop(third.try_take(Resource::Watches, 2).unwrap());
}

#[test]
fn a_subject_is_one_caller_wherever_it_calls_from_and_an_operator_counts_by_address() {
    let named = |name: &str| Identity::try_new(name, Scopes::ALL).unwrap();
    let (alice, bob) = (named("alice"), named("bob"));
    let callers = callers(1, 10);
    callers.allowance(Some(&alice), peer("10.0.0.1")).count(1).unwrap();
    assert_limited(&callers.allowance(Some(&alice), peer("10.0.0.2")));
    callers.allowance(Some(&bob), peer("10.0.0.1")).count(1).unwrap();
    callers.allowance(Some(&Identity::operator()), peer("10.0.0.1")).count(1).unwrap();
    assert_limited(&callers.allowance(None, peer("10.0.0.1")));
}

#[test]
fn only_callers_without_a_call_in_flight_are_forgotten() {
    let callers = callers(1, 1);
    let busy = callers.allowance(None, peer("10.0.0.1"));
    let permit = busy.try_take(Resource::Calls, 1).unwrap();
    for address in ["10.0.0.2", "10.0.0.3", "10.0.0.4"] {
        drop(callers.allowance(None, peer(address)));
        assert!(callers.known.lock().unwrap().len() <= 2);
    }
    let again = callers.allowance(None, peer("10.0.0.1"));
    let reached = LimitReached { resource: Resource::Calls, scope: LimitScope::PerCaller, max: 1 };
    assert_eq!(again.try_take(Resource::Calls, 1).unwrap_err(), reached);
    drop(permit);
}
