//! Detection of a wrong clock.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use bank_domain::Timestamp;
use bank_store::clock::{Clock as _, SimulatedClock, SystemClock, Timekeeper};

const OFFSET_MAX: Duration = Duration::from_millis(1_500);
const TEN_YEARS_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1_000;

fn at(unix_ms: i64) -> Timestamp {
    Timestamp::try_from_unix_ms(unix_ms).unwrap()
}

fn start() -> Timestamp {
    at(1_767_225_600_000)
}

fn keeper() -> (Arc<SimulatedClock>, Timekeeper) {
    let clock = Arc::new(SimulatedClock::new(start()));
    (Arc::clone(&clock), Timekeeper::new(clock, OFFSET_MAX))
}

#[test]
fn a_clock_that_jumps_stops_the_time_until_it_is_back() {
    for step_ms in [TEN_YEARS_MS, -TEN_YEARS_MS, 1_501, -1_501, i64::MAX, i64::MIN] {
        let (clock, keeper) = keeper();
        clock.advance(Duration::from_secs(5));
        assert_eq!(keeper.now(), Ok(at(start().unix_ms() + 5_000)));

        clock.step(step_ms);
        let off = keeper.now().unwrap_err();
        assert_eq!(off.offset_ms.signum(), step_ms.signum(), "{off}");
        assert!(keeper.require_accurate().is_err());
        // The estimate is the expected time.
        clock.advance(Duration::from_secs(1));
        assert_eq!(keeper.estimate(), at(start().unix_ms() + 6_000), "{step_ms}");
        // It does not become right as time passes.
        clock.advance(Duration::from_hours(24));
        assert!(keeper.now().is_err());

        let error_ms = clock.wall().unix_ms() - keeper.estimate().unix_ms();
        clock.step(-error_ms);
        assert_eq!(keeper.now(), Ok(keeper.estimate()));
        assert_eq!(keeper.require_accurate(), Ok(()));
    }
}

#[test]
fn small_corrections_are_followed_slowly_and_do_not_add_up() {
    let (clock, keeper) = keeper();
    // Each is allowed, and with enough time between them any number of them.
    for _ in 0..20 {
        clock.step(1_500);
        assert!(keeper.now().is_ok());
        clock.advance(Duration::from_secs(2_000));
        assert!(keeper.now().is_ok());
    }
    // Without time between them they add up.
    clock.step(1_000);
    assert!(keeper.now().is_ok());
    clock.advance(Duration::from_secs(10));
    assert!(keeper.now().is_ok());
    clock.step(1_000);
    assert!(keeper.now().is_err());
}

#[test]
fn a_clock_at_the_limit_does_not_go_back_and_forth() {
    let (clock, keeper) = keeper();
    clock.step(1_501);
    assert!(keeper.now().is_err());
    clock.step(-700);
    assert!(keeper.now().is_err(), "801 ms are more than half of the limit");
    clock.step(-51);
    assert!(keeper.now().is_ok());
}

#[test]
fn a_store_with_another_time_is_believed() {
    let (clock, keeper) = keeper();
    // 45 s behind the store.
    let theirs = |ms: i64| at(clock.wall().unix_ms() + ms);
    keeper.compare(keeper.steady(), theirs(45_000));
    assert_eq!(keeper.now().unwrap_err().offset_ms, -45_000);
    assert_eq!(keeper.estimate(), at(start().unix_ms() + 45_000));

    // A step corrects it; without the store, that would be a jump.
    clock.step(45_000);
    keeper.compare(keeper.steady(), theirs(0));
    assert_eq!(keeper.now(), Ok(at(start().unix_ms() + 45_000)));

    // The clock jumps and is confirmed by the store.
    clock.step(60_000);
    assert!(keeper.now().is_err());
    keeper.compare(keeper.steady(), theirs(0));
    assert!(keeper.now().is_ok());
}

#[test]
fn a_slow_answer_of_the_store_changes_nothing() {
    let (clock, keeper) = keeper();
    let (asked_at, asked) = (keeper.steady(), clock.wall().unix_ms());
    clock.advance(Duration::from_secs(2));
    // The store read its clock at any instant of the last two seconds, so nothing follows.
    for said in [asked - 1_500, asked, asked + 2_000, asked + 3_500] {
        keeper.compare(asked_at, at(said));
        assert!(keeper.now().is_ok(), "{said}");
    }
    for said in [asked - 1_501, asked + 3_501] {
        let (clock, keeper) = self::keeper();
        clock.advance(Duration::from_secs(2));
        keeper.compare(Duration::ZERO, at(said));
        assert!(keeper.now().is_err(), "{said}");
        keeper.compare(Duration::ZERO, at(asked + 1_000));
        assert!(keeper.now().is_err(), "{said}: an answer that took two seconds proves nothing");
        keeper.compare(keeper.steady(), clock.wall());
        assert!(keeper.now().is_ok());
    }
}

#[test]
fn the_clocks_of_the_machine_go_together() {
    let keeper = Timekeeper::new(Arc::new(SystemClock), OFFSET_MAX);
    let (before, now) = (keeper.steady(), keeper.now().unwrap());
    assert!(now > start() && keeper.steady() >= before);
    assert!(keeper.read().offset_ms.abs() <= 1_500);
}
