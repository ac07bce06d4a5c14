//! A Redis that has lost the bank, or holds another, is refused.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use bank_store::{
    AccountsQuery, EntriesQuery, Outcome, Store as _, StoreError,
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};
use tokio::time::sleep;

use super::{
    outages::BACK_WITHIN,
    server::{self, Server, connect, connect_error},
};

async fn bank_with(options: &RedisOptions) -> Bank {
    let bank = Bank::new(Arc::new(connect(options).await));
    bank.open_with("1", 100).await;
    bank
}

/// Every operation is refused, with a reason that contains these hints.
async fn assert_refused(bank: &Bank, hints: &[&str]) {
    let store = bank.store();
    let unnamed = AccountsQuery { limit: 10, ..AccountsQuery::default() };
    let owned = AccountsQuery { owner: Some("alice".parse().unwrap()), ..unnamed.clone() };
    let errors = [
        store.load(&[id("1")]).await.unwrap_err(),
        store.entries(&EntriesQuery::all(id("1"))).await.unwrap_err(),
        store.accounts(&unnamed).await.unwrap_err(),
        store.accounts(&owned).await.unwrap_err(),
        store.health().await.unwrap_err(),
    ];
    for error in errors {
        let StoreError::Unfit(reason) = &error else { panic!("{error:?}") };
        assert!(hints.iter().all(|hint| reason.contains(hint)), "{reason} does not say {hints:?}");
    }
}

/// The watchdog is slow here, so the calls themselves have to notice.
fn unwatched(options: RedisOptions) -> RedisOptions {
    RedisOptions { watchdog_interval: Duration::from_mins(1), ..options }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_commit_notices_an_emptied_redis_and_writes_nothing() {
    let server = Server::start(&[]);
    let bank = bank_with(&unwatched(server.options())).await;
    let (proposal, opening) = (bank.propose(deposit("1", 1)).await, bank.propose(open("2")).await);
    server.run(&["FLUSHALL"]);
    for proposal in [proposal, opening] {
        let error = bank.store().commit(&[proposal]).await.unwrap_err();
        assert!(error.is_retryable() && !error.is_outcome_unknown(), "{error:?}");
        assert!(matches!(&error, StoreError::Unfit(reason) if reason.contains("is missing")), "{error:?}");
    }
    assert_refused(&bank, &["the bank", bank.store().bank_id(), "is missing"]).await;
    assert_eq!(server.run(&["DBSIZE"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_read_notices_an_emptied_redis() {
    let server = Server::start(&[]);
    let bank = bank_with(&unwatched(server.options())).await;
    server.run(&["FLUSHALL"]);
    let error = bank.store().load(&[id("1")]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unfit(reason) if reason.contains("is missing")), "{error:?}");
    assert_refused(&bank, &["is missing"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_bank_at_the_same_address_is_not_touched() {
    let server = Server::start(&[]);
    let options = unwatched(server.options());
    let bank = bank_with(&options).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    server.run(&["FLUSHALL"]);
    let other = bank_with(&options).await;
    let error = bank.store().commit(&[proposal]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unfit(_)), "{error:?}");
    let ids = [bank.store().bank_id(), other.store().bank_id()];
    assert_ne!(ids[0], ids[1]);
    assert_refused(&bank, &ids).await;
    assert_eq!((other.balance("1").await, other.history("1").await.len()), (100, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_redis_is_refused_until_its_data_is_restored() {
    let mut server = Server::start(&[]);
    let bank = bank_with(&server.options()).await;
    let proposal = bank.propose(deposit("1", 1)).await;
    server.run(&["SAVE"]);
    let (kept, away) = (server.directory().join("dump.rdb"), server.directory().join("away"));
    server.kill();
    fs::rename(&kept, &away).unwrap();
    server.start_again();

    let refused = async || {
        let error = bank.store().health().await.unwrap_err();
        matches!(error, StoreError::Unfit(_))
    };
    while !refused().await {
        sleep(Duration::from_millis(5)).await;
    }
    assert_refused(&bank, &["is missing"]).await;
    let error = bank.store().commit(std::slice::from_ref(&proposal)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unfit(_)), "{error:?}");
    assert_eq!(server.run(&["DBSIZE"]), "0");

    server.kill();
    fs::rename(&away, &kept).unwrap();
    server.start_again();
    let started = Instant::now();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    // Reads have a connection of their own, which may be back later.
    while let Err(error) = bank.store().health().await {
        assert!(started.elapsed() < BACK_WITHIN, "{error}");
        sleep(Duration::from_millis(5)).await;
    }
    bank.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_configured_bank_is_used() {
    let server = server::shared().await;
    let options = server.options();
    let named = |bank_id: &str| RedisOptions { bank_id: Some(bank_id.to_owned()), ..options.clone() };
    let error = connect_error(&named("b")).await;
    assert!(matches!(&error, StoreError::Misconfigured(message)
        if message.contains("no bank") && message.contains("store.redis.bank_id = \"b\"")));
    let meta = format!("{}:{{0}}:meta", options.key_prefix);
    assert_eq!(server.run(&["EXISTS", &meta]), "0", "none is initialized");

    let bank_id = connect(&options).await.bank_id().to_owned();
    let error = connect_error(&named("b")).await;
    assert!(matches!(&error, StoreError::Misconfigured(message) if message.contains(&bank_id)), "{error:?}");
    assert_eq!(connect(&named(&bank_id)).await.bank_id(), bank_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bank_is_initialized_over_the_accounts_of_another() {
    let server = server::shared().await;
    let options = server.options();
    let bank = bank_with(&options).await;
    let meta = format!("{}:{{0}}:meta", options.key_prefix);
    server.run(&["RENAME", &meta, "away"]);
    let error = connect_error(&options).await;
    assert!(
        matches!(&error, StoreError::Misconfigured(message)
        if message.contains(&meta) && message.contains("holds data of a bank")),
        "{error:?}"
    );
    assert_eq!(server.run(&["EXISTS", &meta]), "0");
    // Whatever number of partitions a new one would have.
    let error = connect_error(&RedisOptions { partitions: 1, ..options.clone() }).await;
    assert!(matches!(&error, StoreError::Misconfigured(message) if message.contains(&meta)), "{error:?}");
    server.run(&["RENAME", "away", &meta]);

    // Nor is another partition's copy written again, which is gone with the data of the partition.
    let copy = meta.replace("{0}", "{5}");
    server.run(&["RENAME", &copy, "away"]);
    let error = connect_error(&options).await;
    assert!(
        matches!(&error, StoreError::Misconfigured(message)
        if message.contains(&format!("{copy} names no bank"))),
        "{error:?}"
    );
    server.run(&["RENAME", "away", &copy]);
    connect(&options).await;
    assert_eq!(bank.commit_one(&bank.propose(deposit("1", 1)).await).await, Outcome::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_of_a_bank_share_one_secret_even_if_an_earlier_version_initialized_it() {
    let server = server::shared().await;
    let options = server.options();
    let meta = format!("{}:{{0}}:meta", options.key_prefix);
    let first = connect(&options).await;
    assert!(connect(&options).await.secret() == first.secret());
    assert!(connect(&server.options()).await.secret() != first.secret(), "another bank has another");

    server.run(&["HDEL", &meta, "secret"]);
    let (one, other) = tokio::join!(connect(&options), connect(&options));
    assert!(one.secret() == other.secret() && one.secret() != first.secret());
    assert_eq!(one.bank_id(), first.bank_id());

    server.run(&["HSET", &meta, "secret", "guess"]);
    let error = connect_error(&options).await;
    assert!(matches!(&error, StoreError::Corrupt(reason) if reason.contains("secret")), "{error:?}");
}
