//! The real binary: its start, its settings, and its shutdown.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use bank_proto::v1;
use futures::stream;
use http::uri::PathAndQuery;
use tokio::{net::TcpSocket, task::JoinHandle};
use tonic::{Code, Request, Response, Status, transport::Endpoint};
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};
use tonic_types::StatusExt as _;

use crate::support::{
    Bank, Process, Redis, admin,
    api::{connect, deposit, savings},
    health::{BANK_SERVICE, ServingStatus, becomes, channel, health, of},
};

/// Checks that a server works: it opens an account.
async fn assert_serves(bank: &Bank, account_id: &str) {
    connect(&bank.endpoint()).await.create_account(savings(account_id)).await.unwrap();
}

/// Runs it until it exits: the exit code and the output.
async fn ends(flags: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let process = Process::start_in(flags, variables);
    let code = process.wait_exit().await.code().unwrap();
    (code, process.log() + &process.errors())
}

/// A port that is taken, but not open: connections are refused for as long as the socket is kept.
fn redis_that_is_not_there() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("redis://{}", socket.local_addr().unwrap());
    (socket, url)
}

#[tokio::test]
async fn starts_without_configuration_and_logs_its_version() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("BANK__SERVER__LISTEN", "127.0.0.1:0")];
    let bank = Bank::of(Process::start_from(directory.path(), &[], &variables)).await;
    let lines = bank.lines();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    let started = format!("Server started on port {}", bank.port());
    assert_eq!(
        messages,
        [
            "starting bank-server",
            "TLS is off: connections are not encrypted",
            "authentication is off: callers need no token",
            "opening the file of the bank",
            "the store is open",
            "answering /metrics, /healthz, /readyz and /log",
            "listening for gRPC calls",
            &started
        ]
    );
    assert_eq!(lines[4]["store"], "embedded in data/bank.redb");
    assert_eq!(lines[4]["durability"], "what is acknowledged is on this machine's disk");
    assert_eq!(lines[6]["address"], format!("127.0.0.1:{}", bank.port()));
    assert!(lines.iter().all(|line| line["level"] == "INFO"));
    assert_eq!(bank.errors(), "");
    assert_serves(&bank, "a").await;
    assert!(directory.path().join("data/bank.redb").exists());
}

#[tokio::test]
async fn warns_that_the_memory_store_is_not_durable() {
    let bank = Bank::memory().await;
    let line = bank.logged("the store is open").await;
    assert_eq!(line["store"], "memory");
    assert_eq!(line["durability"], "none: everything is lost when this process ends");
    assert_serves(&bank, "a").await;
}

#[tokio::test]
async fn logs_the_address_and_durability_of_redis() {
    let redis = Redis::start_durable().await;
    let bank = Bank::on_redis(&redis).await;
    let line = bank.logged("the store is open").await;
    assert_eq!(line["store"], format!("redis at {}", redis.address()));
    assert_eq!(line["durability"], "every acknowledged write is on the disk of Redis");
    assert_serves(&bank, "a").await;
}

#[tokio::test]
async fn never_prints_a_password() {
    let redis = Redis::start_locked("s3cret").await;
    // With one partition, as each command is traced.
    let flags = ["--log-level", "trace", "--set", "log.filter=trace", "--set", "store.partitions=1"];
    let bank = Bank::on_redis_with(&redis, &flags).await;
    assert_serves(&bank, "a").await;
    assert!(bank.terminate().await.success());
    let log = bank.log() + &bank.errors();
    assert!(log.contains("TRACE") && !log.contains("s3cret"), "it prints the password");

    let wrong = redis.url().replace("s3cret", "n0tit");
    let (code, said) = ends(&["--redis-url", &wrong, "--set", "log.filter=trace"], &[]).await;
    assert_eq!(code, 1);
    assert!(said.contains("refuses the connection") && !said.contains("n0tit"), "{said}");
}

#[tokio::test]
async fn a_mistyped_command_line_does_not_reveal_its_password() {
    let url = "redis://user:s3cret@127.0.0.1:1";
    let jwt = ["--set", "auth.mode=jwt", "--set", "auth.jwt.issuer=x", "--set", "auth.jwt.audience=x"];
    for flags in [
        &[url][..],
        &["--set", url],
        &["--redis-ulr", url],
        &[&format!("--redis-ulr={url}")],
        &["--set", &format!("store.redis.url:{url}")],
        &["--config", url],
        &["--data", &format!("/dev/null/{url}/bank.redb")],
        &[&jwt[..], &["--set", "auth.jwt.jwks_url=http://127.0.0.1:1/keys?token=s3cret"]].concat(),
    ] {
        let flags = [flags, &["--listen", "127.0.0.1:0", "--admin-listen", "off"]].concat();
        let (code, said) = ends(&flags, &[]).await;
        assert!(code != 0 && !said.is_empty() && !said.contains("s3cret"), "{flags:?}: {said}");
    }
}

#[tokio::test]
async fn health_and_reflection_answer() {
    let bank = Bank::memory().await;
    assert_eq!(health(&bank, "").await, ServingStatus::Serving);
    assert_eq!(health(&bank, BANK_SERVICE).await, ServingStatus::Serving);
    let unknown = HealthClient::new(channel(&bank).await).check(of("bank.v2.BankService")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);

    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let requests = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("bank.v1.BankService.Deposit".to_owned())),
    ];
    let mut client = ServerReflectionClient::new(channel(&bank).await);
    let replies = client.server_reflection_info(stream::iter(requests)).await.unwrap();
    let mut replies = replies.into_inner();
    let MessageResponse::ListServicesResponse(list) =
        replies.message().await.unwrap().unwrap().message_response.unwrap()
    else {
        panic!("not a list");
    };
    let services: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for service in [BANK_SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(services.iter().any(|found| found == service), "{service} is not among {services:?}");
    }
    let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(reply, MessageResponse::FileDescriptorResponse(_)));

    // grpcurl and others may only know the older version.
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&bank).await);
    let replies = client.server_reflection_info(stream::iter([request])).await.unwrap();
    assert!(replies.into_inner().message().await.unwrap().is_some());
}

#[tokio::test]
async fn reflection_can_be_turned_off() {
    let bank = Bank::memory_with(&["--set", "server.reflection=false"]).await;
    let mut client = ServerReflectionClient::new(channel(&bank).await);
    let refused = client.server_reflection_info(stream::empty()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections_and_streams() {
    for signal in ["TERM", "INT"] {
        // Far longer than a test waits for its end.
        let bank = Bank::memory_with(&["--set", "server.shutdown_grace_ms=600000"]).await;
        // An idle client, a health watch, an open reflection stream, a silent connection.
        let _idle = connect(&bank.endpoint()).await;
        let mut watcher = HealthClient::new(channel(&bank).await);
        let mut states = watcher.watch(of(BANK_SERVICE)).await.unwrap().into_inner();
        assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        let mut asker = ServerReflectionClient::new(channel(&bank).await);
        let _answers = asker.server_reflection_info(stream::pending()).await.unwrap();
        let _silent = TcpStream::connect(("127.0.0.1", bank.port())).unwrap();

        bank.signal(signal);
        let mut last = ServingStatus::Serving;
        while let Some(state) = states.message().await.unwrap() {
            last = state.status();
        }
        assert_eq!(last, ServingStatus::NotServing);
        assert_eq!(bank.wait_exit().await.code(), Some(0));
        assert_eq!(bank.logged("stopping").await["signal"], format!("SIG{signal}"));
        bank.logged("stopped: all work is finished").await;
    }
}

/// A bank that stops while a deposit waits for a frozen Redis.
async fn stopping_bank(
    redis: &Redis,
    flags: &[&str],
) -> (Bank, JoinHandle<Result<Response<v1::DepositResponse>, Status>>) {
    let bank = Bank::on_redis_with(redis, flags).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    redis.freeze();
    let in_flight = tokio::spawn(async move { client.deposit(deposit("a", 5)).await });
    admin::taken(&bank, 2).await;
    bank.signal("TERM");
    bank.logged("stopping").await;
    (bank, in_flight)
}

#[tokio::test]
async fn shutdown_finishes_calls_in_flight_and_accepts_no_more() {
    let redis = Redis::start().await;
    let flags = ["--set", "store.redis.command_timeout_ms=10000"];
    let (bank, in_flight) = stopping_bank(&redis, &flags).await;
    let late = async || Endpoint::from_shared(bank.endpoint()).unwrap().connect().await;
    while late().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(bank.exit().is_none(), "it waits for the call");
    redis.thaw();
    assert_eq!(in_flight.await.unwrap().unwrap().into_inner().balance.unwrap().minor_units, 5);
    assert_eq!(bank.wait_exit().await.code(), Some(0));
}

/// The bug: a call whose message never arrived was waited for without end, and so was shutdown.
#[tokio::test]
async fn a_call_whose_message_never_arrives_ends_with_a_timeout() {
    let bank = Bank::memory_with(&["--set", "server.request_timeout_ms_max=300"]).await;
    let mut caller = tonic::client::Grpc::new(channel(&bank).await);
    caller.ready().await.unwrap();
    let refused = caller
        .client_streaming::<_, v1::DepositRequest, v1::DepositResponse, _>(
            Request::new(stream::pending()),
            PathAndQuery::from_static("/bank.v1.BankService/Deposit"),
            ProstCodec::default(),
        )
        .await
        .unwrap_err();
    assert!(matches!(refused.code(), Code::Cancelled | Code::DeadlineExceeded), "{refused:?}");
    assert_eq!(bank.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn shutdown_is_bounded_by_the_grace_period_and_ends_at_a_second_signal() {
    for (grace, second, ending) in [
        ("server.shutdown_grace_ms=400", false, "stopped after server.shutdown_grace_ms"),
        ("server.shutdown_grace_ms=600000", true, "a second signal"),
    ] {
        let redis = Redis::start().await;
        let flags = ["--set", "store.redis.command_timeout_ms=600000", "--set", grace];
        let (bank, in_flight) = stopping_bank(&redis, &flags).await;
        if second {
            bank.signal("TERM");
        }
        assert_eq!(bank.wait_exit().await.code(), Some(1));
        let line = bank.logged(ending).await;
        assert_eq!(line["level"], "ERROR");
        assert!(second || line["calls_cut_off"] == 1, "{line}");
        // The connection ended with the server: an error of the client, not of the bank.
        let cut_off = in_flight.await.unwrap().unwrap_err();
        assert!(cut_off.get_error_details().error_info().is_none(), "{cut_off:?}");
    }
}

#[tokio::test]
async fn reports_not_serving_while_the_store_is_unavailable() {
    let redis = Redis::start().await;
    let flags = ["--set", "health.poll_interval_ms=20", "--set", "health.poll_timeout_ms=200"];
    let bank = Bank::on_redis_with(&redis, &flags).await;
    let mut watcher = HealthClient::new(channel(&bank).await);
    let mut states = watcher.watch(of(BANK_SERVICE)).await.unwrap().into_inner();
    let mut next = async || states.message().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);

    redis.freeze();
    becomes(&bank, ServingStatus::NotServing).await;
    assert_eq!(next().await, ServingStatus::NotServing);
    // It keeps answering, and logs this once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.thaw();
    becomes(&bank, ServingStatus::Serving).await;
    assert_eq!(next().await, ServingStatus::Serving);
    let times = |message: &str| bank.lines().iter().filter(|line| line["message"] == message).count();
    assert_eq!(
        (times("the store is unavailable: not serving"), times("the store is available again: serving")),
        (1, 1)
    );
    assert_serves(&bank, "a").await;
}

#[tokio::test]
async fn gives_up_after_a_bounded_wait_for_redis() {
    let (_taken, url) = redis_that_is_not_there();
    let within = ["--redis-url", &url, "--set", "store.redis.connect_timeout_ms=700"];
    let (code, said) = ends(&within, &[("BANK__SERVER__LISTEN", "127.0.0.1:0")]).await;
    assert_eq!(code, 1);
    for part in
        ["connecting to redis", &url, "could not be reached within 700 ms", "--redis-url", "--store embedded"]
    {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[tokio::test]
async fn a_signal_ends_the_wait_for_redis() {
    let (_taken, url) = redis_that_is_not_there();
    let process = Process::start(&["--redis-url", &url, "--set", "store.redis.connect_timeout_ms=60000"]);
    process.logged("connecting to redis").await;
    assert_eq!(process.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn reports_an_address_that_cannot_be_bound() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = ends(&["--listen", &address], &[]).await;
    assert_eq!(code, 1);
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("--listen"), "{said}");
    assert_eq!(said.matches("Address already in use").count(), 1, "{said}");

    let elsewhere = ["--listen", "192.0.2.1:50051", "--set", "auth.allow_unauthenticated_network=true"];
    let (code, said) = ends(&elsewhere, &[]).await;
    assert_eq!(code, 1);
    assert!(said.contains("this machine does not have that address"), "{said}");
}

#[tokio::test]
async fn invalid_settings_end_the_start() {
    for (flags, variables, parts) in [
        (&["--set", "server.listn=x"][..], &[][..], &["server.listn (the flag --set)", "server.listen?"][..]),
        (&[], &[("BANK__SERVER__LISTEN", "x")], &["the environment variable BANK__SERVER__LISTEN"]),
        (
            &["--store", "redsi"],
            &[],
            &["\"redsi\" (the flag --store)", "\"embedded\", \"memory\", \"redis\""],
        ),
        (&["--config", "/nowhere.toml"], &[], &["/nowhere.toml cannot be read"]),
        (&[], &[("BANK_CONFIG", "/nowhere.toml")], &["/nowhere.toml cannot be read"]),
        (&["--check"], &[("BANK__LOG__LEVEL", "loud")], &["log.level = \"loud\""]),
        (&["--lissten", "x"], &[], &["--listen"]),
    ] {
        let process = Process::start_in(flags, variables);
        assert_eq!(process.wait_exit().await.code(), Some(2), "{flags:?}");
        assert_eq!(process.log(), "");
        for part in parts {
            assert!(process.errors().contains(part), "{part:?} is not in: {}", process.errors());
        }
    }
}

#[tokio::test]
async fn checks_and_prints_settings_without_starting() {
    assert_eq!(ends(&["--check"], &[]).await, (0, "ok\n".to_owned()));
    let (code, said) = ends(
        &["--print-config", "--redis-url", "redis://user:s3cret@h:1"],
        &[("BANK__SERVER__SHUTDOWN_GRACE_MS", "5")],
    )
    .await;
    assert_eq!(code, 0);
    assert!(said.contains("shutdown_grace_ms = 5 # the environment variable"), "{said}");
    assert!(said.contains("[redacted]@h:1") && !said.contains("s3cret"), "{said}");
    let (code, said) = ends(&["--help"], &[]).await;
    assert!(code == 0 && said.contains("Examples:") && said.contains("BANK__SECTION__SETTING"), "{said}");
}

#[tokio::test]
async fn rejects_an_oversized_message_and_keeps_serving() {
    let bank = Bank::memory().await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    for bytes in [64 * 1024, 3 << 20] {
        let request = v1::DepositRequest { description: "x".repeat(bytes), ..deposit("a", 5) };
        let refused = client.deposit(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        assert!(refused.message().contains("server.message_bytes_max allows: 65536 bytes"), "{refused:?}");
    }
    // On the same connection, too.
    client.deposit(deposit("a", 5)).await.unwrap();
    assert_serves(&bank, "b").await;
}

#[tokio::test]
async fn garbage_closes_its_connection_and_the_server_keeps_serving() {
    let bank = Bank::memory().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 is TLS, which is not spoken here",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff and no frames",
        &[0; 10_000],
    ] {
        let mut connection = TcpStream::connect(("127.0.0.1", bank.port())).unwrap();
        connection.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        // The server may close before it has read all of it.
        let _ = connection.write_all(garbage);
        let mut answer = Vec::new();
        if let Err(error) = connection.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it leaves the connection open");
        }
    }
    assert_serves(&bank, "a").await;
    assert!(bank.terminate().await.success());
}

/// Output that cannot be written is an error, and reported.
#[test]
fn fails_if_its_output_cannot_be_written() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for flag in ["--print-config", "--check", "--help", "--version"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bank-server"));
        let output = command.arg(flag).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{flag}");
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(
            complaint.starts_with("cannot write to standard output: No space left"),
            "{flag}: {complaint}"
        );
    }
}
