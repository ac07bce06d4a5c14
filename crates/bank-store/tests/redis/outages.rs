//! Outages of Redis and of the network, and how the store recovers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bank_store::{
    EntriesQuery, Outcome, Proposal, StoreError,
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::server::{self, Server, connect, options};
use crate::proxy::{Proxy, Towards};

/// The maximum time to recover once Redis is back. It takes moments; only a store that does not recover takes longer.
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A bank on a Redis, with the account `1` of 100.
pub(crate) async fn bank_with(options: &RedisOptions) -> Bank {
    let bank = Bank::new(Arc::new(connect(options).await));
    bank.open_with("1", 100).await;
    bank
}

pub(crate) async fn commit_error(bank: &Bank, proposal: &Proposal) -> StoreError {
    bank.store().commit(std::slice::from_ref(proposal)).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_script_is_loaded_again() {
    let server = server::shared().await;
    let bank = bank_with(&server.options()).await;
    for _ in 0..3 {
        server.run(&["SCRIPT", "FLUSH"]);
        let proposal = bank.propose(deposit("1", 1)).await;
        let committed = bank.store().commit(&[proposal]).await.unwrap();
        assert_eq!(committed.outcomes, [Outcome::Applied]);
    }
    assert_eq!(bank.balance("1").await, 103);
}

/// Before its effect or after it, at the first byte or in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_connection_breaks_is_unknown_and_is_resolved_by_a_retry() {
    let server = server::shared().await;
    let proxy = Proxy::start(server.address()).await;
    // Otherwise the replies to the watchdog would be cut instead.
    let watchdog_interval = Duration::from_mins(1);
    let bank = bank_with(&RedisOptions { watchdog_interval, ..options(proxy.url()) }).await;
    let cuts = [(Towards::Redis, 0), (Towards::Redis, 100), (Towards::Store, 0), (Towards::Store, 5)];
    for (balance, (towards, bytes)) in (101..).zip(cuts) {
        let proposal = bank.propose(deposit("1", 1)).await;
        proxy.cut_after(towards, bytes);
        let error = commit_error(&bank, &proposal).await;
        assert!(error.is_outcome_unknown() && error.is_retryable(), "{error:?}");
        assert!(proxy.has_cut());
        let started = Instant::now();
        assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
        assert!(started.elapsed() < BACK_WITHIN);
        assert_eq!(bank.balance("1").await, balance);
    }
    bank.assert_sound().await;
}

/// A network that recovers delivers what was sent before, on a connection that has been closed since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_arrives_late_is_applied_once() {
    let server = server::shared().await;
    let proxy = Proxy::start(server.address()).await;
    let command_timeout = Duration::from_millis(200);
    let bank = bank_with(&RedisOptions { command_timeout, ..options(proxy.url()) }).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    proxy.hold();
    let error = commit_error(&bank, &proposal).await;
    assert!(error.is_outcome_unknown(), "{error:?}");
    proxy.release();
    let started = Instant::now();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    proxy.reset();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
    assert_eq!(bank.balance("1").await, 101);
    bank.assert_sound().await;
}

/// A dead machine closes no connection. Steady commands keep the client from noticing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_connection_is_replaced() {
    let server = server::shared().await;
    let proxy = Proxy::start(server.address()).await;
    let command_timeout = Duration::from_millis(400);
    let bank = bank_with(&RedisOptions { command_timeout, ..options(proxy.url()) }).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    proxy.stall();
    let started = Instant::now();
    let one = [id("1")];
    let steady = async {
        loop {
            let moment = Duration::from_millis(30);
            let _ = timeout(moment, bank.store().load(&one)).await;
            let _ = timeout(moment, bank.store().commit(std::slice::from_ref(&proposal))).await;
        }
    };
    tokio::select! {
        () = steady => {}
        outcome = bank.commit_one(&proposal) => assert_eq!(outcome, Outcome::Applied),
    }
    assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
    assert_eq!(bank.balance("1").await, 101);
}

/// The Redis client had two faults once its buffer had been full: it never came back from a broken
/// connection, or it left each command unsent until the watchdog's next `PING`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_recover_under_overload() {
    let server = Server::start(&[]);
    let bank = bank_with(&RedisOptions {
        command_buffer_max: 16,
        watchdog_interval: Duration::from_mins(10),
        ..server.options()
    })
    .await;
    let is_done = Arc::new(AtomicBool::new(false));
    let turned_away = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..64 {
        let (bank, is_done, turned_away) = (bank.clone(), Arc::clone(&is_done), Arc::clone(&turned_away));
        readers.spawn(async move {
            while !is_done.load(Ordering::Relaxed) {
                match bank.store().load(&[id("1")]).await {
                    Err(StoreError::Unavailable(message)) if message.contains("commands wait") => {
                        turned_away.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let deposits = async |count| {
        for _ in 0..count {
            while bank.submit(deposit("1", 1)).await == Outcome::Conflict {}
        }
    };
    let kill = async {
        for _ in 0..10 {
            sleep(Duration::from_millis(100)).await;
            server.run(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
    };
    tokio::join!(deposits(200), kill);
    is_done.store(true, Ordering::Relaxed);
    readers.join_all().await;
    assert!(turned_away.load(Ordering::Relaxed) > 0);

    let started = Instant::now();
    deposits(100).await;
    assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
    assert_eq!(bank.balance("1").await, 400);
    bank.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_crashes_and_restarts_is_used_again() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let bank = bank_with(&server.options()).await;
    let before = bank.propose(named("r", deposit("1", 1))).await;
    let entry = before.decision.clone().unwrap().primary.entry;
    bank.commit_one(&before).await;
    let proposal = bank.propose(deposit("1", 1)).await;

    server.kill();
    let mut is_reported = false;
    for _ in 0..20 {
        let started = Instant::now();
        let error = commit_error(&bank, &proposal).await;
        assert!(error.is_retryable(), "{error:?}");
        // Once the loss of the connection is known, errors come at once and are certain.
        is_reported |=
            matches!(error, StoreError::Unavailable(_)) && started.elapsed() < Duration::from_secs(1);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(is_reported);
    assert!(bank.store().health().await.is_err());
    assert!(bank.store().entries(&EntriesQuery::all(id("1"))).await.is_err());

    server.start_again();
    let started = Instant::now();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
    assert_eq!(bank.balance("1").await, 102);
    assert_eq!(bank.history("1").await[2], *entry);
    assert_eq!(bank.commit_one(&before).await, Outcome::Applied);
    bank.store().health().await.unwrap();
    bank.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_freezes_is_disconnected_and_used_again() {
    let server = Server::start(&[]);
    let command_timeout = Duration::from_millis(400);
    let bank = bank_with(&RedisOptions { command_timeout, ..server.options() }).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    server.freeze();
    let frozen_at = Instant::now();
    let error = commit_error(&bank, &proposal).await;
    assert!(error.is_outcome_unknown(), "{error:?}");
    // Soon nothing is sent to it any more, so no outcome is unknown.
    while commit_error(&bank, &proposal).await.is_outcome_unknown() {
        assert!(frozen_at.elapsed() < BACK_WITHIN, "{:?}", frozen_at.elapsed());
    }
    assert!(bank.store().health().await.is_err());

    server.thaw();
    let thawed_at = Instant::now();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert!(thawed_at.elapsed() < BACK_WITHIN, "{:?}", thawed_at.elapsed());
    assert_eq!(bank.balance("1").await, 101);
    bank.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_share_a_bank() {
    const EACH: i64 = 60;
    let server = server::shared().await;
    let options = server.options();
    let one = bank_with(&options).await;
    let other = Bank::new(Arc::new(connect(&options).await));

    // Each sees at once what the other has acknowledged.
    one.apply(deposit("1", 1)).await;
    assert_eq!(other.balance("1").await, 101);
    // Of two decisions on one head, one is applied.
    let [first, second] = [one.propose(withdraw("1", 101)).await, other.propose(withdraw("1", 101)).await];
    let (first, second) = tokio::join!(one.commit_one(&first), other.commit_one(&second));
    let mut outcomes = [first, second];
    outcomes.sort_by_key(|outcome| *outcome == Outcome::Conflict);
    assert_eq!(outcomes, [Outcome::Applied, Outcome::Conflict]);

    let mut tellers = JoinSet::new();
    for bank in [one.clone(), other] {
        tellers.spawn(async move {
            let mut conflicts = 0;
            for number in 0..EACH {
                // Both servers get the same requests, as from a caller who retries on another server.
                let request = || named(&format!("r{number}"), deposit("1", 1));
                loop {
                    match bank.submit(request()).await {
                        Outcome::Applied | Outcome::Replayed(_) => break,
                        Outcome::Conflict => conflicts += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
            conflicts
        });
    }
    tellers.join_all().await;
    assert_eq!(one.balance("1").await, EACH);
    one.assert_sound().await;
}
