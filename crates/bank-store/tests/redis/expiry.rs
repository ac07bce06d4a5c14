//! Expiry of request records.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bank_store::{
    Outcome,
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};
use tokio::time::sleep;

use super::server::{self, Server, connect};

/// Long enough for a slow machine.
const RETENTION: Duration = Duration::from_secs(2);
const RETENTION_MS: u64 = 2_000;

async fn bank_on(server: &Server) -> (RedisOptions, Bank) {
    let options = RedisOptions { request_retention: RETENTION, ..server.options() };
    let bank = Bank::new(Arc::new(connect(&options).await));
    (options, bank)
}

/// By the clock of Redis, whose windows they are.
fn now_ms(server: &Server) -> u64 {
    let time = server.run(&["TIME"]);
    let (seconds, microseconds) = time.split_once('\n').unwrap();
    seconds.parse::<u64>().unwrap() * 1_000 + microseconds.parse::<u64>().unwrap() / 1_000
}

async fn sleep_until(server: &Server, unix_ms: u64) {
    sleep(Duration::from_millis(unix_ms.saturating_sub(now_ms(server)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_record_expires_after_its_retention() {
    for _ in 0..10 {
        if try_expiry().await.is_some() {
            return;
        }
    }
    panic!("the machine is too slow for this test");
}

/// `None` if the machine is too slow for a conclusion.
async fn try_expiry() -> Option<()> {
    let server = server::shared().await;
    let (options, bank) = bank_on(&server).await;
    bank.open_with("1", 0).await;
    // Just before a window ends, so that almost all of the time is in the next.
    let window_end = (now_ms(&server) / RETENTION_MS + 2) * RETENTION_MS;
    sleep_until(&server, window_end - 300).await;
    let request = || named("r", deposit("1", 5));
    let written_at = now_ms(&server);
    bank.apply(request()).await;
    (now_ms(&server) < window_end).then_some(())?;

    for unix_ms in [window_end + 20, written_at + RETENTION_MS / 2, written_at + RETENTION_MS - 300] {
        sleep_until(&server, unix_ms).await;
        let outcome = bank.submit(request()).await;
        let age_ms = now_ms(&server) - written_at;
        (age_ms < RETENTION_MS).then_some(())?;
        assert!(matches!(outcome, Outcome::Replayed(_)), "{outcome:?} after {age_ms} ms");
    }

    // After two windows it has expired, wherever in its window it was written.
    sleep_until(&server, window_end + RETENTION_MS + 20).await;
    assert_eq!(bank.submit(request()).await, Outcome::Applied);
    assert_eq!(bank.balance("1").await, 10);
    // Redis must not expire them by its own clock.
    let windows = || {
        let keys = server.run(&["KEYS", &format!("{}:*:requests:*", options.key_prefix)]);
        // Redis has them in no order.
        keys.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let old = windows();
    assert!(!old.is_empty());
    for key in &old {
        assert_eq!(server.run(&["PTTL", key]), "-1", "{key}");
    }
    // Expired windows are removed when another begins.
    sleep_until(&server, now_ms(&server) + 4 * RETENTION_MS).await;
    assert_eq!(windows(), old);
    bank.apply(deposit("1", 5)).await;
    let new = windows();
    assert!(new.len() == 1 && new.is_disjoint(&old), "{old:?} {new:?}");
    let (index, window) = new.first().unwrap().rsplit_once(':').unwrap();
    assert_eq!(server.run(&["SMEMBERS", index]), window);
    assert_eq!(bank.balance("1").await, 15);
    Some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_sent_again_after_its_record_expired_conflicts() {
    let server = server::shared().await;
    let (_, bank) = bank_on(&server).await;
    bank.open_with("1", 0).await;
    let proposal = bank.propose(deposit("1", 5)).await;
    bank.commit_one(&proposal).await;
    sleep_until(&server, now_ms(&server) + 2 * RETENTION_MS + 20).await;
    // The account has changed since.
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Conflict);
    assert_eq!(bank.balance("1").await, 5);
}
