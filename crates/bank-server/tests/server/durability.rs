//! The durability that the server promises, and what it does and reports when Redis does not provide it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, time::Duration};

use bank_proto::v1;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::Code;

use crate::support::{
    Bank, Process, Redis,
    api::{self, balance, connect, deposit, failed, savings},
    health::{ServingStatus, becomes, health, service_becomes},
    sentinel::Sentinels,
};

const ACKNOWLEDGED_WRITES: &str = "bank.v1.AcknowledgedWrites";
/// Short intervals, so that tests are quick.
const QUICK: [&str; 6] = [
    "--set",
    "health.poll_interval_ms=20",
    "--set",
    "store.redis.watchdog_interval_ms=50",
    "--set",
    "store.redis.reconnect_delay_ms_max=100",
];

async fn info(client: &mut api::Client) -> v1::GetServerInfoResponse {
    client.get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner()
}

/// How many log messages begin like this.
fn times(bank: &Bank, beginning: &str) -> usize {
    bank.lines().iter().filter(|line| line["message"].as_str().unwrap().starts_with(beginning)).count()
}

#[tokio::test]
async fn a_redis_with_too_little_durability_ends_the_start_with_a_remedy() {
    let redis = Redis::start().await;
    for (flags, parts) in [
        (
            &[][..],
            &[
                "appendonly no",
                "store.redis.durability = \"always\" requires",
                "`redis-cli CONFIG SET appendonly yes`",
                "store.redis.durability = \"none\"",
            ][..],
        ),
        (
            &[
                "--set",
                "store.redis.durability=none",
                "--set",
                "store.redis.replicas=1",
                "--set",
                "store.redis.connect_timeout_ms=2000",
            ],
            &["0 replicas", "store.redis.replicas = 1"],
        ),
    ] {
        let process = Process::start(&[&["--redis-url", &redis.url()], flags].concat());
        assert_eq!(process.wait_exit().await.code(), Some(1));
        for part in parts {
            assert!(process.log().contains(&part.replace('"', "\\\"")), "{part}: {}", process.log());
        }
    }
    assert_eq!(redis.run(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn server_info_describes_version_store_and_durability() {
    let redis = Redis::start_with(
        &["--requirepass", "s3cret", "--appendonly", "yes", "--appendfsync", "always"],
        Some("s3cret"),
    )
    .await;
    let bank = Bank::on_redis_with(&redis, &["--set", "server.message_bytes_max=70000"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let info = info(&mut client).await;
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert!(info.start_time.is_some() && info.uptime.unwrap().seconds < 60);
    let shown = format!("{info:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let store = info.store.unwrap();
    assert_eq!((store.kind.as_str(), store.name), ("redis", format!("redis at {}", redis.address())));
    assert_eq!(store.bank_id, redis.run(&["HGET", "bank:{0}:meta", "bank_id"]));
    assert_eq!(bank.logged("the store is open").await["bank_id"], store.bank_id);
    assert_eq!(bank.logged("initialized a new bank").await["bank_id"], store.bank_id);
    assert_eq!(store.problem, "");
    let durability = store.durability.unwrap();
    assert_eq!((durability.level(), durability.replicas), (v1::DurabilityLevel::Always, 0));
    assert_eq!(durability.description, "every acknowledged write is on the disk of Redis");
    let limits = info.limits.unwrap();
    assert_eq!((limits.message_bytes_max, limits.page_size_max), (70_000, 1_000));
    assert_eq!(limits.request_retention.unwrap().seconds, 24 * 60 * 60);
    assert_eq!(info.lost_writes, Some(v1::LostWrites::default()));

    // Another server on the same Redis has the same bank, and can require it.
    let again =
        Bank::on_redis_with(&redis, &["--set", &format!("store.redis.bank_id={}", store.bank_id)]).await;
    assert_eq!(again.logged("the store is open").await["bank_id"], store.bank_id);
    assert_eq!(times(&again, "initialized a new bank"), 0);
}

#[tokio::test]
async fn rejects_changes_but_serves_reads_while_redis_durability_is_too_low() {
    let redis = Redis::start_durable().await;
    let bank = Bank::on_redis_with(&redis, &QUICK).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.deposit(deposit("a", 5)).await.unwrap();

    redis.run(&["CONFIG", "SET", "appendfsync", "everysec"]);
    becomes(&bank, ServingStatus::NotServing).await;
    for _ in 0..50 {
        let error = failed(client.deposit(deposit("a", 7)).await);
        assert_eq!((error.code, &*error.reason), (Code::Unavailable, "STORE_UNAVAILABLE"));
        assert!(error.details.retry_info().is_some());
        let needed = "Redis has appendfsync everysec, but store.redis.durability = \"always\" requires \
                      appendfsync always";
        assert!(error.message.ends_with(needed) && error.message.contains("nothing was done"), "{error:?}");
        assert_eq!(balance(&mut client, "a").await, 5);
    }
    let problem = info(&mut client).await.store.unwrap().problem;
    assert!(problem.contains("appendfsync everysec"), "{problem}");
    let said = bank.logged("Redis does not meet the requirements").await;
    assert_eq!((said["level"].as_str(), said["refused"].as_str()), (Some("ERROR"), Some("commits")));
    assert!(said["remedy"].as_str().unwrap().contains("CONFIG SET appendfsync always"), "{said}");

    redis.run(&["CONFIG", "SET", "appendfsync", "always"]);
    becomes(&bank, ServingStatus::Serving).await;
    client.deposit(deposit("a", 7)).await.unwrap();
    assert_eq!(balance(&mut client, "a").await, 12);
    assert_eq!(times(&bank, "Redis does not meet the requirements"), 1);
    assert_eq!(times(&bank, "Redis meets the requirements again"), 1);
    let errors = bank.lines().iter().filter(|line| line["level"] == "ERROR").count();
    assert_eq!(errors, 2, "that, and that it is not serving: {}", bank.log());
}

#[tokio::test]
async fn does_not_serve_from_a_redis_that_restarted_empty() {
    let mut redis = Redis::start().await;
    let bank = Bank::on_redis_with(&redis, &QUICK).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.deposit(deposit("a", 5)).await.unwrap();
    let bank_id = info(&mut client).await.store.unwrap().bank_id;
    redis.run(&["SAVE"]);
    let (kept, away) = (redis.directory().join("dump.rdb"), redis.directory().join("away"));
    redis.kill();
    fs::rename(&kept, &away).unwrap();
    redis.restart().await;

    bank.logged("Redis does not meet the requirements").await;
    becomes(&bank, ServingStatus::NotServing).await;
    for number in 0..20 {
        let opened = client.create_account(savings(&format!("new-{number}"))).await;
        let read = v1::GetBalanceRequest { account_id: "a".to_owned(), as_of: None };
        for error in [failed(opened), failed(client.get_balance(read).await)] {
            assert_eq!((error.code, &*error.reason), (Code::Unavailable, "STORE_UNAVAILABLE"));
            let missing = format!("the bank {bank_id} is missing: Redis holds no bank");
            assert!(error.message.contains(&missing), "{error:?}");
        }
    }
    assert_eq!(redis.run(&["DBSIZE"]), "0");
    assert_eq!(times(&bank, "Redis does not meet the requirements"), 1);

    redis.kill();
    fs::rename(&away, &kept).unwrap();
    redis.restart().await;
    becomes(&bank, ServingStatus::Serving).await;
    client.deposit(deposit("a", 7)).await.unwrap();
    assert_eq!(balance(&mut client, "a").await, 12);
    assert_eq!(info(&mut client).await.lost_writes, Some(v1::LostWrites::default()), "nothing is lost");
}

/// Redis crashes, and comes back in an earlier state.
#[tokio::test]
async fn reports_acknowledged_writes_that_a_crash_lost_and_keeps_serving() {
    let mut redis = Redis::start().await;
    let (bank, other) =
        tokio::join!(Bank::on_redis_with(&redis, &QUICK), Bank::on_redis_with(&redis, &QUICK));
    let mut client = connect(&bank.endpoint()).await;
    for account_id in ["a", "b", "kept"] {
        client.create_account(savings(account_id)).await.unwrap();
        client.deposit(deposit(account_id, 100)).await.unwrap();
    }
    redis.run(&["SAVE"]);
    for _ in 0..3 {
        client.deposit(deposit("a", 1)).await.unwrap();
    }
    client.transfer(api::transfer("b", "a", 10)).await.unwrap();
    client.create_account(savings("new")).await.unwrap();
    assert_eq!(health(&bank, ACKNOWLEDGED_WRITES).await, ServingStatus::Serving);
    redis.restart().await;

    service_becomes(&bank, ACKNOWLEDGED_WRITES, ServingStatus::NotServing).await;
    // Nobody has called since, so the sweep finds them.
    let give_up_at = Instant::now() + Duration::from_mins(1);
    let lost = loop {
        let lost = info(&mut client).await.lost_writes.unwrap();
        if lost.accounts == 3 {
            break lost;
        }
        assert!(Instant::now() < give_up_at, "{lost:?}");
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(lost.entries_min, 3 + 2 + 1, "of a, of the transfer on both sides, and the opening");
    assert!(lost.found_time.is_some());
    let lines = bank.lines();
    let lost: Vec<_> = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap().starts_with("acknowledged writes are lost"))
        .map(|line| (line["account"].as_str().unwrap(), line["acknowledged_version"].as_u64().unwrap()))
        .collect();
    assert!(lost.contains(&("a", 6)) && lost.contains(&("b", 3)) && lost.contains(&("new", 1)), "{lost:?}");
    assert_eq!(lost.len(), 3);

    // The accounts add up, and can be used.
    becomes(&bank, ServingStatus::Serving).await;
    for (account_id, expected) in [("a", 101), ("b", 101), ("kept", 101)] {
        client.deposit(deposit(account_id, 1)).await.unwrap();
        assert_eq!(balance(&mut client, account_id).await, expected);
    }
    client.create_account(savings("new")).await.unwrap();
    assert_eq!(info(&mut client).await.lost_writes.unwrap().accounts, 3);
    // The other server had acknowledged nothing.
    let mut other = connect(&other.endpoint()).await;
    other.deposit(deposit("a", 1)).await.unwrap();
    assert_eq!(info(&mut other).await.lost_writes, Some(v1::LostWrites::default()));
}

/// Deposits one minor unit again and again until stopped, and counts what was acknowledged: for
/// each account, and in total.
fn pay(
    clients: &[api::Client],
    stop: &watch::Receiver<bool>,
    all: &watch::Sender<usize>,
) -> JoinSet<(String, usize)> {
    let mut tellers = JoinSet::new();
    for (number, client) in clients.iter().enumerate() {
        let (mut client, stop, all) = (client.clone(), stop.clone(), all.clone());
        tellers.spawn(async move {
            let account_id = format!("a{number}");
            let mut acknowledged = 0;
            for payment in 0.. {
                let request_id = format!("p{payment}");
                let request = v1::DepositRequest { request_id, ..deposit(&account_id, 1) };
                // The same request until it has an outcome, or is abandoned.
                loop {
                    if *stop.borrow() {
                        return (account_id, acknowledged);
                    }
                    match client.deposit(request.clone()).await {
                        Ok(_) => {
                            acknowledged += 1;
                            break all.send_modify(|all| *all += 1);
                        }
                        Err(_) => sleep(Duration::from_millis(10)).await,
                    }
                }
            }
            unreachable!("payments do not end");
        });
    }
    tellers
}

/// Waits until this Redis is the primary and accepts writes.
async fn takes_changes(client: &mut api::Client, account_id: &str) {
    let give_up_at = Instant::now() + Duration::from_mins(1);
    while let Err(status) = client.create_account(savings(account_id)).await {
        assert!(Instant::now() < give_up_at, "{status:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_failover_loses_no_write_that_waited_for_a_replica() {
    let mut primary = Redis::start().await;
    let _replicas = tokio::join!(Redis::start_replica(&primary), Redis::start_replica(&primary));
    let sentinels = Sentinels::watch_over(&primary, 2).await;
    let url = sentinels.url();
    let flags =
        ["--redis-url", &url, "--set", "store.redis.durability=none", "--set", "store.redis.replicas=1"];
    let bank = Bank::start(&[&flags[..], &QUICK].concat()).await;
    let mut client = connect(&bank.endpoint()).await;
    for number in 0..4 {
        client.create_account(savings(&format!("a{number}"))).await.unwrap();
    }
    let ((stop, stopped), (all, mut counted)) = (watch::channel(false), watch::channel(0));
    let tellers = pay(&vec![client.clone(); 4], &stopped, &all);
    counted.wait_for(|paid| *paid > 50).await.unwrap();
    primary.kill();
    takes_changes(&mut client, "after").await;
    let before = *counted.borrow();
    counted.wait_for(|paid| *paid > before + 50).await.unwrap();
    stop.send_replace(true);
    for (account_id, acknowledged) in tellers.join_all().await {
        let history = api::history(&mut client, &account_id).await;
        api::assert_sound(&history);
        // The last one may have been abandoned with an unknown outcome.
        let paid = history.len() - 1;
        assert!((acknowledged..=acknowledged + 1).contains(&paid), "{paid} of {acknowledged}");
    }
    assert_eq!(info(&mut client).await.lost_writes, Some(v1::LostWrites::default()));
    assert_eq!(times(&bank, "acknowledged writes are lost"), 0);
}

#[tokio::test]
async fn reports_writes_that_a_failover_lost() {
    let mut primary = Redis::start().await;
    let replica = Redis::start_replica(&primary).await;
    let sentinels = Sentinels::watch_over(&primary, 1).await;
    let url = sentinels.url();
    let flags = ["--redis-url", &url, "--set", "store.redis.durability=none"];
    let bank = Bank::start(&[&flags[..], &QUICK].concat()).await;
    let mut client = connect(&bank.endpoint()).await;
    for account_id in ["a", "b"] {
        client.create_account(savings(account_id)).await.unwrap();
        client.deposit(deposit(account_id, 100)).await.unwrap();
    }
    assert_eq!(primary.run(&["WAIT", "1", "60000"]), "1");
    // The replica is disconnected and cannot reconnect, so it does not get what follows.
    primary.run(&["CONFIG", "SET", "requirepass", "other"]);
    primary.run(&["-a", "other", "CLIENT", "KILL", "TYPE", "replica"]);
    for _ in 0..5 {
        client.deposit(deposit("a", 1)).await.unwrap();
    }
    primary.kill();

    service_becomes(&bank, ACKNOWLEDGED_WRITES, ServingStatus::NotServing).await;
    assert!(replica.run(&["ROLE"]).starts_with("master"));
    let lost = info(&mut client).await.lost_writes.unwrap();
    assert_eq!((lost.accounts, lost.entries_min), (1, 5));
    takes_changes(&mut client, "after").await;
    assert_eq!((balance(&mut client, "a").await, balance(&mut client, "b").await), (100, 100));
}

/// A server that stood still for as long as the primary did could not look at its clock meanwhile. It reported
/// its caller what the old primary answered, and that was lost.
#[tokio::test]
async fn ignores_answers_of_a_replaced_primary_after_standing_still() {
    let primary = Redis::start().await;
    let replica = Redis::start_replica(&primary).await;
    let sentinels = Sentinels::watch_over(&primary, 1).await;
    let url = sentinels.url();
    // A failover on a busy machine may take longer than the default outcome timeout.
    let flags = [
        "--redis-url",
        &url,
        "--set",
        "store.redis.durability=none",
        "--set",
        "ledger.outcome_timeout_ms=60000",
        "--set",
        "server.request_timeout_ms_max=70000",
        "--set",
        "server.shutdown_grace_ms=80000",
    ];
    let bank = Bank::start(&[&flags[..], &QUICK].concat()).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let balance_on = |redis: &Redis| redis.run(&["HGET", &redis.run(&["KEYS", "*:account:a"]), "balance"]);
    let becomes = async |what: &dyn Fn() -> bool| {
        let give_up_at = Instant::now() + Duration::from_mins(1);
        while !what() && Instant::now() < give_up_at {
            sleep(Duration::from_millis(20)).await;
        }
        assert!(what());
    };
    becomes(&|| balance_on(&replica) == "0").await;

    primary.freeze();
    let call = tokio::spawn({
        let mut client = client.clone();
        async move { client.deposit(deposit("a", 5)).await }
    });
    // It was sent to the primary, and not abandoned yet.
    sleep(Duration::from_millis(500)).await;
    bank.signal("STOP");
    becomes(&|| replica.run(&["ROLE"]).starts_with("master")).await;
    primary.thaw();
    // On a machine so slow that it was not sent, it will be sent to the new one.
    for _ in 0..100 {
        if balance_on(&primary) != "5" {
            sleep(Duration::from_millis(20)).await;
        }
    }
    bank.signal("CONT");

    call.await.unwrap().unwrap();
    assert_eq!((balance(&mut client, "a").await, balance_on(&replica).as_str()), (5, "5"));
}
