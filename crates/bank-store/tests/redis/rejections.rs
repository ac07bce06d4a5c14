//! Commits that Redis refuses: nothing is done, and once the cause is over, the store recovers by itself.

use std::{
    fs,
    time::{Duration, Instant},
};

use bank_store::{Outcome, StoreError, conformance::commands::*};
use tokio::time::sleep;

use super::{
    outages::{BACK_WITHIN, bank_with, commit_error},
    server::{Server, free_port, options},
};

/// Redis refuses a commit for a while: nothing is done, and once the cause is over, the store recovers.
async fn assert_commits_refused(server: &Server, reason: &str, from: &[&str], back: &[&str]) {
    let bank = bank_with(&server.options()).await;
    let replayed = bank.propose(named("r", deposit("1", 1))).await;
    bank.commit_one(&replayed).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    server.run(from);
    let error = commit_error(&bank, &proposal).await;
    assert!(matches!(&error, StoreError::Unavailable(message) if message.contains(reason)), "{error:?}");
    // So is a commit that would write nothing.
    let error = commit_error(&bank, &replayed).await;
    assert!(error.is_retryable(), "{error:?}");
    let error = bank.store().health().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");

    server.run(back);
    let started = Instant::now();
    // It recovers although nothing has been committed.
    while bank.store().health().await.is_err() {
        assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
    assert_eq!(bank.balance("1").await, 102);
    bank.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_when_redis_is_out_of_memory() {
    let server = Server::start(&[]);
    let full = ["CONFIG", "SET", "maxmemory", "1"];
    assert_commits_refused(&server, "OOM", &full, &["CONFIG", "SET", "maxmemory", "0"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_when_redis_misses_replicas() {
    let server = Server::start(&[]);
    let lonely = ["CONFIG", "SET", "min-replicas-to-write", "1"];
    let content = ["CONFIG", "SET", "min-replicas-to-write", "0"];
    assert_commits_refused(&server, "NOREPLICAS", &lonely, &content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_when_redis_becomes_a_replica() {
    let server = Server::start(&["--replica-serve-stale-data", "yes"]);
    let port = free_port().to_string();
    let demoted = ["REPLICAOF", "127.0.0.1", &port];
    assert_commits_refused(&server, "replica", &demoted, &["REPLICAOF", "NO", "ONE"]).await;
}

/// Reads continued on the former primary, and missed what was acknowledged elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_refused_when_redis_becomes_a_replica() {
    let server = Server::start(&["--replica-serve-stale-data", "yes"]);
    let bank = bank_with(&server.options()).await;
    bank.account("1").await;
    server.run(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    let ids = ["1".parse().unwrap()];
    for _ in 0..3 {
        let error = bank.store().load(&ids).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        sleep(Duration::from_millis(50)).await;
    }
    server.run(&["REPLICAOF", "NO", "ONE"]);
    while bank.store().load(&ids).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_when_redis_cannot_save() {
    let server = Server::start(&["--save", "3600 1000000"]);
    let bank = bank_with(&server.options()).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    fs::remove_dir_all(server.directory()).unwrap();
    server.run(&["BGSAVE"]);
    while !server.run(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err") {
        sleep(Duration::from_millis(10)).await;
    }
    let error = commit_error(&bank, &proposal).await;
    assert!(matches!(&error, StoreError::Unavailable(message) if message.contains("MISCONF")), "{error:?}");
    server.run(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
}

/// A script of another client that does not end blocks everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_while_a_script_blocks_redis() {
    let server = Server::start(&["--busy-reply-threshold", "50"]);
    let bank = bank_with(&server.options()).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    let endless = server.spawn(&["EVAL", "while true do end", "0"]);
    while !server.run(&["PING"]).starts_with("BUSY") {
        sleep(Duration::from_millis(10)).await;
    }
    let error = commit_error(&bank, &proposal).await;
    assert!(matches!(&error, StoreError::Unavailable(message) if message.contains("BUSY")), "{error:?}");
    let error = bank.store().health().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    server.run(&["SCRIPT", "KILL"]);
    endless.wait_with_output().unwrap();
    let started = Instant::now();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
    bank.assert_sound().await;
}

/// The Redis client gave up for good when its password was refused: the bank was unavailable until it was restarted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_disconnects_the_bank_until_it_is_corrected() {
    let server = Server::start(&[]);
    let bank = bank_with(&server.options()).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    server.run(&["CONFIG", "SET", "requirepass", "other"]);
    // Open connections are not affected.
    bank.apply(deposit("1", 1)).await;
    server.run(&["-a", "other", "CLIENT", "KILL", "TYPE", "normal"]);
    let started = Instant::now();
    loop {
        match bank.store().health().await.unwrap_err() {
            StoreError::Unavailable(reason) if reason.contains("NOAUTH") => break,
            error => assert!(started.elapsed() < BACK_WITHIN, "{error:?}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
    let error = commit_error(&bank, &proposal).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");

    server.run(&["-a", "other", "CONFIG", "SET", "requirepass", ""]);
    let started = Instant::now();
    // Decided before the deposit in between.
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Conflict);
    assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
    bank.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_loading_is_waited_for() {
    // Each key takes 10 ms, and Redis serves clients after each KiB.
    let slow = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"];
    // Without a password the client notices; with one, it connects, and the store notices.
    for (password, reason) in [("", "LOADING"), ("right", "still reading its files")] {
        let settings = [&["--rdbcompression", "no", "--requirepass", password], &slow[..]].concat();
        let mut server = Server::start(&settings);
        let credentials = if password.is_empty() { String::new() } else { format!(":{password}@") };
        let bank = bank_with(&options(format!("redis://{credentials}{}", server.address()))).await;
        server.run(&["-a", password, "DEBUG", "POPULATE", "60", "filler", "2048"]);
        server.run(&["-a", password, "SAVE"]);
        let proposal = bank.propose(deposit("1", 1)).await;
        server.kill();
        server.start_again_loading();
        let mut is_reported = false;
        let started = Instant::now();
        while let Err(error) = bank.store().commit(std::slice::from_ref(&proposal)).await {
            assert!(error.is_retryable(), "{error:?}");
            is_reported |= error.to_string().contains(reason);
            assert!(started.elapsed() < 2 * BACK_WITHIN, "{error}");
            sleep(Duration::from_millis(5)).await;
        }
        assert!(is_reported);
        assert_eq!(bank.balance("1").await, 101);
        bank.assert_sound().await;
    }
}
