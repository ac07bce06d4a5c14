//! The admin port of the real binary: metrics, probes, the log level.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use bank_proto::v1::{self, operation::Kind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time::{Instant, sleep, timeout},
};

use crate::support::{
    Bank, Redis,
    admin::{address, ask, ask_with, becomes_ready, metrics, value},
    api::{batch, connect, deposit, failed, savings, withdraw},
};

/// Waits until the metrics are as they should be.
async fn until(bank: &Bank, hold: impl Fn(&str) -> bool) {
    let give_up_at = Instant::now() + Duration::from_mins(1);
    loop {
        let text = metrics(bank).await;
        if hold(&text) {
            return;
        }
        assert!(Instant::now() < give_up_at, "it stays so:\n{text}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn becomes(bank: &Bank, series: &str, expected: u32) {
    let line = format!("{series} {expected}");
    until(bank, |text| text.lines().any(|reported| reported == line)).await;
}

/// Calls with every kind of outcome.
async fn run_session(bank: &Bank) {
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    for _ in 0..2 {
        let again = v1::DepositRequest { request_id: "d".to_owned(), ..deposit("a", 100) };
        client.deposit(again).await.unwrap();
    }
    failed(client.withdraw(withdraw("a", 101)).await);
    failed(client.withdraw(withdraw("b", 1)).await);
    failed(client.withdraw(withdraw("", 1)).await);
}

#[tokio::test]
async fn counts_calls_and_commands_by_outcome() {
    let bank = Bank::memory().await;
    run_session(&bank).await;
    let text = metrics(&bank).await;
    for (series, expected) in [
        (r#"bank_calls_total{code="Ok",method="CreateAccount"}"#, 1.0),
        (r#"bank_calls_total{code="Ok",method="Deposit"}"#, 2.0),
        (r#"bank_calls_total{code="FailedPrecondition",method="Withdraw"}"#, 1.0),
        (r#"bank_calls_total{code="NotFound",method="Withdraw"}"#, 1.0),
        (r#"bank_calls_total{code="InvalidArgument",method="Withdraw"}"#, 1.0),
        (r#"bank_call_duration_seconds_count{method="Withdraw"}"#, 3.0),
        (r#"bank_commands_total{outcome="applied"}"#, 2.0),
        (r#"bank_commands_total{outcome="replayed"}"#, 1.0),
        (r#"bank_commands_total{outcome="refused"}"#, 2.0),
        (r#"bank_commands_total{outcome="conflict"}"#, 0.0),
        ("bank_calls_in_flight", 0.0),
        ("bank_queue_commands", 0.0),
        ("bank_queue_wait_seconds_count", 5.0),
        ("bank_batch_commands_sum", 5.0),
        ("bank_commit_resends_total", 0.0),
        ("bank_store_up", 1.0),
        ("bank_store_reconnects_total", 0.0),
        (r#"bank_durability_info{level="none",replicas="0"}"#, 1.0),
        ("bank_durability_given", 1.0),
        ("bank_lost_entries_total", 0.0),
    ] {
        assert_eq!(value(&text, series).to_bits(), f64::to_bits(expected), "{series}");
    }
    assert!(value(&text, "bank_commit_duration_seconds_count") >= 1.0);
    assert!(!text.contains("\"a\""), "an account's name is in a label");
}

#[tokio::test]
async fn watches_are_counted_while_they_are_open() {
    let bank = Bank::memory().await;
    let mut client = connect(&bank.endpoint()).await;
    let mut replies =
        client.watch_transactions(v1::WatchTransactionsRequest::default()).await.unwrap().into_inner();
    replies.message().await.unwrap().unwrap();
    assert_eq!(value(&metrics(&bank).await, "bank_watches_open").to_bits(), 1.0_f64.to_bits());
    drop(replies);
    let give_up_at = Instant::now() + Duration::from_mins(1);
    while value(&metrics(&bank).await, "bank_watches_open") > 0.0 {
        assert!(Instant::now() < give_up_at, "it stays open");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_documentation_and_the_output_name_the_same_metrics() {
    let bank = Bank::memory().await;
    run_session(&bank).await;
    let one = batch([Kind::Deposit(deposit("a", 1))]);
    connect(&bank.endpoint()).await.execute_batch(one).await.unwrap();
    becomes(&bank, "bank_accounts", 1).await;
    let text = metrics(&bank).await;
    let reported: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let table = fs::read_to_string(path).unwrap();
    let documented: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split_once("` | ").unwrap())
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap()))
        .collect();
    assert_eq!(reported, documented);
}

#[tokio::test]
async fn is_ready_while_the_store_answers() {
    let mut redis = Redis::start_durable().await;
    let bank = Bank::on_redis(&redis).await;
    assert_eq!(ask(&bank, "GET", "/healthz", "").await, (200, "ok\n".to_owned()));
    assert_eq!(ask(&bank, "GET", "/readyz", "").await, (200, "ready\n".to_owned()));
    redis.kill();
    becomes_ready(&bank, 503).await;
    assert_eq!(value(&metrics(&bank).await, "bank_store_up").to_bits(), 0.0_f64.to_bits());
    assert_eq!(ask(&bank, "GET", "/healthz", "").await.0, 200);
    redis.restart().await;
    becomes_ready(&bank, 200).await;
    assert_eq!(value(&metrics(&bank).await, "bank_store_up").to_bits(), 1.0_f64.to_bits());
}

#[tokio::test]
async fn metrics_report_the_state_of_the_store() {
    let mut redis = Redis::start_durable().await;
    let quick = ["--set", "health.poll_interval_ms=20", "--set", "store.redis.watchdog_interval_ms=50"];
    let (bank, other) = (Bank::on_redis_with(&redis, &quick).await, Bank::on_redis(&redis).await);
    becomes(&bank, "bank_accounts", 0).await;
    let mut client = connect(&other.endpoint()).await;
    for id in ["a", "b", "c"] {
        client.create_account(savings(id)).await.unwrap();
    }
    becomes(&bank, "bank_accounts", 3).await;
    becomes(&bank, r#"bank_durability_info{level="always",replicas="0"}"#, 1).await;

    redis.run(&["CONFIG", "SET", "appendfsync", "everysec"]);
    becomes(&bank, "bank_durability_given", 0).await;
    becomes(&bank, "bank_store_up", 0).await;
    redis.run(&["CONFIG", "SET", "appendfsync", "always"]);
    becomes(&bank, "bank_durability_given", 1).await;
    becomes(&bank, "bank_store_up", 1).await;

    redis.kill();
    becomes(&bank, "bank_store_up", 0).await;
    // The last known values stay.
    becomes(&bank, "bank_accounts", 3).await;
    becomes(&bank, "bank_durability_given", 1).await;
    redis.restart().await;
    // One connection for commits, and one for reads.
    until(&bank, |text| value(text, "bank_store_reconnects_total") >= 2.0).await;
    becomes(&bank, "bank_store_up", 1).await;
}

#[tokio::test]
async fn the_log_level_can_be_changed_at_runtime() {
    let bank = Bank::memory().await;
    assert_eq!(ask(&bank, "GET", "/log", "").await, (200, "bank=info,warn\n".to_owned()));
    assert_eq!(ask(&bank, "PUT", "/log", "debug\n").await, (200, "bank=debug,warn\n".to_owned()));
    run_session(&bank).await;
    bank.logged("Deposit done").await;
    assert_eq!(ask(&bank, "PUT", "/log", "h2=debug").await, (200, "bank=info,h2=debug,warn\n".to_owned()));
    let (code, text) = ask(&bank, "PUT", "/log", "=,=").await;
    assert_eq!(code, 400, "{text}");
    assert!(text.contains("write one of error, warn, info, debug, trace"), "{text}");
    assert_eq!(ask(&bank, "GET", "/log", "").await.1, "bank=info,h2=debug,warn\n");
    assert_eq!(ask(&bank, "PUT", "/log", &"x".repeat(5000)).await.0, 413);
}

#[tokio::test]
async fn unknown_admin_requests_get_http_errors() {
    let bank = Bank::memory().await;
    assert_eq!(ask(&bank, "GET", "/", "").await.0, 404);
    assert_eq!(ask(&bank, "POST", "/metrics", "").await.0, 405);
}

/// The bug: any web page could make a browser read the metrics and set the log level, under a host name that resolves
/// to this machine.
#[tokio::test]
async fn rejects_requests_from_web_pages() {
    let bank = Bank::memory_with(&["--set", "admin.hosts=bank-1, bank.internal"]).await;
    let port = address(&bank).await.port();
    for host in ["localhost", "127.0.0.1", "[::1]", "bank-1", "BANK.internal"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let headers = format!("host: {host}\r\n");
            assert_eq!(ask_with(&bank, "GET", "/healthz", &headers, "").await.0, 200, "{host}");
            let headers = format!("host: {host}\r\norigin: http://{host}\r\n");
            assert_eq!(ask_with(&bank, "PUT", "/log", &headers, "info").await.0, 200, "{host}");
        }
    }
    for path in ["/healthz", "/readyz", "/metrics", "/log", "/nothing"] {
        for method in ["GET", "PUT", "POST", "OPTIONS", "HEAD"] {
            let rebound = ask_with(&bank, method, path, "host: evil.example\r\n", "debug").await;
            assert_eq!(rebound.0, 421, "{method} {path}");
            assert!(method == "HEAD" || rebound.1.contains("admin.hosts"), "{rebound:?}");
            for origin in ["null", "http://evil.example", "http://localhost:1"] {
                let headers = format!("host: localhost:{port}\r\norigin: {origin}\r\n");
                assert_eq!(
                    ask_with(&bank, method, path, &headers, "debug").await.0,
                    403,
                    "{method} {path} {origin}"
                );
            }
            assert_eq!(ask_with(&bank, method, path, "", "debug").await.0, 400, "{method} {path}");
        }
    }
    assert_eq!(
        ask(&bank, "GET", "/log", "").await,
        (200, "bank=info,warn\n".to_owned()),
        "nothing of it had an effect"
    );
}

#[tokio::test]
async fn a_change_of_the_log_level_is_audited() {
    let bank = Bank::memory().await;
    assert_eq!(ask(&bank, "PUT", "/log", "debug").await.0, 200);
    assert_eq!(ask(&bank, "PUT", "/log", "error").await.0, 200);
    assert_eq!(ask(&bank, "PUT", "/log", "shout=loudly=").await.0, 400);
    bank.terminate().await;
    let lines = bank.lines();
    let changes: Vec<_> = lines.iter().filter(|line| line["event"] == "admin_port").collect();
    let values = |field| changes.iter().map(|line| line[field].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(values("method"), ["PUT /log", "PUT /log"]);
    assert_eq!(values("outcome"), ["Ok", "Ok"]);
    assert!(values("reason")[0].contains("debug") && values("reason")[1].contains("error"), "{changes:?}");
    assert!(values("peer")[0].starts_with("127.0.0.1:"), "{changes:?}");
}

/// The bug: connections to the admin port were neither limited nor closed, and used up the file descriptors of calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_few_and_short() {
    let bank = Bank::memory().await;
    let address = address(&bank).await;
    let dial = async |from: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, from], 0).into()).unwrap();
        socket.connect(address).await
    };
    let half_sent = ["", "GET /metr", "GET /metrics HTTP/1.1\r\nhost: localhost\r\n", PUT_WITHOUT_BODY];
    let mut open = Vec::new();
    for from in 10..30 {
        for number in 0..40 {
            // One above the limit is reset.
            let Ok(mut connection) = dial(from).await else { continue };
            let _ = connection.write_all(half_sent[number % half_sent.len()].as_bytes()).await;
            open.push(connection);
        }
    }
    let descriptors = fs::read_dir(format!("/proc/{}/fd", bank.id())).unwrap().count();
    assert!(descriptors < 64 + 100, "{descriptors} file descriptors are open");
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    // Each is closed soon, silently or with an error, and then others are accepted.
    for mut connection in open {
        let mut said = Vec::new();
        let _ = timeout(Duration::from_mins(1), connection.read_to_end(&mut said)).await.unwrap();
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&said));
    }
    assert_eq!(ask(&bank, "GET", "/healthz", "").await, (200, "ok\n".to_owned()));
    let large = "x".repeat(5000);
    assert_eq!(ask(&bank, "PUT", "/log", &large).await.0, 413);
}

const PUT_WITHOUT_BODY: &str = "PUT /log HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nde";
