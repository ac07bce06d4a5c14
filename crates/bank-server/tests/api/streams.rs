//! Streams of batches against the real server: order, flow control, and every way to end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bank_proto::v1::{self, operation::Kind, operation_result::Outcome};
use futures::{StreamExt as _, future, stream};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Endpoint};

use crate::support::{
    Bank, Redis,
    api::{
        Client, balance, batch, connect, deposit, failed, history, of_stream, savings, status_of, succeeded,
        withdraw,
    },
    until,
};

/// How long anything may take. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A rate limit that no test reaches.
const FAST: [&str; 4] =
    ["--set", "callers.calls_per_second_max=1000000", "--set", "callers.calls_burst_max=1000000"];

async fn bank_with_account(flags: &[&str]) -> (Bank, Client) {
    let bank = Bank::memory_with(&[&FAST, flags].concat()).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    (bank, client)
}

fn deposits(count: usize) -> v1::ExecuteStreamRequest {
    of_stream(batch((0..count).map(|_| Kind::Deposit(deposit("a", 1)))))
}

/// The sequences of the entries in a reply.
fn sequences(reply: v1::ExecuteStreamResponse) -> Vec<i64> {
    assert_eq!(reply.error, None);
    let sequence = |result: v1::OperationResult| match result.outcome.unwrap() {
        Outcome::Deposit(reply) => reply.entry.unwrap().sequence,
        other => panic!("{other:?}"),
    };
    reply.results.into_iter().map(sequence).collect()
}

async fn next(replies: &mut Streaming<v1::ExecuteStreamResponse>) -> v1::ExecuteStreamResponse {
    timeout(PATIENCE, replies.message()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn results_come_in_the_order_of_the_batches_and_the_end_after_the_last() {
    let (_bank, mut client) = bank_with_account(&[]).await;
    let batches = (0..200).map(|number| deposits(1 + number % 7));
    let mut replies = client.execute_stream(stream::iter(batches)).await.unwrap().into_inner();
    let mut expected = 2;
    for number in 0..200 {
        let found = sequences(next(&mut replies).await);
        assert_eq!(found, (expected..).take(1 + number % 7).collect::<Vec<_>>(), "batch {number}");
        expected += i64::try_from(found.len()).unwrap();
    }
    assert!(replies.message().await.unwrap().is_none(), "OK after the last");
    assert_eq!(history(&mut client, "a").await.len(), usize::try_from(expected).unwrap() - 1);
}

#[tokio::test]
async fn an_invalid_batch_is_answered_in_order_and_the_stream_continues() {
    let (_bank, mut client) = bank_with_account(&[]).await;
    let batches =
        [deposits(1), deposits(0), of_stream(batch([Kind::Withdraw(withdraw("a", 5))])), deposits(2)];
    let mut replies = client.execute_stream(stream::iter(batches)).await.unwrap().into_inner();
    assert_eq!(sequences(next(&mut replies).await), [2]);
    let refused = next(&mut replies).await;
    let error = failed(Err::<(), _>(status_of(refused.error.unwrap())));
    assert_eq!((error.code, &*error.reason), (Code::InvalidArgument, "INVALID_ARGUMENT"));
    let results = next(&mut replies).await.results;
    let [Some(Outcome::Error(error))] =
        &*results.into_iter().map(|result| result.outcome).collect::<Vec<_>>()
    else {
        panic!()
    };
    assert_eq!(failed(Err::<(), _>(status_of(error.clone()))).reason, "INSUFFICIENT_FUNDS");
    assert_eq!(sequences(next(&mut replies).await), [3, 4]);
    assert!(replies.message().await.unwrap().is_none());
}

fn withdrawals_to_check(count: usize) -> v1::ExecuteStreamRequest {
    let withdrawals = batch((0..count).map(|_| Kind::Withdraw(withdraw("a", 1))));
    v1::ExecuteStreamRequest { validate_only: true, ..of_stream(withdrawals) }
}

async fn done(replies: &mut Streaming<v1::ExecuteStreamResponse>) -> usize {
    let results = next(replies).await.results;
    results.iter().filter(|result| matches!(result.outcome, Some(Outcome::Withdraw(_)))).count()
}

#[tokio::test]
async fn a_dry_run_spans_batches_until_one_is_executed() {
    let (_bank, mut client) = bank_with_account(&[]).await;
    client.deposit(deposit("a", 500)).await.unwrap();
    let messages = (0..10).map(|_| withdrawals_to_check(100));
    let mut replies = client.execute_stream(stream::iter(messages)).await.unwrap().into_inner();
    let mut counts = Vec::new();
    for _ in 0..10 {
        counts.push(done(&mut replies).await);
    }
    assert_eq!(counts, [100, 100, 100, 100, 100, 0, 0, 0, 0, 0]);
    assert!(replies.message().await.unwrap().is_none());
    assert_eq!(balance(&mut client, "a").await, 500);

    // An invalid batch does not change its state, and an executed one discards it.
    let (sender, messages) = mpsc::channel(1);
    let mut replies = client.execute_stream(ReceiverStream::new(messages)).await.unwrap().into_inner();
    sender.send(withdrawals_to_check(450)).await.unwrap();
    assert_eq!(done(&mut replies).await, 450);
    sender.send(withdrawals_to_check(0)).await.unwrap();
    assert!(next(&mut replies).await.error.is_some());
    sender.send(withdrawals_to_check(100)).await.unwrap();
    assert_eq!(done(&mut replies).await, 50);
    sender.send(deposits(1)).await.unwrap();
    assert_eq!(sequences(next(&mut replies).await), [3]);
    sender.send(withdrawals_to_check(600)).await.unwrap();
    assert_eq!(done(&mut replies).await, 501);
}

#[tokio::test]
async fn limits_the_state_of_dry_runs_per_caller_and_in_total() {
    let of_one = ["--set", "callers.dry_run_bytes_max=20000"];
    let in_all = ["--set", "server.dry_run_bytes_max=20000"];
    for (flags, setting) in [(of_one, "callers.dry_run_bytes_max"), (in_all, "server.dry_run_bytes_max")] {
        let (_bank, mut client) = bank_with_account(&flags).await;
        // Missing accounts are remembered, too.
        let message = |batch_number: usize| {
            let operations =
                (0..10).map(|number| Kind::Deposit(deposit(&format!("{batch_number}.{number}"), 1)));
            v1::ExecuteStreamRequest { validate_only: true, ..of_stream(batch(operations)) }
        };
        for _ in 0..3 {
            let messages = (0..10_000).map(message);
            let mut replies = client.execute_stream(stream::iter(messages)).await.unwrap().into_inner();
            let mut count = 0;
            let status = loop {
                match timeout(PATIENCE, replies.message()).await.unwrap() {
                    Ok(Some(reply)) => {
                        assert_eq!((reply.error, reply.results.len()), (None, 10));
                        count += 1;
                    }
                    Ok(None) => panic!("as if all were checked"),
                    Err(status) => break status,
                }
            };
            assert!((10..100).contains(&count), "{count}");
            let error = failed::<()>(Err(status));
            assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "DRY_RUN_TOO_LARGE"));
            assert_eq!(error.details.quota_failure().unwrap().violations[0].subject, setting);
            // Its memory is free once it ends.
        }
        // One account costs the same however often it is used.
        let messages = (0..200).map(|_| withdrawals_to_check(10));
        let mut replies = client.execute_stream(stream::iter(messages)).await.unwrap().into_inner();
        for _ in 0..200 {
            assert_eq!(done(&mut replies).await, 0);
        }
    }
}

#[tokio::test]
async fn an_oversized_message_ends_the_stream_after_the_earlier_batches() {
    let (_bank, mut client) = bank_with_account(&["--set", "server.batch_bytes_max=10000"]).await;
    let batches = [deposits(3), deposits(1000), deposits(1)];
    let mut replies = client.execute_stream(stream::iter(batches)).await.unwrap().into_inner();
    assert_eq!(sequences(next(&mut replies).await).len(), 3);
    let error = failed(replies.message().await);
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"), "{error:?}");
    assert!(error.message.contains("server.batch_bytes_max allows: 10000 bytes"), "{error:?}");
    assert_eq!(balance(&mut client, "a").await, 3);
}

#[tokio::test]
async fn a_stream_above_the_rate_limit_is_slowed_down_and_not_rejected() {
    let flags = ["--set", "callers.calls_per_second_max=100", "--set", "callers.calls_burst_max=20"];
    let bank = Bank::memory_with(&flags).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let started = Instant::now();
    let batches = (0..12).map(|_| deposits(10));
    let mut replies = client.execute_stream(stream::iter(batches)).await.unwrap().into_inner();
    for _ in 0..12 {
        assert_eq!(sequences(next(&mut replies).await).len(), 10);
    }
    assert!(
        started.elapsed() > Duration::from_millis(900),
        "100 operations more than the burst take a second"
    );
}

#[tokio::test]
async fn limits_streams_per_caller_and_in_total() {
    let flags = ["--set", "server.batch_streams_max=2", "--set", "callers.batch_streams_max=2"];
    let (bank, mut client) = bank_with_account(&flags).await;
    let open = |mut client: Client| async move {
        let (sender, batches) = mpsc::channel(1);
        let replies = client.execute_stream(ReceiverStream::new(batches)).await?;
        Ok::<_, tonic::Status>((sender, replies))
    };
    let first = open(client.clone()).await.unwrap();
    let _second = open(connect(&bank.endpoint()).await).await.unwrap();
    let error = failed(open(client.clone()).await.map(drop));
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "TOO_MANY_BATCHES"));
    assert_eq!(error.details.quota_failure().unwrap().violations[0].subject, "callers.batch_streams_max");
    client.deposit(deposit("a", 1)).await.unwrap();
    drop(first);
    until("its permit is free again", async || {
        succeeded(open(client.clone()).await.map(drop), "TOO_MANY_BATCHES")
    })
    .await;
}

/// An endless stream of batches with long descriptions, and how many of them were taken.
fn without_end() -> (impl futures::Stream<Item = v1::ExecuteStreamRequest> + Send, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let wordy = v1::DepositRequest { description: "€".repeat(256), ..deposit("a", 1) };
    let message = of_stream(batch((0..20).map(|_| Kind::Deposit(wordy.clone()))));
    let batches = stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        message.clone()
    });
    (batches, taken)
}

/// A client with small windows: it buffers little of what it does not read.
async fn with_small_windows(bank: &Bank) -> Client {
    let endpoint = Endpoint::from_shared(bank.endpoint()).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(1 << 20);
    Client::new(endpoint.connect().await.unwrap())
}

/// Waits until a count stands still, and returns it.
async fn settled(count: &AtomicUsize) -> usize {
    let mut before = usize::MAX;
    for _ in 0..30 {
        let now = count.load(Ordering::Relaxed);
        if now == before {
            return now;
        }
        before = now;
        sleep(Duration::from_secs(2)).await;
    }
    panic!("it does not settle: {before}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_stream_reader_only_slows_its_own_stream() {
    // A reply that stays unread for this long would be reset.
    const REPLY_TIMEOUT: Duration = Duration::from_secs(3);
    let flags = ["--set", "server.request_timeout_ms_max=3000", "--set", "ledger.outcome_timeout_ms=500"];
    let (bank, _) = bank_with_account(&flags).await;
    let client = with_small_windows(&bank).await;
    client.clone().create_account(savings("other")).await.unwrap();
    let before_kib = bank.memory_kib();
    let mut streams = Vec::new();
    for _ in 0..8 {
        let (batches, taken) = without_end();
        // Half of them are on the connection of the other calls.
        let mut client = if streams.len() < 4 { with_small_windows(&bank).await } else { client.clone() };
        let replies = client.execute_stream(batches).await.unwrap().into_inner();
        streams.push((replies, taken));
    }
    for (_, taken) in &streams {
        let count = settled(taken).await;
        assert!(count < 100, "nobody takes in what nobody reads: {count}");
    }
    let stalled_kib = bank.memory_kib();
    eprintln!("8 streams that nobody reads: the server has {stalled_kib} KiB, {before_kib} KiB before");
    assert!(stalled_kib < before_kib + 64 * 1024, "{stalled_kib} KiB");
    // All other calls continue, on the same connection too.
    let until = Instant::now() + 3 * REPLY_TIMEOUT;
    while Instant::now() < until {
        timeout(PATIENCE, client.clone().deposit(deposit("other", 1))).await.unwrap().unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    // And so do the streams, once they are read.
    let reads = streams.into_iter().map(|(mut replies, taken)| async move {
        let before = taken.load(Ordering::Relaxed);
        let mut read = 0;
        while taken.load(Ordering::Relaxed) < before + 10 {
            read += sequences(next(&mut replies).await).len();
        }
        read
    });
    assert!(future::join_all(reads).await.into_iter().all(|read| read > 0));
}

#[tokio::test]
async fn draining_ends_a_stream_after_the_results_of_received_batches() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis_with(&redis, &FAST).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let (sender, batches) = mpsc::channel(100);
    let mut replies = client.execute_stream(ReceiverStream::new(batches)).await.unwrap().into_inner();
    sender.send(deposits(10)).await.unwrap();
    let mut acknowledged = sequences(next(&mut replies).await).len();
    // More than are executed at once.
    for _ in 0..50 {
        sender.send(deposits(10)).await.unwrap();
    }
    bank.signal("TERM");
    let status = loop {
        match timeout(PATIENCE, replies.message()).await.unwrap() {
            Ok(Some(reply)) => acknowledged += sequences(reply).len(),
            Ok(None) => panic!("as if all were done"),
            Err(status) => break status,
        }
    };
    let error = failed::<()>(Err(status));
    assert_eq!((error.code, &*error.reason), (Code::Unavailable, "SHUTTING_DOWN"));
    assert!(bank.wait_exit().await.success());
    let bank = Bank::on_redis(&redis).await;
    let entries = history(&mut connect(&bank.endpoint()).await, "a").await;
    assert_eq!(entries.len() - 1, acknowledged, "what was taken in was answered, and nothing else was done");
}

#[tokio::test]
async fn a_caller_that_leaves_releases_its_permit_and_its_command_is_finished() {
    let (_bank, mut client) = bank_with_account(&["--set", "server.batch_streams_max=1"]).await;
    let (batches, taken) = without_end();
    let (leave, left) = oneshot::channel::<()>();
    let mut replies = client.execute_stream(batches.take_until(left)).await.unwrap().into_inner();
    for _ in 0..5 {
        next(&mut replies).await;
    }
    drop((leave, replies));
    until("its permit is free again", async || {
        succeeded(client.execute_stream(stream::iter([deposits(1)])).await, "TOO_MANY_BATCHES")
    })
    .await;
    let entries = history(&mut client, "a").await;
    crate::support::api::assert_sound(&entries);
    assert!(entries.len() <= 20 * taken.load(Ordering::Relaxed) + 2, "nothing was done twice");
}
