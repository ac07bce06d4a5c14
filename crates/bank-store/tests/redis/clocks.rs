//! The clock of a server compared with that of Redis.

use std::{sync::Arc, time::Duration};

use bank_domain::Timestamp;
use bank_store::{
    Outcome, StoreError,
    clock::{Clock as _, SimulatedClock, SystemClock, Timekeeper},
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};

use super::server::{self, Server, connect, connect_error};

/// Longer than a test takes on a slow machine, and much less than the steps of the clocks.
const OFFSET_MAX: Duration = Duration::from_mins(2);
const AN_HOUR_MS: i64 = 60 * 60 * 1_000;

/// Only commits contact Redis: the watchdog is slow.
fn by(clock: &Arc<SimulatedClock>, server: &Server) -> RedisOptions {
    let clock = Timekeeper::new(Arc::clone(clock) as Arc<_>, OFFSET_MAX);
    RedisOptions { clock, watchdog_interval: Duration::from_hours(1), ..server.options() }
}

fn meta(options: &RedisOptions) -> String {
    format!("{}:{{0}}:meta", options.key_prefix)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_is_wrong_does_not_start() {
    let server = server::shared().await;
    for (offset_ms, direction) in
        [(-AN_HOUR_MS, "behind that of Redis"), (AN_HOUR_MS, "ahead of that of Redis")]
    {
        let clock = Arc::new(SimulatedClock::new(SystemClock.wall()));
        clock.step(offset_ms);
        let options = by(&clock, &server);
        let error = connect_error(&options).await;
        assert!(matches!(&error, StoreError::Misconfigured(text) if text.contains(direction)), "{error}");
        assert_eq!(server.run(&["EXISTS", &meta(&options)]), "0", "none is initialized");
    }
}

/// The script notices it: the server was suspended, or a clock has jumped, since the last check.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_does_nothing_when_the_clocks_are_too_far_apart() {
    let server = server::shared().await;
    let clock = Arc::new(SimulatedClock::new(SystemClock.wall()));
    let options = by(&clock, &server);
    let bank = Bank::new(Arc::new(connect(&options).await));
    bank.open_with("1", 0).await;
    bank.apply(named("r", deposit("1", 5))).await;
    for offset in [AN_HOUR_MS, -AN_HOUR_MS] {
        let proposal = bank.propose(deposit("1", 7)).await;
        // As if Redis had jumped: the clocks of this machine agree.
        let now = bank.store().clock().steady();
        clock.step(offset);
        bank.store().clock().compare(now, clock.wall());
        assert!(bank.store().clock().now().is_ok());

        let error = bank.store().commit(std::slice::from_ref(&proposal)).await.unwrap_err();
        assert!(matches!(&error, StoreError::Unfit(text) if text.contains("too far apart")), "{error}");
        assert!(bank.store().clock().now().is_err(), "the answer has the time of Redis");
        let error = bank.store().commit(std::slice::from_ref(&proposal)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unfit(_)));
        assert_eq!(bank.balance("1").await, 5);

        clock.step(-offset);
        assert!(bank.store().clock().now().is_ok());
        // Records survive a wrong clock.
        assert!(matches!(bank.submit(named("r", deposit("1", 5))).await, Outcome::Replayed(_)));
    }
    bank.apply(deposit("1", 7)).await;
    assert_eq!(bank.balance("1").await, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_decided_long_ago_conflicts() {
    let server = server::shared().await;
    let bank = Bank::new(Arc::new(connect(&server.options()).await));
    bank.open_with("1", 0).await;
    let mut proposal = bank.propose(deposit("1", 5)).await;
    let decided_at = proposal.decided_at;
    proposal.decided_at = Timestamp::try_from_unix_ms(decided_at.unix_ms() - AN_HOUR_MS).unwrap();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Conflict);
    assert_eq!(bank.balance("1").await, 0);
    // The record of an applied proposal is still found.
    proposal.decided_at = decided_at;
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    proposal.decided_at = Timestamp::try_from_unix_ms(decided_at.unix_ms() - AN_HOUR_MS).unwrap();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert_eq!(bank.balance("1").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_when_the_clock_of_redis_goes_back() {
    let server = server::shared().await;
    let options = server.options();
    let bank = Bank::new(Arc::new(connect(&options).await));
    bank.open_with("1", 5).await;
    let committed_at = server.run(&["HGET", &meta(&options), "committed_at"]);
    let later = committed_at.parse::<i64>().unwrap() + AN_HOUR_MS;
    server.run(&["HSET", &meta(&options), "committed_at", &later.to_string()]);

    let proposal = bank.propose(deposit("1", 7)).await;
    let error = bank.store().commit(std::slice::from_ref(&proposal)).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unfit(text) if text.contains("the clock of Redis is behind 20")),
        "{error}"
    );
    assert!(matches!(bank.store().health().await, Err(StoreError::Unfit(_))));
    assert_eq!(bank.balance("1").await, 5);

    // Nor does a server start, unless its operator says that the clock is right now.
    let error = connect_error(&options).await;
    let text = error.to_string();
    assert!(text.contains("clock.entries_ahead_allowed = true") && text.contains("docs/clocks.md"), "{text}");
    let allowed = RedisOptions { entries_ahead_allowed: true, ..options.clone() };
    let again = Bank::new(Arc::new(connect(&allowed).await));
    again.apply(deposit("1", 7)).await;
    assert_eq!(again.balance("1").await, 12);
    drop(connect(&options).await);
}
