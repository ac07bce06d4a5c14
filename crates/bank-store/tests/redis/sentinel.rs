//! A primary with a replica, watched over by three Sentinels.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bank_store::{
    Outcome, Store as _, StoreError,
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};
use tokio::time::sleep;

use super::server::{Server, connect, connect_error, final_connect_error, options};

const DOWN_AFTER_MS: u64 = 500;
const FAILOVER_WITHIN: Duration = Duration::from_mins(1);

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + FAILOVER_WITHIN;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed() {
    let mut primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let configuration = format!(
        "sentinel monitor bank 127.0.0.1 {} 2\n\
         sentinel down-after-milliseconds bank {DOWN_AFTER_MS}\n\
         sentinel failover-timeout bank 5000\n",
        primary.port()
    );
    let sentinels = [(); 3].map(|()| Server::start_sentinel(&configuration));
    wait_until("the replica has not joined", || {
        replica.run(&["INFO", "replication"]).contains("link_status:up")
    })
    .await;
    for sentinel in &sentinels {
        wait_until("the sentinels have not met", || {
            let about = sentinel.run(&["SENTINEL", "MASTER", "bank"]);
            let fields: Vec<_> = about.lines().collect();
            let is = |name, value| fields.windows(2).any(|pair| pair == [name, value]);
            is("num-other-sentinels", "2") && is("num-slaves", "1")
        })
        .await;
    }

    let mut url = format!("redis-sentinel://{}?sentinelServiceName=bank", sentinels[0].address());
    for sentinel in &sentinels[1..] {
        write!(url, "&node={}", sentinel.address()).unwrap();
    }
    let options = RedisOptions { connect_timeout: Duration::from_secs(10), ..options(url) };
    let store = Arc::new(connect(&options).await);
    assert!(
        store.name().contains("bank") && store.name().contains(&sentinels[2].address()),
        "{}",
        store.name()
    );
    let bank = Bank::new(store);
    bank.open_with("1", 100).await;
    let proposal = bank.propose(named("r", withdraw("1", 60))).await;
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    let before = bank.history("1").await;
    // What the replica has not got is lost with the primary; this is about what it has.
    assert_eq!(primary.run(&["WAIT", "1", "60000"]), "1");

    primary.kill();
    let killed_at = Instant::now();
    let next = bank.propose(deposit("1", 5)).await;
    assert_eq!(bank.commit_one(&next).await, Outcome::Applied);
    assert!(killed_at.elapsed() < FAILOVER_WITHIN, "{:?}", killed_at.elapsed());

    assert!(replica.run(&["ROLE"]).starts_with("master"));
    assert_eq!(bank.history("1").await[..3], before);
    assert_eq!(bank.balance("1").await, 45);
    // The replica knows the requests, too.
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert!(matches!(bank.submit(named("r", withdraw("1", 60))).await, Outcome::Replayed(_)));
    bank.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_final() {
    let primary = Server::start(&["--requirepass", "right"]);
    let sentinel = Server::start_sentinel(&format!("sentinel monitor bank 127.0.0.1 {} 1\n", primary.port()));
    let place = format!("{}?sentinelServiceName=bank", sentinel.address());
    let error = final_connect_error(&options(format!("redis-sentinel://:s3cret@{place}"))).await;
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error:?}");
    connect(&options(format!("redis-sentinel://:right@{place}"))).await.health().await.unwrap();

    // A name that the Sentinels do not know may become known.
    let place = format!("{}?sentinelServiceName=other", sentinel.address());
    let connect_timeout = Duration::from_millis(500);
    let options = RedisOptions { connect_timeout, ..options(format!("redis-sentinel://:s3cret@{place}")) };
    let error = connect_error(&options).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(
        error.to_string().contains(&sentinel.address()) && !error.to_string().contains("s3cret"),
        "{error}"
    );
}
