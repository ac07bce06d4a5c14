//! Durability of acknowledged writes, and what happens when it is less than required.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bank_store::{
    DurabilityLevel::{self, Always, EverySecond, None as Nothing},
    HistoryPart, ImportBatch, ImportId, ImportStart, MemoryStore, Outcome, Proposal, Store as _, StoreError,
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};
use tokio::time::sleep;

use super::server::{Server, connect, connect_error, final_connect_error};

/// The maximum time to wait. Only a store with a bug needs it.
const WAIT_MAX: Duration = Duration::from_mins(1);
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
/// Replicas synchronize without delay.
const PROMPT: [&str; 4] = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

fn at(level: DurabilityLevel, options: RedisOptions) -> RedisOptions {
    RedisOptions { durability: level, ..options }
}

async fn bank_with(options: &RedisOptions) -> Bank {
    let bank = Bank::new(Arc::new(connect(options).await));
    bank.open_with("1", 100).await;
    bank
}

/// The result of a commit that is sent only once.
async fn commit(bank: &Bank, proposal: &Proposal) -> Result<Outcome, StoreError> {
    let committed = bank.store().commit(std::slice::from_ref(proposal)).await;
    committed.map(|mut committed| committed.outcomes.pop().unwrap())
}

/// Waits until commits are refused for a reason, and checks that reads go on and nothing is written.
async fn assert_becomes_unfit(bank: &Bank, reason: &str) {
    let proposal = bank.propose(deposit("1", 1)).await;
    let version = bank.account("1").await.version;
    let deadline = Instant::now() + WAIT_MAX;
    let health = loop {
        match bank.store().health().await {
            Err(StoreError::Unfit(health)) if health.contains(reason) => break health,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        sleep(Duration::from_millis(5)).await;
    };
    let error = commit(bank, &proposal).await.unwrap_err();
    let StoreError::Unfit(found) = &error else { panic!("{error:?}") };
    assert_eq!(*found, health);
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    assert_eq!(bank.account("1").await.version, version);
}

async fn assert_becomes_fit(bank: &Bank) {
    let deadline = Instant::now() + WAIT_MAX;
    while let Err(error) = bank.store().health().await {
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(5)).await;
    }
    bank.apply(deposit("1", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_less_durable_than_required_are_refused_at_start() {
    let server = Server::start(&DURABLE);
    let options = server.options();
    for (settings, level, hints) in [
        (&[][..], Always, &[][..]),
        (&[], EverySecond, &[]),
        (&[], Nothing, &[]),
        (&["appendfsync", "everysec"], EverySecond, &[]),
        (
            &["appendfsync", "everysec"],
            Always,
            &["appendfsync everysec", "CONFIG SET appendfsync always", "durability = \"everysec\""],
        ),
        (&["appendfsync", "no"], EverySecond, &["appendfsync no", "durability = \"none\""]),
        (&["no-appendfsync-on-rewrite", "yes"], Always, &["no-appendfsync-on-rewrite no"]),
        (&["no-appendfsync-on-rewrite", "yes"], EverySecond, &["no-appendfsync-on-rewrite no"]),
        (&["appendonly", "no"], Nothing, &[]),
        (&["appendonly", "no"], EverySecond, &["appendonly no", "CONFIG SET appendonly yes"]),
    ] {
        server.run(&["CONFIG", "SET", "appendfsync", "always", "no-appendfsync-on-rewrite", "no"]);
        server.run(&[&["CONFIG", "SET"], settings].concat());
        let options = at(level, options.clone());
        if hints.is_empty() {
            let store = connect(&options).await;
            assert_eq!((store.durability().level, store.durability().replicas), (level, 0));
            continue;
        }
        let error = final_connect_error(&options).await;
        let StoreError::Misconfigured(message) = &error else { panic!("{error:?}") };
        for hint in [server.address().as_str(), "store.redis.durability"].iter().chain(hints) {
            assert!(message.contains(hint), "{message:?} does not say {hint:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_while_settings_are_less_durable_than_required() {
    let server = Server::start(&DURABLE);
    let bank = bank_with(&at(Always, server.options())).await;
    for (name, wrong, right) in [
        ("appendfsync", "everysec", "always"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "yes"),
    ] {
        server.run(&["CONFIG", "SET", name, wrong]);
        assert_becomes_unfit(&bank, name).await;
        server.run(&["CONFIG", "SET", name, right]);
        assert_becomes_fit(&bank).await;
    }
    bank.assert_sound().await;
}

/// After `CONFIG SET appendonly yes` nothing is durable until the file is written for the first time: a crash lost
/// what was acknowledged meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_until_the_first_append_only_file_is_written() {
    let server = Server::start(&DURABLE);
    let options = at(Always, server.options());
    let bank = bank_with(&options).await;
    server.run(&["CONFIG", "SET", "appendonly", "no"]);
    assert_becomes_unfit(&bank, "appendonly").await;
    // Ten seconds for each key.
    server.run(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]);
    server.run(&["CONFIG", "SET", "appendonly", "yes"]);
    assert!(server.run(&["INFO", "persistence"]).contains("aof_rewrite_in_progress:1"));
    assert_becomes_unfit(&bank, "rewriting").await;
    // Nor does a server start on it.
    let connect_timeout = Duration::from_secs(5);
    let error = connect_error(&RedisOptions { connect_timeout, ..options }).await;
    assert!(
        matches!(&error, StoreError::Misconfigured(message) if message.contains("rewriting")),
        "{error:?}"
    );

    server.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    server.run(&["CONFIG", "SET", "appendonly", "no"]);
    server.run(&["CONFIG", "SET", "appendonly", "yes"]);
    assert_becomes_fit(&bank).await;
    // Once it exists, Redis may rewrite it at any time.
    server.run(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]);
    server.run(&["BGREWRITEAOF"]);
    sleep(Duration::from_millis(300)).await;
    bank.store().health().await.unwrap();
    bank.apply(deposit("1", 1)).await;
}

/// A connection is inspected before the first commit is sent on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_is_sent_on_a_new_connection_before_it_is_inspected() {
    let server = Server::start(&DURABLE);
    let watchdog_interval = Duration::from_mins(1);
    let options = RedisOptions { watchdog_interval, ..at(Always, server.options()) };
    let bank = bank_with(&options).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    server.run(&["CONFIG", "SET", "appendfsync", "everysec"]);
    server.run(&["CLIENT", "KILL", "TYPE", "normal"]);
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        match commit(&bank, &proposal).await {
            Err(StoreError::Unfit(reason)) => {
                assert!(reason.contains("appendfsync"), "{reason}");
                break;
            }
            Err(error) if error.is_retryable() => assert!(Instant::now() < deadline, "{error}"),
            other => panic!("{other:?}"),
        }
    }
    server.run(&["CONFIG", "SET", "appendfsync", "always"]);
    server.run(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_becomes_fit(&bank).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_replicas_have_each_commit_before_it_is_acknowledged() {
    let primary = Server::start(&PROMPT);
    let options = RedisOptions { replicas: 1, ..primary.options() };
    let too_few = RedisOptions { connect_timeout: Duration::from_secs(2), ..options.clone() };
    let error = connect_error(&too_few).await;
    let StoreError::Misconfigured(message) = &error else { panic!("{error:?}") };
    for hint in ["0 replicas", "store.redis.replicas = 1", "REPLICAOF"] {
        assert!(message.contains(hint), "{message:?} does not say {hint:?}");
    }

    let replica = Server::start_replica(&primary, &PROMPT);
    let bank = bank_with(&options).await;
    assert_eq!(bank.store().durability().replicas, 1);
    let account = primary.key(&options, ":account:1");
    for balance in 101..150 {
        bank.apply(deposit("1", 1)).await;
        assert_eq!(replica.run(&["HGET", &account, "balance"]), balance.to_string());
    }
    bank.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_and_its_replay_are_unknown_while_a_replica_lags() {
    let primary = Server::start(&PROMPT);
    let replica = Server::start_replica(&primary, &PROMPT);
    let replicas_timeout = Duration::from_millis(300);
    let command_timeout = Duration::from_secs(10);
    let options = RedisOptions { replicas: 1, replicas_timeout, command_timeout, ..primary.options() };
    let bank = bank_with(&options).await;
    let connections = || {
        let stats = primary.run(&["INFO", "stats"]);
        let line = stats.lines().find(|line| line.starts_with("total_connections_received:")).unwrap();
        line.trim().rsplit(':').next().unwrap().parse::<i32>().unwrap()
    };

    replica.freeze();
    let before = connections();
    let proposal = bank.propose(named("r", deposit("1", 1))).await;
    let started = Instant::now();
    let error = commit(&bank, &proposal).await.unwrap_err();
    assert!(error.is_outcome_unknown() && error.to_string().contains("0 of 1 replicas"), "{error}");
    assert!(started.elapsed() >= replicas_timeout, "{:?}", started.elapsed());
    // The primary has the entry and the record; but nothing is acknowledged before the replica has them.
    assert_eq!(bank.balance("1").await, 101);
    for _ in 0..4 {
        let error = commit(&bank, &proposal).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
    }
    let again = bank.propose(named("r", deposit("1", 1))).await;
    assert!(commit(&bank, &again).await.unwrap_err().is_outcome_unknown());
    // A wait for replicas does not close the connection. The additional connection is that of `connections()`.
    assert_eq!(connections(), before + 1);

    replica.thaw();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert!(matches!(commit(&bank, &again).await, Ok(Outcome::Replayed(_))));
    assert_eq!(bank.balance("1").await, 101);
    bank.assert_sound().await;
}

/// Since Redis 7.2 `WAIT` counts only what its own connection has written: the second answer was OK,
/// as there was nothing left to write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_unknown_while_a_replica_lags_however_often_it_is_sent() {
    let primary = Server::start(&PROMPT);
    let replica = Server::start_replica(&primary, &PROMPT);
    let replicas_timeout = Duration::from_millis(200);
    let store = connect(&RedisOptions { replicas: 1, replicas_timeout, ..primary.options() }).await;
    let backup = store.backup().unwrap();
    let memory = Bank::new(Arc::new(MemoryStore::new(Duration::from_hours(24))));
    memory.open_with("1", 100).await;
    let (account, entries) = (memory.account("1").await, memory.history("1").await);
    let batch = |from: usize| {
        let part = HistoryPart { account: account.clone(), entries: entries[from..].to_vec() };
        ImportBatch { histories: vec![part], requests: Vec::new() }
    };
    let import = ImportId::random();
    // A replica on a busy machine may be slow.
    while backup.begin_import(&import).await != Ok(ImportStart::Started) {}
    while backup.import(&import, &batch(0)).await.is_err() {}

    replica.freeze();
    for _ in 0..3 {
        let error = backup.import(&import, &batch(1)).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
    }
    for _ in 0..3 {
        let error = backup.finish_import(&import).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
    }
    replica.thaw();
    while let Err(error) = backup.finish_import(&import).await {
        assert!(error.is_retryable(), "{error}");
    }
    Bank::new(Arc::new(store)).assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_while_there_are_too_few_replicas() {
    let primary = Server::start(&PROMPT);
    let mut replica = Server::start_replica(&primary, &PROMPT);
    let bank = bank_with(&RedisOptions { replicas: 1, ..primary.options() }).await;
    replica.kill();
    assert_becomes_unfit(&bank, "0 replicas").await;
    replica.start_again();
    assert_becomes_fit(&bank).await;
    bank.assert_sound().await;
}
