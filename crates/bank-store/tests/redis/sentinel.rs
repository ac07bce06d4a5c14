//! A primary with a replica and three Sentinels.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bank_store::{
    Outcome, Proposal, Store as _, StoreError,
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};
use tokio::time::sleep;

use super::server::{Server, connect, connect_error, final_connect_error, options};

const DOWN_AFTER_MS: u64 = 1_500;
/// With the interval of the watchdog and the margin, as long as Sentinel waits.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(900);
const FAILOVER_WITHIN: Duration = Duration::from_mins(1);

/// Waits like a suspended process: nothing else runs in this thread.
fn block_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + FAILOVER_WITHIN;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The balance of the only account there is.
fn balance_on(server: &Server) -> String {
    server.run(&["HGET", &server.run(&["KEYS", "*:account:1"]), "balance"])
}

struct Scene {
    primary: Server,
    replica: Server,
    sentinels: [Server; 3],
}

impl Scene {
    fn begin() -> Self {
        let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
        let replica = Server::start_replica(&primary, &[]);
        let configuration = format!(
            "sentinel monitor bank 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds bank {DOWN_AFTER_MS}\n\
             sentinel failover-timeout bank 5000\n",
            primary.port()
        );
        let sentinels = [(); 3].map(|()| Server::start_sentinel(&configuration));
        for sentinel in &sentinels {
            block_until("the sentinels have not met", || {
                let about = sentinel.run(&["SENTINEL", "MASTER", "bank"]);
                let fields: Vec<_> = about.lines().collect();
                let is = |name, value| fields.windows(2).any(|pair| pair == [name, value]);
                is("num-other-sentinels", "2") && is("num-slaves", "1")
            });
        }
        Self { primary, replica, sentinels }
    }

    fn options(&self) -> RedisOptions {
        let mut url = format!("redis-sentinel://{}?sentinelServiceName=bank", self.sentinels[0].address());
        for sentinel in &self.sentinels[1..] {
            write!(url, "&node={}", sentinel.address()).unwrap();
        }
        let connect_timeout = Duration::from_secs(10);
        RedisOptions { connect_timeout, command_timeout: COMMAND_TIMEOUT, ..options(url) }
    }

    /// A bank whose account `1` has 100, on the replica as well.
    async fn bank(&self) -> Bank {
        let bank = Bank::new(Arc::new(connect(&self.options()).await));
        bank.open_with("1", 100).await;
        self.block_until_replicated("100");
        bank
    }

    /// `WAIT` counts only writes of its own connection, since Redis 7.2.
    fn block_until_replicated(&self, balance: &str) {
        block_until("the replica has not got it", || balance_on(&self.replica) == balance);
    }

    fn block_until_failed_over(&self) {
        block_until("there was no failover", || self.replica.run(&["ROLE"]).starts_with("master"));
        for sentinel in &self.sentinels {
            block_until("a sentinel has not heard", || {
                let named = sentinel.run(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "bank"]);
                named.ends_with(&self.replica.port().to_string())
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed() {
    let mut scene = Scene::begin();
    let bank = scene.bank().await;
    let name = bank.store().name();
    assert!(name.contains("bank") && name.contains(&scene.sentinels[2].address()), "{name}");
    let proposal = bank.propose(named("r", withdraw("1", 60))).await;
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    let before = bank.history("1").await;
    // An unreplicated write would be lost with the primary.
    scene.block_until_replicated("40");

    scene.primary.kill();
    let killed_at = Instant::now();
    let next = bank.propose(deposit("1", 5)).await;
    assert_eq!(bank.commit_one(&next).await, Outcome::Applied);
    assert!(killed_at.elapsed() < FAILOVER_WITHIN, "{:?}", killed_at.elapsed());

    assert!(scene.replica.run(&["ROLE"]).starts_with("master"));
    assert_eq!(bank.history("1").await[..3], before);
    assert_eq!(bank.balance("1").await, 45);
    // The replica knows the requests, too.
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert!(matches!(bank.submit(named("r", withdraw("1", 60))).await, Outcome::Replayed(_)));
    bank.assert_sound().await;
}

/// A primary that was frozen for longer than a failover takes carries out what waits for it, replies OK, calls
/// itself the primary for some eight seconds more, and then drops all of that. Its replies were believed if this
/// process had been suspended as well.
#[tokio::test]
async fn late_replies_of_a_replaced_primary_are_discarded() {
    let scene = Scene::begin();
    let bank = scene.bank().await;
    let proposal = bank.propose(deposit("1", 5)).await;
    let (store, ids) = (Arc::clone(bank.store()), ["1".parse().unwrap()]);

    scene.primary.freeze();
    let sent = [proposal.clone()];
    let commit = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.commit(&sent).await }
    });
    let read = tokio::spawn(async move { store.load(&ids).await });
    // Both have been sent.
    sleep(Duration::from_millis(50)).await;
    scene.block_until_failed_over();
    scene.primary.thaw();
    block_until("what was sent is not carried out", || balance_on(&scene.primary) == "105");
    assert!(scene.primary.run(&["ROLE"]).starts_with("master"), "it does not know yet");

    let error = commit.await.unwrap().unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    let error = read.await.unwrap().unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_is_on_the_new_primary(&scene, &bank, &proposal).await;
}

/// The same, if nothing was sent while it was frozen, and it replies at once.
#[tokio::test]
async fn prompt_replies_of_a_replaced_primary_are_discarded() {
    let scene = Scene::begin();
    let bank = scene.bank().await;
    let proposal = bank.propose(deposit("1", 5)).await;

    scene.primary.freeze();
    scene.block_until_failed_over();
    scene.primary.thaw();
    block_until("it is not back", || scene.primary.run(&["PING"]) == "PONG");
    let ids = ["1".parse().unwrap()];
    let read = bank.store().load(&ids);
    let commit = bank.store().commit(std::slice::from_ref(&proposal));
    let (read, commit) = tokio::join!(read, commit);
    for error in [read.unwrap_err(), commit.unwrap_err()] {
        assert!(error.is_retryable(), "{error:?}");
    }
    assert_is_on_the_new_primary(&scene, &bank, &proposal).await;
}

async fn assert_is_on_the_new_primary(scene: &Scene, bank: &Bank, proposal: &Proposal) {
    assert_eq!(bank.commit_one(proposal).await, Outcome::Applied);
    assert_eq!(bank.balance("1").await, 105);
    assert_eq!(balance_on(&scene.replica), "105");
    bank.assert_sound().await;
}

/// Under load, while this process runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_when_a_primary_freezes() {
    let scene = Scene::begin();
    let bank = scene.bank().await;
    scene.primary.freeze();
    let is_done = Arc::new(AtomicBool::new(false));
    let teller = tokio::spawn({
        let (bank, is_done) = (bank.clone(), Arc::clone(&is_done));
        async move {
            let mut acknowledged = 0;
            while !is_done.load(Ordering::SeqCst) {
                match bank.submit(deposit("1", 1)).await {
                    Outcome::Applied => acknowledged += 1,
                    Outcome::Conflict => {}
                    other => panic!("{other:?}"),
                }
            }
            acknowledged
        }
    });
    let thaw = tokio::task::spawn_blocking(move || {
        scene.block_until_failed_over();
        scene.primary.thaw();
        block_until("it has not been demoted", || scene.primary.run(&["ROLE"]).starts_with("slave"));
        scene
    });
    let _scene = thaw.await.unwrap();
    is_done.store(true, Ordering::SeqCst);
    let acknowledged = teller.await.unwrap();
    assert!(acknowledged > 0);
    assert_eq!(bank.balance("1").await, 100 + acknowledged);
    bank.assert_sound().await;
}

/// By hand, or by Sentinels that cannot reach a primary that the bank still reaches. The bank wrote to it until it
/// learned of the failover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_a_replaced_primary_is_closed() {
    let scene = Scene::begin();
    let bank = scene.bank().await;
    assert_eq!(scene.sentinels[0].run(&["SENTINEL", "FAILOVER", "bank"]), "OK");
    let deadline = Instant::now() + FAILOVER_WITHIN;
    while !scene.replica.run(&["CLIENT", "LIST"]).contains("cmd=info") {
        assert!(Instant::now() < deadline, "{}", scene.replica.run(&["CLIENT", "LIST"]));
        sleep(Duration::from_millis(20)).await;
    }
    let proposal = bank.propose(deposit("1", 5)).await;
    assert_is_on_the_new_primary(&scene, &bank, &proposal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_with_too_short_a_timeout_are_refused() {
    let scene = Scene::begin();
    let set = |milliseconds: &str| {
        for sentinel in &scene.sentinels {
            let words = ["SENTINEL", "SET", "bank", "down-after-milliseconds", milliseconds];
            assert_eq!(sentinel.run(&words), "OK");
        }
    };
    let options = RedisOptions { command_timeout: Duration::from_secs(2), ..scene.options() };
    let error = final_connect_error(&options).await;
    let StoreError::Misconfigured(message) = &error else { panic!("{error:?}") };
    for hint in [
        "silent for 1500 ms (down-after-milliseconds)",
        "store.redis.command_timeout_ms = 2000",
        "SENTINEL SET bank down-after-milliseconds 2600",
    ] {
        assert!(message.contains(hint), "{message:?} does not say {hint:?}");
    }

    set("2600");
    let store = connect(&options).await;
    store.health().await.unwrap();
    // Also while the store runs.
    set("2599");
    let deadline = Instant::now() + FAILOVER_WITHIN;
    loop {
        match store.health().await {
            Err(StoreError::Unavailable(reason)) if reason.contains("down-after-milliseconds") => break,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    set("2600");
    while store.health().await.is_err() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
}

/// A Sentinel that is down or frozen does not prevent a connection to the primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sentinel_is_enough() {
    let mut scene = Scene::begin();
    let bank = scene.bank().await;
    scene.sentinels[0].kill();
    scene.sentinels[1].freeze();
    connect(&scene.options()).await.health().await.unwrap();
    // A bank that is connected needs none.
    scene.sentinels[2].kill();
    sleep(Duration::from_millis(500)).await;
    bank.apply(deposit("1", 5)).await;
    assert_eq!(bank.balance("1").await, 105);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_in_place_of_a_sentinel_is_refused() {
    let server = Server::start(&[]);
    let url = format!("redis-sentinel://{}?sentinelServiceName=bank", server.address());
    let error = final_connect_error(&options(url)).await;
    let StoreError::Misconfigured(message) = &error else { panic!("{error:?}") };
    assert!(message.contains(&server.address()) && message.contains("'SENTINEL'"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_not_retried() {
    let primary = Server::start(&["--requirepass", "right"]);
    let sentinel = Server::start_sentinel(&format!("sentinel monitor bank 127.0.0.1 {} 1\n", primary.port()));
    let place = format!("{}?sentinelServiceName=bank", sentinel.address());
    let error = final_connect_error(&options(format!("redis-sentinel://:s3cret@{place}"))).await;
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error:?}");
    connect(&options(format!("redis-sentinel://:right@{place}"))).await.health().await.unwrap();

    // The Sentinels may learn of an unknown name later.
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
