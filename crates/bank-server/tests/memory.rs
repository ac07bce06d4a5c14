//! Attacks on the memory of the server, by callers with and without a token. Each takes all that it can get. The server
//! stays below one limit, and serves a well-behaved client throughout. Each test also checks that its attack took place.
//!
//! The bug: none of this was bounded in bytes. Requests that were never finished took 777 MiB without a token, and
//! replies that nobody read 1.3 GiB.

#![expect(clippy::print_stderr, reason = "the server's memory is a figure to read")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{future::poll_fn, path::Path, time::Duration};

use bank_proto::v1::{self, operation::Kind};
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{
    Bank, Files, admin,
    api::{batch, connect, deposit, savings},
    certificates::{Authority, Certified},
    hostile::{
        DEPOSIT, LIST, PATIENCE, PREFACE, WellBehaved, dial, framed, post, post_as, report_peak, speak_from,
        unfinished,
    },
    tokens::{CUSTOMER, Issuer},
    until,
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};

/// The peak memory of the server may not exceed this in any attack.
const MEMORY_KIB_MAX: u64 = 256 * 1024;
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const BATCH: &str = "/bank.v1.BankService/ExecuteBatch";
const BATCHES: &str = "/bank.v1.BankService/ExecuteStream";
const WATCH: &str = "/bank.v1.BankService/WatchTransactions";

/// An unfinished call, with all that keeps it open.
type Open = (ResponseFuture, h2::SendStream<Bytes>);

/// Begins a call and leaves it unfinished; `None` if the connection accepts no more.
async fn begin(requests: &mut SendRequest<Bytes>, request: http::Request<()>, says: Bytes) -> Option<Open> {
    timeout(PATIENCE, poll_fn(|context| requests.poll_ready(context))).await.unwrap().ok()?;
    let (response, mut body) = requests.send_request(request, false).ok()?;
    let _ = body.send_data(says, false);
    Some((response, body))
}

/// Makes a call and reads nothing of its reply.
async fn ask(requests: &mut SendRequest<Bytes>, request: http::Request<()>, says: Bytes) -> Option<Open> {
    let (response, mut body) = begin(requests, request, says).await?;
    let _ = body.send_data(Bytes::new(), true);
    Some((response, body))
}

fn with_descriptors() {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).unwrap();
}

/// A well-behaved client with a token and its own connection.
async fn well_behaved(bank: &Bank, issuer: &Issuer) -> WellBehaved {
    let mut client = issuer.caller(&bank.endpoint(), "good", CUSTOMER).await;
    client.create_account(savings("good")).await.unwrap();
    WellBehaved::with(move || {
        let mut client = client.clone();
        async move { client.deposit(deposit("good", 1)).await.unwrap().into_inner() }
    })
}

/// Waits until an attack has taken all that it can get: the server has needed no more memory for two seconds.
async fn settled(bank: &Bank) {
    let (mut peak_kib, give_up_at) = (0, Instant::now() + PATIENCE);
    while peak_kib < bank.memory_peak_kib() {
        assert!(Instant::now() < give_up_at, "the server needs more and more memory: {peak_kib} KiB");
        peak_kib = bank.memory_peak_kib();
        sleep(Duration::from_secs(2)).await;
    }
}

/// Checks that an attack takes place: a gauge of the server, such as its open files or its calls in flight, has
/// reached this value.
async fn reaches(bank: &Bank, series: &str, value_min: u32) {
    until(&format!("{series} reaches {value_min}"), async || {
        admin::value(&admin::metrics(bank).await, series) >= f64::from(value_min)
    })
    .await;
}

/// Ends an attack: the server has stayed below the limit, and has served the well-behaved client.
async fn survived(what: &str, bank: &Bank, good: WellBehaved) {
    let peak_kib = report_peak(what, bank);
    let (calls, longest) = timeout(PATIENCE, good.stop_with_longest()).await.unwrap();
    eprintln!("{what}: a well-behaved client made {calls} calls, the longest took {longest:?}");
    assert!(peak_kib <= MEMORY_KIB_MAX, "{what}: {} MiB", peak_kib / 1024);
    assert!(calls > 0, "{what}: no call");
}

/// Many connections of HTTP/2, without calls.
async fn connections(
    bank: &Bank,
    count: usize,
    from: u8,
    builder: &Builder,
) -> Vec<(SendRequest<Bytes>, JoinHandle<()>)> {
    let mut open = Vec::new();
    while open.len() < count {
        let some = (0..50.min(count - open.len())).map(|_| speak_from(bank, from, builder));
        open.extend(futures::future::join_all(some).await);
    }
    open
}

/// Makes a health check, as a load balancer would.
async fn is_healthy(bank: &Bank) {
    let channel = tonic::transport::Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap();
    let check = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    drop(check.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_health_checks_are_bounded_in_memory() {
    with_descriptors();
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let good = well_behaved(&bank, &issuer).await;
    let says = unfinished(65_000, 64_000);
    let mut open = connections(&bank, 950, 9, &Builder::new()).await;
    let mut calls = Vec::new();
    for (requests, _) in &mut open {
        for _ in 0..8 {
            calls.extend(begin(requests, post(CHECK), says.clone()).await);
        }
    }
    assert_eq!(calls.len(), 950 * 8);
    reaches(&bank, "process_open_fds", 950).await;
    settled(&bank).await;
    is_healthy(&bank).await;
    survived("950 connections with 8 unfinished health checks of 64 KiB each", &bank, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_and_unread_reflection_calls_are_bounded() {
    with_descriptors();
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let good = well_behaved(&bank, &issuer).await;
    let says = unfinished(65_000, 64_000);
    let mut stalling = Builder::new();
    stalling.initial_window_size(0);
    let mut open = connections(&bank, 100, 9, &stalling).await;
    // Asks for the longest reply again and again.
    let symbol = MessageRequest::FileContainingSymbol("bank.v1.BankService".to_owned());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let asks: Bytes = framed(&request).repeat(1_500).into();
    let mut calls = Vec::new();
    for (index, (requests, _)) in open.iter_mut().enumerate() {
        for _ in 0..10 {
            let says = if index % 2 == 0 { says.clone() } else { asks.clone() };
            calls.extend(begin(requests, post(REFLECTION), says).await);
        }
    }
    assert_eq!(calls.len(), 100 * 10);
    settled(&bank).await;
    is_healthy(&bank).await;
    survived("1,000 reflection calls, unfinished or unread", &bank, good).await;
}

/// The reply fits into what HTTP/2 keeps by itself, so that the call seems to be over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_replies_of_health_checks_are_bounded_in_memory() {
    with_descriptors();
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let good = well_behaved(&bank, &issuer).await;
    let mut stalling = Builder::new();
    stalling.initial_window_size(1);
    let (mut open, mut replies) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        // One after the other: a connection that makes no call for some seconds is closed.
        let (mut requests, connection) = speak_from(&bank, 9, &stalling).await;
        let mut responses = Vec::new();
        // With a hundred unread replies of a few bytes, the client's own HTTP/2 gives up the connection.
        for _ in 0..90 {
            let asked = ask(&mut requests, post(CHECK), Bytes::from_static(&[0; 5])).await;
            responses.push(asked.unwrap().0);
        }
        // Their headers arrive. This is about memory, and not about how many calls there are at a time.
        replies.extend(futures::future::try_join_all(responses).await.unwrap());
        open.push((requests, connection));
    }
    // The others are rejected, with headers alone.
    let unread = replies.iter().filter(|reply| !reply.headers().contains_key("grpc-status")).count();
    assert!((500..replies.len() / 2).contains(&unread), "{unread} replies wait for their reader");
    settled(&bank).await;
    is_healthy(&bank).await;
    survived("100 connections with 90 health checks each whose replies are not read", &bank, good).await;
}

/// Connections that send the beginning of something.
async fn say_on_each(bank: &Bank, count: usize, says: &[u8]) -> Vec<TcpStream> {
    let mut open = Vec::new();
    while open.len() < count {
        let some = (0..50.min(count - open.len())).map(async |_| {
            let mut stream = dial(bank, 9).await.unwrap();
            // The server may have closed it.
            let _ = timeout(PATIENCE, stream.write_all(says)).await.unwrap();
            stream
        });
        open.extend(futures::future::join_all(some).await);
    }
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_headers_are_bounded() {
    with_descriptors();
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let good = well_behaved(&bank, &issuer).await;
    // One literal header, of which one frame comes, and a part of the next.
    let block = [&[0x00, 0x01, b'a', 0x7f, 0x81, 0x7c][..], &[b'a'; 16_000]].concat();
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    let headers = [&length[1..], &[1, 0, 0, 0, 0, 1], &block].concat();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let _open = say_on_each(&bank, 950, &[PREFACE, &settings, &headers, &headers[..8_000]].concat()).await;
    reaches(&bank, "process_open_fds", 950).await;
    settled(&bank).await;
    is_healthy(&bank).await;
    survived("950 connections with unfinished headers", &bank, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_handshakes_are_bounded() {
    with_descriptors();
    let files = Files::new();
    let Certified { certificate, key } = Authority::new("authority").server();
    files.write("tls.pem", certificate);
    files.write("tls.key", key);
    let tls = [files.set("tls.certificate_file", "tls.pem"), files.set("tls.key_file", "tls.key")].concat();
    let tls = [&["--store", "memory"], &tls.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    let bank = Bank::start(&tls).await;
    // A hello of 64 KiB in records of 16 KiB, of which the last does not come.
    let hello = [&[1, 0, 0xff, 0xff][..], &vec![0; 65_535]].concat();
    let records = hello.chunks(16_384).map(|part| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, part].concat()
    });
    let records: Vec<_> = records.collect();
    let _open = say_on_each(&bank, 950, &records[..3].concat()).await;
    reaches(&bank, "process_open_fds", 950).await;
    settled(&bank).await;
    let peak_kib = report_peak("950 connections with unfinished TLS handshakes", &bank);
    assert!(peak_kib <= MEMORY_KIB_MAX, "{} MiB", peak_kib / 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_messages_and_batches_are_bounded() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let good = well_behaved(&bank, &issuer).await;
    let (single, many) = (unfinished(65_000, 64_000), unfinished(2_000_000, 1_900_000));
    let mut wide = Builder::new();
    wide.max_send_buffer_size(4 * 1024 * 1024);
    let (mut calls, mut open) = (Vec::new(), Vec::new());
    for caller in 0..4 {
        let token = issuer.token(&format!("caller-{caller}"), CUSTOMER);
        for path in [DEPOSIT, BATCH, BATCHES] {
            let (count, says) = match path {
                DEPOSIT => (900, &single),
                BATCH => (32, &many),
                _ => (8, &many),
            };
            let mut connections = connections(&bank, 8, 10 + caller, &wide).await;
            for index in 0..count {
                let (requests, _) = &mut connections[index % 8];
                calls.extend(begin(requests, post_as(path, &token), says.clone()).await);
            }
            open.extend(connections);
        }
    }
    assert_eq!(calls.len(), 4 * (900 + 32 + 8));
    settled(&bank).await;
    survived("unfinished messages and batches of 4 callers", &bank, good).await;
}

/// Writes a history of so many entries with long descriptions.
async fn write_history(bank: &Bank, account_id: &str, entries: usize) {
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings(account_id)).await.unwrap();
    for _ in 0..entries.div_ceil(1_000) {
        let description = "€".repeat(256);
        let operation = v1::DepositRequest { description, ..deposit(account_id, 1) };
        let operations = std::iter::repeat_n(Kind::Deposit(operation), 1_000);
        let reply = client.execute_batch(batch(operations)).await.unwrap().into_inner();
        assert_eq!(reply.results.len(), 1_000);
    }
}

/// A bank on a file with a long history, started again after it was written.
async fn on_file(directory: &TempDir, entries: usize, flags: &[&str]) -> Bank {
    let path = directory.path().join("bank.redb");
    let bank = Bank::on_file_with(Path::new(&path), flags).await;
    write_history(&bank, "long", entries).await;
    bank.terminate().await;
    // So its peak is not that of writing.
    Bank::on_file_with(Path::new(&path), flags).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_lists_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let bank = on_file(&directory, 3_000, &[]).await;
    let good = WellBehaved::start(&bank).await;
    let mut stalling = Builder::new();
    stalling.initial_window_size(0);
    let (mut requests, _connection) = speak_from(&bank, 9, &stalling).await;
    let page =
        v1::ListTransactionsRequest { account_id: "long".to_owned(), page_size: 1000, ..Default::default() };
    let mut calls = Vec::new();
    for _ in 0..300 {
        calls.extend(ask(&mut requests, post(LIST), framed(&page)).await);
    }
    assert_eq!(calls.len(), 300);
    reaches(&bank, "bank_calls_in_flight", 300).await;
    settled(&bank).await;
    survived("300 lists on one connection that nobody reads", &bank, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filtered_lists_of_a_long_history_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let bank = on_file(&directory, 20_000, &[]).await;
    let good = WellBehaved::start(&bank).await;
    let (mut requests, _connection) = speak_from(&bank, 9, &Builder::new()).await;
    let filtered = v1::ListTransactionsRequest {
        account_id: "long".to_owned(),
        page_size: 1000,
        kinds: vec![v1::EntryKind::Interest.into()],
        ..Default::default()
    };
    let mut lists = JoinSet::new();
    for _ in 0..200 {
        let (response, _body) = ask(&mut requests, post(LIST), framed(&filtered)).await.unwrap();
        lists.spawn(response);
    }
    reaches(&bank, "bank_calls_in_flight", 100).await;
    // Until the last has its reply, or for as long as calls may take.
    let (mut threads, mut answered) = (0, 0);
    let give_up_at = Instant::now() + Duration::from_secs(8);
    while answered < 200 && Instant::now() < give_up_at {
        threads = threads.max(bank.threads());
        while let Some(reply) = lists.try_join_next() {
            reply.unwrap().unwrap();
            answered += 1;
        }
        sleep(Duration::from_millis(50)).await;
    }
    eprintln!("200 filtered lists: the server has had {threads} threads and answered {answered}");
    assert!(answered > 0);
    survived("200 filtered lists over 20,000 entries", &bank, good).await;
    assert!(threads < 100, "{threads} threads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_watches_are_bounded() {
    let issuer = Issuer::new();
    // A consumer that may take long holds what it was handed for as long.
    let flags = ["--set", "watch.consumer_timeout_ms=14000"];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.redb");
    let flags = [&issuer.flags()[..], &flags[..]].concat();
    let bank = Bank::on_file_with(&path, &flags).await;
    let mut tokens = Vec::new();
    for caller in 0..8_u8 {
        let subject = format!("caller-{caller}");
        let mut client = issuer.caller(&bank.endpoint(), &subject, CUSTOMER).await;
        client.create_account(savings(&subject)).await.unwrap();
        let operation = v1::DepositRequest { description: "€".repeat(256), ..deposit(&subject, 1) };
        let operations = std::iter::repeat_n(Kind::Deposit(operation), 1_000);
        client.execute_batch(batch(operations)).await.unwrap();
        tokens.push((caller, subject.clone(), issuer.token(&subject, CUSTOMER)));
    }
    bank.terminate().await;
    let bank = Bank::on_file_with(&path, &flags).await;
    let good = well_behaved(&bank, &issuer).await;
    let mut stalling = Builder::new();
    stalling.initial_window_size(0);
    let (mut calls, mut open) = (Vec::new(), Vec::new());
    for (caller, account_id, token) in tokens {
        let (mut requests, connection) = speak_from(&bank, 10 + caller, &stalling).await;
        let start = v1::WatchStart::Beginning.into();
        let watch = v1::WatchTransactionsRequest { account_id, start, ..Default::default() };
        for _ in 0..32 {
            calls.extend(ask(&mut requests, post_as(WATCH, &token), framed(&watch)).await);
        }
        open.push((requests, connection));
    }
    assert_eq!(calls.len(), 8 * 32);
    reaches(&bank, "bank_watches_open", 8 * 32).await;
    settled(&bank).await;
    survived("256 watches that nobody reads", &bank, good).await;
}
