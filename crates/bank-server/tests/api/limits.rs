//! Callers above their limits, and attackers: each is rejected or bounded, while a well-behaved
//! client is served throughout.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{future::poll_fn, time::Duration};

use bank_proto::v1;
use bytes::Bytes;
use h2::Reason;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{
    Bank, Redis, admin,
    api::{connect, deposit, failed, savings, succeeded},
    hostile::{DEPOSIT, LIST, PATIENCE, PREFACE, WellBehaved, dial, framed, is_closed, post, report, speak},
    tokens::{CUSTOMER, Issuer},
    until,
};

#[tokio::test]
async fn a_rate_limited_caller_gets_a_retry_delay_and_others_are_served() {
    let issuer = Issuer::new();
    let flags = ["--set", "callers.calls_per_second_max=1", "--set", "callers.calls_burst_max=3"];
    let bank = Bank::with_tokens(&issuer, &flags).await;
    let mut busy = issuer.caller(&bank.endpoint(), "busy", CUSTOMER).await;
    busy.create_account(savings("b")).await.unwrap();
    busy.deposit(deposit("b", 1)).await.unwrap();
    busy.deposit(deposit("b", 1)).await.unwrap();
    let (started, mut admitted) = (Instant::now(), 0);
    for _ in 0..200 {
        let result = busy.deposit(deposit("b", 1)).await;
        if result.is_ok() {
            admitted += 1;
            continue;
        }
        let error = failed(result);
        assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "RATE_LIMITED"), "{error:?}");
        assert_eq!(error.metadata["calls_per_second_max"], "1");
        let delay = error.details.retry_info().unwrap().retry_delay.unwrap();
        assert!(!delay.is_zero() && delay <= Duration::from_secs(1), "{delay:?}");
        assert_eq!(
            error.details.quota_failure().unwrap().violations[0].subject,
            "callers.calls_per_second_max"
        );
    }
    assert!(admitted <= started.elapsed().as_secs() + 1, "one a second, and not more: {admitted}");
    // Another connection of the same caller has the same limit; another caller has its own.
    let mut again = issuer.caller(&bank.endpoint(), "busy", CUSTOMER).await;
    let more = [again.deposit(deposit("b", 1)).await, again.deposit(deposit("b", 1)).await];
    assert!(
        more.into_iter().any(|result| result.is_err_and(|status| status.code() == Code::ResourceExhausted))
    );
    let mut other = issuer.caller(&bank.endpoint(), "other", CUSTOMER).await;
    other.create_account(savings("o")).await.unwrap();

    bank.terminate().await;
    let lines = bank.lines();
    let audited: Vec<_> = lines.iter().filter(|line| line["event"] == "rate_limited").collect();
    assert!((1..30).contains(&audited.len()), "at a bounded rate: {}", audited.len());
    assert_eq!((&audited[0]["subject"], &audited[0]["method"]), (&"busy".into(), &"Deposit".into()));
}

#[tokio::test]
async fn without_authentication_each_address_is_a_caller() {
    let flags = ["--set", "callers.calls_per_second_max=1", "--set", "callers.calls_burst_max=1"];
    let bank = Bank::memory_with(&flags).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    assert_eq!(failed(client.deposit(deposit("a", 1)).await).reason, "RATE_LIMITED");
    let (requests, _connection) = speak(&bank, &h2::client::Builder::new()).await;
    let (response, _) = requests.ready().await.unwrap().send_request(post(DEPOSIT), true).unwrap();
    let response = response.await.unwrap();
    assert_ne!(response.headers().get("grpc-status").unwrap(), "8", "another address is another caller");
}

#[tokio::test]
async fn limits_calls_in_flight_per_caller_and_in_total_but_not_health_checks() {
    let issuer = Issuer::new();
    let redis = Redis::start().await;
    let flags = ["--set", "server.calls_in_flight_max=3", "--set", "callers.calls_in_flight_max=2"];
    let bank = Bank::with_tokens_on(&redis, &issuer, &flags).await;
    let alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
    let bob = issuer.caller(&bank.endpoint(), "bob", CUSTOMER).await;
    alice.clone().create_account(savings("a")).await.unwrap();
    bob.clone().create_account(savings("b")).await.unwrap();
    redis.freeze();
    let mut waiting = JoinSet::new();
    for (in_flight, caller, account_id) in [(1, &alice, "a"), (2, &alice, "a"), (3, &bob, "b")] {
        let mut caller = caller.clone();
        waiting.spawn(async move { caller.deposit(deposit(account_id, 1)).await.map(drop) });
        admin::becomes(&bank, "bank_calls_in_flight", in_flight).await;
    }
    let error = failed(alice.clone().deposit(deposit("a", 1)).await);
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "TOO_MANY_CALLS"), "{error:?}");
    assert_eq!(error.details.quota_failure().unwrap().violations[0].subject, "callers.calls_in_flight_max");
    let error = failed(bob.clone().deposit(deposit("b", 1)).await);
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "OVERLOADED"), "{error:?}");
    assert_eq!(error.metadata["calls_in_flight_max"], "3");
    assert!(error.details.retry_info().unwrap().retry_delay.is_some());
    assert_eq!(error.details.quota_failure().unwrap().violations[0].subject, "server.calls_in_flight_max");
    let channel = tonic::transport::Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    redis.thaw();
    for outcome in waiting.join_all().await {
        outcome.unwrap();
    }
    // Their permits are free again.
    alice.clone().deposit(deposit("a", 1)).await.unwrap();
}

#[tokio::test]
async fn limits_health_watches_but_not_health_checks() {
    let bank = Bank::memory_with(&["--set", "server.streams_max=2"]).await;
    let channel = tonic::transport::Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let first = health.watch(HealthCheckRequest::default()).await.unwrap();
    let _second = health.watch(HealthCheckRequest::default()).await.unwrap();
    let error = failed(health.watch(HealthCheckRequest::default()).await);
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "OVERLOADED"), "{error:?}");
    assert_eq!(error.details.quota_failure().unwrap().violations[0].subject, "server.streams_max");
    health.check(HealthCheckRequest::default()).await.unwrap();
    drop(first);
    until("its permit is free again", async || {
        succeeded(health.watch(HealthCheckRequest::default()).await, "OVERLOADED")
    })
    .await;
}

/// Ten thousand connections that never send anything, from ten addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_idle_connections_per_peer_and_in_total() {
    const EACH: usize = 1_000;
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).unwrap();
    let bounds = ["server.connections_max=1500", "server.connections_per_peer_max=600"];
    let bank = Bank::memory_with(&[
        "--set",
        bounds[0],
        "--set",
        bounds[1],
        "--set",
        "server.first_call_timeout_ms=600000",
    ])
    .await;
    let before_kib = bank.memory_kib();
    let good = WellBehaved::start(&bank).await;
    let mut open = Vec::new();
    for from in 10..20 {
        let dialled = futures::future::join_all((0..EACH).map(|_| dial(&bank, from))).await;
        open.extend(dialled.into_iter().flatten());
        // One peer does not get more. One connection is that of the well-behaved client.
        let expected = (usize::from(from - 9) * 600).min(1_500 - 1);
        keep_open_ones(&mut open, expected).await;
    }
    let full_kib = report(&format!("{} idle connections", open.len()), &bank, before_kib);
    assert!(full_kib < before_kib + 128 * 1024, "{full_kib} KiB");
    // Their permits are free for others.
    drop(open);
    let until = Instant::now() + PATIENCE;
    loop {
        let mut next = dial(&bank, 1).await.unwrap();
        if timeout(Duration::from_millis(100), is_closed(&mut next)).await.is_err() {
            break;
        }
        assert!(Instant::now() < until, "there is room again");
    }
    assert!(good.stop().await > 10);
    bank.terminate().await;
    let lines = bank.lines();
    let said: Vec<_> = lines.iter().filter(|line| line["message"] == "turned connections away").collect();
    assert!((1..60).contains(&said.len()), "at a bounded rate: {}", said.len());
    let counted: u64 = said.iter().map(|line| line["connections"].as_u64().unwrap()).sum();
    assert!(counted > 500, "and with how many there were: {counted}");
}

/// Drops the connections that the server closes, until `expected` are left. Those stay open.
async fn keep_open_ones(streams: &mut Vec<TcpStream>, expected: usize) {
    let drop_closed = |streams: &mut Vec<TcpStream>| {
        streams.retain(|stream| match stream.try_read(&mut [0; 1024]) {
            // The server's greeting.
            Ok(length) => length > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
    };
    let until = Instant::now() + PATIENCE;
    while streams.len() > expected {
        assert!(Instant::now() < until, "{} are open, and not {expected}", streams.len());
        sleep(Duration::from_millis(20)).await;
        drop_closed(streams);
    }
    sleep(Duration::from_millis(300)).await;
    drop_closed(streams);
    assert_eq!(streams.len(), expected);
}

#[tokio::test]
async fn a_connection_that_makes_no_call_is_closed() {
    let bank = Bank::memory_with(&["--set", "server.first_call_timeout_ms=300"]).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let whole = [PREFACE, &settings].concat();
    let closed = [&b""[..], &PREFACE[..10], PREFACE, &whole].map(async |begins| {
        let mut stream = dial(&bank, 1).await.unwrap();
        stream.write_all(begins).await.unwrap();
        assert!(timeout(PATIENCE, is_closed(&mut stream)).await.unwrap(), "{begins:?}");
    });
    futures::future::join_all(closed).await;
    // Byte by byte does not help.
    let mut stream = dial(&bank, 1).await.unwrap();
    let until = Instant::now() + PATIENCE;
    let mut bytes = PREFACE.iter().cycle();
    while stream.write_all(&[*bytes.next().unwrap()]).await.is_ok() {
        assert!(Instant::now() < until, "it is closed while it still sends");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn closes_an_idle_connection_and_keeps_one_with_a_call() {
    let bank = Bank::memory_with(&["--set", "server.idle_timeout_ms=600"]).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let (requests, connection) = speak(&bank, &h2::client::Builder::new()).await;
    let mut requests = requests.ready().await.unwrap();
    let (response, _) = requests.send_request(post(DEPOSIT), true).unwrap();
    response.await.unwrap();
    timeout(PATIENCE, connection).await.unwrap().unwrap();
    // Meanwhile the client was idle for as long; it reconnects by itself.
    sleep(Duration::from_secs(1)).await;
    client.deposit(deposit("a", 1)).await.unwrap();
    // A connection with a call in flight is not idle.
    let channel = tonic::transport::Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap();
    let mut watched =
        HealthClient::new(channel).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watched.message().await.unwrap().unwrap();
    assert!(timeout(Duration::from_secs(3), watched.message()).await.is_err(), "it is still there");
}

/// CVE-2023-44487: calls that are reset as soon as they are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_are_bounded() {
    const CALLS: usize = 50_000;
    let bank = Bank::memory().await;
    let before_kib = bank.memory_kib();
    let good = WellBehaved::start(&bank).await;
    let (mut calls, mut connections) = (0, 0);
    while calls < CALLS {
        connections += 1;
        let (mut requests, connection) = speak(&bank, &h2::client::Builder::new()).await;
        while calls < CALLS {
            match requests.ready().await {
                Ok(ready) => requests = ready,
                Err(_) => break,
            }
            let Ok((response, mut stream)) = requests.send_request(post(DEPOSIT), false) else { break };
            stream.send_reset(Reason::CANCEL);
            drop(response);
            calls += 1;
        }
        connection.abort();
    }
    let after_kib = report(&format!("{calls} resets on {connections} connections"), &bank, before_kib);
    assert!(after_kib < before_kib + 64 * 1024, "{after_kib} KiB");
    assert!(good.stop().await > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_headers_and_messages_are_rejected() {
    // Calls with oversized headers do not count as calls: their connection would be closed as idle.
    let bank = Bank::memory_with(&["--set", "server.first_call_timeout_ms=600000"]).await;
    let before_kib = bank.memory_kib();
    let good = WellBehaved::start(&bank).await;

    let (mut requests, _connection) = speak(&bank, &h2::client::Builder::new()).await;
    for _ in 0..100 {
        requests = requests.ready().await.unwrap();
        let mut request = post(DEPOSIT);
        // Up to twice server.header_bytes_max a caller gets a gRPC error: see edge.rs.
        for number in 0..9 {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
            request.headers_mut().insert(name, "x".repeat(4_000).parse().unwrap());
        }
        let (response, _) = requests.send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), 431);
    }
    // A header that never ends: CONTINUATION after CONTINUATION.
    let mut stream = dial(&bank, 9).await.unwrap();
    stream
        .write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 0, 1, 0, 0, 0, 0, 1]].concat())
        .await
        .unwrap();
    // A literal header, `a: aaa...`, of 16,000 bytes.
    let block = [&[0x00, 0x01, b'a', 0x7f, 0x81, 0x7c][..], &[b'a'; 16_000]].concat();
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    let frame = [&length[1..], &[9, 0, 0, 0, 0, 1], &block].concat();
    let until = Instant::now() + PATIENCE;
    while stream.write_all(&frame).await.is_ok() {
        assert!(Instant::now() < until, "it is cut off");
    }

    let mut client = connect(&bank.endpoint()).await;
    let description = "d".repeat(70_000);
    let error = failed(client.deposit(v1::DepositRequest { description, ..deposit("good", 1) }).await);
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"), "{error:?}");
    // The length alone is enough for a rejection: the server does not wait for 4 GiB, nor reserve memory for them.
    for length in [u32::MAX, 65_537] {
        requests = requests.ready().await.unwrap();
        let (response, mut body) = requests.send_request(post(DEPOSIT), false).unwrap();
        body.send_data([&[0][..], &length.to_be_bytes()].concat().into(), false).unwrap();
        let response = timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(response.headers().get("grpc-status").unwrap(), "8");
    }
    let after_kib = report("oversized headers and messages", &bank, before_kib);
    assert!(after_kib < before_kib + 64 * 1024, "{after_kib} KiB");
    assert!(good.stop().await > 10);
}

/// An account with a history whose page is more than a megabyte.
async fn with_long_history(flags: &[&str]) -> Bank {
    let bank = Bank::memory_with(flags).await;
    let client = connect(&bank.endpoint()).await;
    client.clone().create_account(savings("long")).await.unwrap();
    let mut writers = JoinSet::new();
    for _ in 0..10 {
        let mut client = client.clone();
        writers.spawn(async move {
            for _ in 0..100 {
                let description = "€".repeat(256);
                client.deposit(v1::DepositRequest { description, ..deposit("long", 1) }).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    bank
}

fn page() -> Bytes {
    let request =
        v1::ListTransactionsRequest { account_id: "long".to_owned(), page_size: 1000, ..Default::default() };
    framed(&request)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_replies_are_bounded_and_their_calls_reset() {
    // How long a reply may stay unread and a call may take: longer than all calls below together.
    let flags = [
        "--set",
        "server.request_timeout_ms_max=12000",
        "--set",
        "callers.calls_in_flight_max=20",
        // Otherwise they wait for memory.
        "--set",
        "server.buffered_bytes_max=268435456",
        "--set",
        "callers.buffered_bytes_max=268435456",
    ];
    let bank = with_long_history(&flags).await;
    let before_kib = bank.memory_kib();
    let good = WellBehaved::start(&bank).await;

    let mut stalling = h2::client::Builder::new();
    stalling.initial_window_size(1);
    let (mut requests, _connection) = speak(&bank, &stalling).await;
    let (mut responses, mut refused) = (Vec::new(), 0);
    for _ in 0..100 {
        requests = requests.ready().await.unwrap();
        let (response, mut body) = requests.send_request(post(LIST), false).unwrap();
        // A rejected call may be over before its message is sent.
        let _ = body.send_data(page(), true);
        let response = response.await.unwrap();
        // A reply of headers alone is a rejection. The others hold their permits with what they do not read.
        refused += usize::from(response.headers().contains_key("grpc-status"));
        responses.push(response);
    }
    let stalled_kib = report("100 replies of a megabyte that nobody takes", &bank, before_kib);
    assert_eq!(refused, 80);
    assert!(stalled_kib < before_kib + 128 * 1024, "{stalled_kib} KiB");
    for response in responses {
        let mut reply = response.into_body();
        // What has arrived can be read.
        while let Some(part) = timeout(PATIENCE, reply.data()).await.unwrap() {
            if let Err(error) = part {
                assert_eq!(error.reason(), Some(Reason::CANCEL));
                refused += 1;
                break;
            }
        }
    }
    assert_eq!(refused, 100);
    // Their permits are free, and the connection can be used.
    requests = requests.ready().await.unwrap();
    let (response, mut body) = requests.send_request(post(DEPOSIT), false).unwrap();
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let response = timeout(PATIENCE, response).await.unwrap().unwrap();
    assert_eq!(response.headers().get("grpc-status").unwrap(), "3");
    assert!(good.stop().await > 100);
    report("after the calls were reset", &bank, before_kib);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_but_steady_reader_gets_the_whole_reply() {
    let flags = ["--set", "server.request_timeout_ms_max=2000", "--set", "ledger.outcome_timeout_ms=1000"];
    let bank = with_long_history(&flags).await;
    let mut slow = h2::client::Builder::new();
    slow.initial_window_size(16_384);
    let (requests, _connection) = speak(&bank, &slow).await;
    let mut requests = requests.ready().await.unwrap();
    let (response, mut body) = requests.send_request(post(LIST), false).unwrap();
    body.send_data(page(), true).unwrap();
    let mut reply = response.await.unwrap().into_body();
    let (started, mut bytes) = (Instant::now(), 0);
    while let Some(part) = reply.data().await {
        let part = part.unwrap();
        bytes += part.len();
        sleep(Duration::from_millis(90)).await;
        reply.flow_control().release_capacity(part.len()).unwrap();
    }
    assert!(bytes > 700_000, "{bytes}");
    assert!(started.elapsed() > Duration::from_secs(4), "that was longer than a reply may lie about");
    assert_eq!(reply.trailers().await.unwrap().unwrap().get("grpc-status").unwrap(), "0");
}

#[tokio::test]
async fn a_call_whose_message_never_arrives_ends_with_its_deadline() {
    let flags = ["--set", "server.request_timeout_ms_max=300", "--set", "ledger.outcome_timeout_ms=200"];
    let bank = Bank::memory_with(&flags).await;
    let (requests, _connection) = speak(&bank, &h2::client::Builder::new()).await;
    let (response, mut body) = requests.ready().await.unwrap().send_request(post(DEPOSIT), false).unwrap();
    body.send_data(Bytes::from_static(&[0, 0, 0]), false).unwrap();
    let response = timeout(PATIENCE, response).await.unwrap().unwrap();
    assert_eq!(response.headers().get("grpc-status").unwrap(), "4");
    // The server does not need the rest.
    let reset = timeout(PATIENCE, poll_fn(|context| body.poll_reset(context))).await.unwrap();
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
}
