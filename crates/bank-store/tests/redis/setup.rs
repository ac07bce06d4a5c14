//! Which servers can hold a bank, and how others are refused.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bank_store::{
    Store as _, StoreError,
    conformance::{Bank, commands::*},
    redis::{RedisOptions, RedisUrl},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use super::server::{self, Server, connect, connect_error, final_connect_error, free_port, options};

fn assert_misconfigured(error: &StoreError, hints: &[&str]) {
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error:?}");
    assert!(!error.is_retryable() && !error.is_outcome_unknown());
    let message = error.to_string();
    for hint in hints {
        assert!(message.contains(hint), "{message:?} does not say {hint:?}");
    }
    assert!(!message.contains("s3cret"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_evicts_keys_is_refused() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let options = server.options();
    let error = connect_error(&options).await;
    assert_misconfigured(&error, &[&server.address(), "allkeys-lru", "noeviction"]);
    // No bank was initialized.
    assert_eq!(server.run(&["DBSIZE"]), "0");

    server.run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    connect(&options).await.health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_settings_are_accepted_only_without_check_config() {
    let server = Server::start(&["--rename-command", "CONFIG", ""]);
    let options = server.options();
    let error = connect_error(&options).await;
    assert_misconfigured(&error, &["maxmemory-policy", "noeviction", "store.redis.check_config = false"]);

    let store = connect(&RedisOptions { check_config: false, ..options }).await;
    assert!(store.durability().description.contains("is not checked"), "{}", store.durability());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_keeps_its_partitions_whatever_the_setting_for_new_ones() {
    let server = server::shared().await;
    let options = RedisOptions { partitions: 16, ..server.options() };
    let first = Bank::new(Arc::new(connect(&options).await));
    first.open_with("1", 5).await;
    let second = Bank::new(Arc::new(connect(&RedisOptions { partitions: 256, ..options }).await));
    assert_eq!(second.store().placement().partitions(), 16);
    assert_eq!(second.balance("1").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_of_another_layout_is_refused() {
    let server = server::shared().await;
    let options = server.options();
    connect(&options).await;
    server.run(&["HSET", &format!("{}:{{0}}:meta", options.key_prefix), "layout", "1"]);
    assert_misconfigured(&connect_error(&options).await, &["layout \"1\"", "\"4\""]);

    // The former layout has the identity of the bank in another place, where its servers find this one.
    let former = format!("{}:meta", options.key_prefix);
    assert_eq!(server.run(&["HGET", &former, "layout"]), "4");
    let options = server.options();
    let former = format!("{}:meta", options.key_prefix);
    server.run(&["HSET", &former, "layout", "3", "bank_id", "former"]);
    let hints = ["layout \"3\"", "export it", "docs/upgrade.md"];
    assert_misconfigured(&connect_error(&options).await, &hints);
    assert_eq!(server.run(&["KEYS", &format!("{}:*", options.key_prefix)]), former, "nothing is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_of_partitions_holds_a_bank() {
    let server = server::shared().await;
    for partitions in [1, 17, 16_384] {
        let options = RedisOptions { partitions, ..server.options() };
        let bank = Bank::new(Arc::new(connect(&options).await));
        for account_id in ["1", "2", "3", "4", "5"] {
            bank.open_with(account_id, 5).await;
        }
        bank.apply(transfer("1", "5", 5)).await;
        assert_eq!(bank.all_accounts(None, 2).await.len(), 5);
        bank.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_together_initialize_one_bank() {
    let server = server::shared().await;
    let options = server.options();
    let mut starting = JoinSet::new();
    for _ in 0..8 {
        let options = options.clone();
        starting.spawn(async move { connect(&options).await });
    }
    let stores = starting.join_all().await;
    let bank_id = server.run(&["HGET", &format!("{}:{{0}}:meta", options.key_prefix), "bank_id"]);
    assert_eq!(bank_id.len(), 36);
    let mut banks = stores.into_iter().map(|store| Bank::new(Arc::new(store)));
    banks.next().unwrap().open_with("1", 5).await;
    for bank in banks {
        assert_eq!(bank.balance("1").await, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_options_are_refused() {
    let good = options("redis://127.0.0.1:1");
    let too_short = Duration::from_millis(999);
    for (options, hint) in [
        (RedisOptions { key_prefix: String::new(), ..good.clone() }, "key_prefix"),
        (RedisOptions { key_prefix: "{1}".to_owned(), ..good.clone() }, "key_prefix"),
        (RedisOptions { key_prefix: "a b".to_owned(), ..good.clone() }, "key_prefix"),
        (RedisOptions { partitions: 0, ..good.clone() }, "partitions"),
        (RedisOptions { partitions: 16_385, ..good.clone() }, "partitions"),
        (RedisOptions { request_retention: too_short, ..good.clone() }, "request_retention"),
        (RedisOptions { url: RedisUrl::new(""), ..good.clone() }, "store.redis.url"),
        (RedisOptions { url: RedisUrl::new("localhost:6379"), ..good.clone() }, "store.redis.url"),
        (RedisOptions { url: RedisUrl::new("http://:s3cret@localhost"), ..good.clone() }, "store.redis.url"),
        (RedisOptions { url: RedisUrl::new("redis://:s3cret@a:b"), ..good.clone() }, "store.redis.url"),
        (
            RedisOptions { url: RedisUrl::new("redis-sentinel://:s3cret@a:1"), ..good.clone() },
            "sentinelServiceName",
        ),
        (
            RedisOptions { url: RedisUrl::new("redis-cluster://:s3cret@a:b"), ..good.clone() },
            "store.redis.url",
        ),
    ] {
        assert_misconfigured(&connect_error(&options).await, &[hint]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_redis_is_reported_after_the_connect_timeout() {
    let port = free_port();
    // It accepts connections but never replies.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    for port in [port, silent.local_addr().unwrap().port()] {
        let options = RedisOptions {
            connect_timeout: Duration::from_millis(700),
            ..options(format!("redis://user:s3cret@127.0.0.1:{port}/0"))
        };
        let started = Instant::now();
        let error = connect_error(&options).await;
        assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(&format!("127.0.0.1:{port}")) && message.contains("700 ms"), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_starts_late_is_waited_for() {
    let mut server = Server::start(&[]);
    let options = server.options();
    server.kill();
    let waiting = tokio::spawn(async move { connect(&options).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.start_again();
    waiting.await.unwrap().health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_not_retried() {
    let server = Server::start(&["--requirepass", "right"]);
    for credentials in ["", ":s3cret@", "nobody:s3cret@"] {
        let error = final_connect_error(&options(format!("redis://{credentials}{}", server.address()))).await;
        assert_misconfigured(
            &error,
            &[&server.address(), "refuses the connection", "check the user and the password"],
        );
    }
    for credentials in [":right@", "default:right@"] {
        let store = connect(&options(format!("redis://{credentials}{}", server.address()))).await;
        store.health().await.unwrap();
        assert_eq!(store.name(), format!("redis at {}", server.address()));
    }
}

/// All of these were reported as damaged data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_server_is_refused_with_the_reason() {
    let cluster = Server::start(&["--cluster-enabled", "yes"]);
    let sentinel = Server::start_sentinel("sentinel monitor bank 127.0.0.1 1 1\n");
    let renamed = Server::start(&["--rename-command", "SCRIPT", ""]);
    let open = Server::start(&[]);
    for (user, rights) in [("no-scripts", "-script"), ("no-info", "-info"), ("no-keys", "resetkeys")] {
        open.run(&["ACL", "SETUSER", user, "on", ">s3cret", "~*", "+@all", rights]);
    }
    let as_user = |user: &str| format!("redis://{user}:s3cret@{}", open.address());
    for (url, hints) in [
        (cluster.url(), &["is a node of a Redis Cluster", "redis-cluster://127.0.0.1:"][..]),
        (open.url().replace("redis://", "redis-cluster://"), &["not a node of a Redis Cluster", "redis://"]),
        (sentinel.url(), &["is a Sentinel", "redis-sentinel://127.0.0.1:", "?sentinelServiceName="]),
        // A Sentinel has no databases, and answers that it does not know the command.
        (format!("{}/0", sentinel.url()), &["unknown command", "not a Sentinel"]),
        (renamed.url(), &["unknown command 'SCRIPT'", "renamed"]),
        (format!("{}/99", open.url()), &["DB index is out of range", "name a database"]),
        (as_user("no-scripts"), &["NOPERM", "script|load", "ACL SETUSER"]),
        (as_user("no-info"), &["NOPERM", "'info'", "ACL SETUSER"]),
        (as_user("no-keys"), &["NOPERM", "ACL SETUSER"]),
    ] {
        let error = final_connect_error(&options(url.clone())).await;
        let place = url.split("://").nth(1).unwrap().rsplit('@').next().unwrap();
        assert_misconfigured(&error, &[hints, &[place.split('/').next().unwrap()]].concat());
    }
    assert_eq!(open.run(&["DBSIZE"]), "0", "no bank was initialized");
}

/// It may become the primary, so the connection is retried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_refused_with_advice() {
    let primary = Server::start(&[]);
    let replica = Server::start_replica(&primary, &[]);
    let connect_timeout = Duration::from_secs(1);
    let error = connect_error(&RedisOptions { connect_timeout, ..replica.options() }).await;
    assert_misconfigured(&error, &[&replica.address(), "is a replica, not the primary", "Sentinels"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_resembles_redis_is_refused_with_what_it_lacks() {
    for (info, hints) in [
        ("redis_version:6.2.14\r\nrun_id:1\r\n", &["6.2.14", "7.0"][..]),
        // Without a run_id, neither a restart nor a failover is noticed.
        ("redis_version:7.4.0\r\nlikeness_version:1.2\r\n", &["run_id"]),
    ] {
        let (address, _server) = fake_redis(Answers::Info(info)).await;
        let error = final_connect_error(&options(format!("redis://{address}"))).await;
        assert_misconfigured(&error, &[hints, &[&address]].concat());
    }
    let denied = "-DENIED Redis is running in protected mode because protected mode is enabled and no \
                  password is set for the default user.\r\n";
    let (address, _server) = fake_redis(Answers::Everything(denied)).await;
    let error = final_connect_error(&options(format!("redis://{address}"))).await;
    assert_misconfigured(&error, &["DENIED", "give the server a password", &address]);

    // A server with too many clients is waited for.
    let (address, _server) = fake_redis(Answers::Everything("-ERR max number of clients reached\r\n")).await;
    let options =
        RedisOptions { connect_timeout: Duration::from_secs(1), ..options(format!("redis://{address}")) };
    let error = connect_error(&options).await;
    assert!(
        matches!(&error, StoreError::Unavailable(why) if why.contains("max number of clients")),
        "{error:?}"
    );
}

/// What a fake server replies.
#[derive(Clone, Copy)]
enum Answers {
    /// Just enough to resemble Redis, with this for `INFO`.
    Info(&'static str),
    /// The same to everything.
    Everything(&'static str),
}

/// Replies to one command for each read, by its first word, until the returned set is dropped.
async fn fake_redis(answers: Answers) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut request = vec![0; 4096];
                while let Ok(length @ 1..) = connection.read(&mut request).await {
                    let text = String::from_utf8_lossy(&request[..length]).to_uppercase();
                    let answer = match (answers, text.lines().nth(2)) {
                        (Answers::Everything(answer), _) => answer.to_owned(),
                        (_, Some("PING")) => "+PONG\r\n".to_owned(),
                        (_, Some("CLIENT")) => ":1\r\n".to_owned(),
                        (Answers::Info(info), Some("INFO")) => format!("${}\r\n{info}\r\n", info.len()),
                        _ => "-ERR unknown command\r\n".to_owned(),
                    };
                    if connection.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_store_closes_its_connections() {
    let server = Server::start(&[]);
    let connections = || server.run(&["CLIENT", "LIST"]).lines().count();
    let store = server.store().await;
    assert_eq!(connections(), 3, "two of the store, and the one that asks");
    drop(store);
    // So does a store that refused to start.
    server.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    connect_error(&server.options()).await;

    let deadline = Instant::now() + Duration::from_mins(1);
    while connections() > 1 {
        assert!(Instant::now() < deadline, "{}", server.run(&["CLIENT", "LIST"]));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
