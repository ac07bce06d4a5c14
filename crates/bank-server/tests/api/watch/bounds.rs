//! Callers who read slowly, too many watches, and watches of too many accounts.

use std::time::Duration;

use bank_client::{BankClient, Error, StreamExt as _};
use bank_proto::v1::{self, bank_service_client::BankServiceClient};
use tokio::time::sleep;
use tonic::{Code, transport::Endpoint};

use super::{SOON, client, follower::Follower, open};
use crate::support::{
    Bank,
    api::{Client, connect, deposit, failed, savings},
    tokens::{CUSTOMER, Issuer},
};

/// More than fits into the buffers between server and client: each entry has a description.
const DEPOSITS: u64 = 1_500;
/// The memory that a caller who does not read may cost: queued replies, and what allocators keep.
const MEMORY_KIB_MAX: u64 = 32 * 1024;
/// The most that an entry and its request record take in memory.
const ENTRY_KIB: u64 = 2;

fn of(account_id: &str) -> v1::WatchTransactionsRequest {
    v1::WatchTransactionsRequest { account_id: account_id.to_owned(), ..Default::default() }
}

async fn pay_in(client: &Client, count: u64) {
    let description = "w".repeat(250);
    let each = (0..count).map(|_| {
        let mut client = client.clone();
        let request = v1::DepositRequest { description: description.clone(), ..deposit("a", 1) };
        async move { client.deposit(request).await.map(drop) }
    });
    let mut done = futures::stream::iter(each).buffer_unordered(100);
    while let Some(result) = done.next().await {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_the_watch_of_a_caller_that_does_not_read_and_no_other() {
    let timeout = ["--set", "watch.consumer_timeout_ms=300", "--set", "server.request_timeout_ms_max=600000"];
    let bank = Bank::memory_with(&[&SOON[..], &timeout[..]].concat()).await;
    let mut writer = connect(&bank.endpoint()).await;
    writer.create_account(savings("a")).await.unwrap();
    let reader = client(&bank.endpoint());
    let follower = Follower::of(reader.watch("a").from_start());
    follower.has_reported("a", 1).await;

    // A connection with the smallest windows of HTTP/2.
    let channel = Endpoint::from_shared(bank.endpoint()).unwrap();
    let channel = channel.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let mut slow = BankServiceClient::new(channel.connect().await.unwrap());
    let mut replies = slow.watch_transactions(of("a")).await.unwrap().into_inner();
    let mut token = replies.message().await.unwrap().unwrap().resume_token;
    let before = bank.memory_kib();
    pay_in(&writer, DEPOSITS).await;
    bank.logged("WatchTransactions ended with ResourceExhausted").await;
    // Later events for other watches take no memory for the ended one.
    pay_in(&writer, DEPOSITS).await;
    follower.has_reported("a", 1 + 2 * DEPOSITS).await;
    let (after, entries_kib) = (bank.memory_kib(), 2 * DEPOSITS * ENTRY_KIB);
    assert!(after < before + MEMORY_KIB_MAX + entries_kib, "{before} KiB have become {after}");

    // What was sent arrives, and then the status.
    let mut received = Vec::new();
    let error = loop {
        match replies.message().await {
            Ok(reply) => {
                let reply = reply.unwrap();
                received.extend(reply.entries);
                token = reply.resume_token;
            }
            error => break failed(error),
        }
    };
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "SLOW_CONSUMER"));
    assert_eq!(error.metadata["consumer_timeout_ms"], "300");
    assert!(error.details.retry_info().is_some());
    assert!((received.len() as u64) < DEPOSITS, "it was read to its end");

    // It resumes after what was read.
    let mut replies = slow
        .watch_transactions(v1::WatchTransactionsRequest { resume_token: token, ..of("a") })
        .await
        .unwrap()
        .into_inner();
    while received.len() as u64 != 2 * DEPOSITS {
        received.extend(replies.message().await.unwrap().unwrap().entries);
    }
    let sequences: Vec<_> = received.iter().map(|entry| entry.sequence.unsigned_abs()).collect();
    assert_eq!(sequences, (2..2 + 2 * DEPOSITS).collect::<Vec<_>>());
}

/// The client library resumes by itself, however slowly its application reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_watcher_misses_nothing() {
    let bank = Bank::memory_with(&["--set", "watch.consumer_timeout_ms=50"]).await;
    let mut writer = connect(&bank.endpoint()).await;
    writer.create_account(savings("a")).await.unwrap();
    let mut news = client(&bank.endpoint()).watch("a").stream();
    news.next().await.unwrap().unwrap();
    pay_in(&writer, DEPOSITS).await;
    let mut next = 2;
    while next < 2 + DEPOSITS {
        for entry in news.next().await.unwrap().unwrap().entries {
            assert_eq!(entry.sequence, next);
            next += 1;
        }
        sleep(Duration::from_millis(if next < 1_000 { 100 } else { 0 })).await;
    }
}

#[tokio::test]
async fn limits_watches_per_caller_and_in_total() {
    let issuer = Issuer::new();
    let bounds = ["--set", "watch.concurrent_max=3", "--set", "watch.concurrent_per_caller_max=2"];
    let bank = Bank::with_tokens(&issuer, &bounds).await;
    let endpoint = bank.endpoint();
    let mut open = Vec::new();
    for (subject, allowed, setting) in
        [("alice", 2, "watch.concurrent_per_caller_max"), ("bob", 1, "watch.concurrent_max")]
    {
        let mut caller = issuer.caller(&endpoint, subject, CUSTOMER).await;
        for _ in 0..allowed {
            let mut replies = caller.watch_transactions(of("")).await.unwrap().into_inner();
            replies.message().await.unwrap().unwrap();
            open.push(replies);
        }
        let mut replies = caller.watch_transactions(of("")).await.unwrap().into_inner();
        let error = failed(replies.message().await);
        assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "TOO_MANY_WATCHES"));
        assert_eq!(error.details.quota_failure().unwrap().violations[0].subject, setting);
    }
    // A watch that ends releases its permit.
    open.clear();
    let bob = BankClient::builder(&endpoint).token(issuer.token("bob", CUSTOMER)).connect_lazy().unwrap();
    bob.watch_all().stream().next().await.unwrap().unwrap();
}

#[tokio::test]
async fn limits_the_accounts_of_a_watch() {
    let bank = Bank::memory_with(&[&SOON[..], &["--set", "watch.accounts_max=2"]].concat()).await;
    let client = client(&bank.endpoint());
    open(&client, "a").await;
    open(&client, "b").await;
    let mut news = client.watch_all().stream();
    news.next().await.unwrap().unwrap();
    open(&client, "c").await;
    let error = loop {
        match news.next().await.unwrap() {
            Ok(news) => assert!(news.entries.is_empty()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::WatchTooLarge { accounts_max: 2 }), "{error:?}");
    let error = client.watch_all().stream().next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::WatchTooLarge { accounts_max: 2 }), "{error:?}");
    client.watch("c").stream().next().await.unwrap().unwrap();
}
