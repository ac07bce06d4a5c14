//! Callers who pause while they read a reply. A stream waits for its reader, and a reply that nobody
//! reads ends its own call only.
//!
//! The bug: a reader that paused for as long as a call may take lost its connection, with every other call on
//! it, and got nothing but `h2 protocol error`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bank_proto::v1::{
    self, audit_accounts_response, bank_service_client::BankServiceClient, export_bank_response,
    operation::Kind,
};
use h2::Reason;
use tokio::time::{sleep, timeout};
use tonic::{Code, transport::Endpoint};

use crate::support::{
    Bank,
    api::{Client, batch, connect, deposit, failed, of_stream, savings},
    hostile::{LIST, PATIENCE, framed, post, speak},
};

/// How long a call may take on these servers, and so how long a reply may stay unread.
const PATIENT: [&str; 4] =
    ["--set", "server.request_timeout_ms_max=2500", "--set", "ledger.outcome_timeout_ms=2000"];
/// Longer than a reply may stay unread, whenever the server checks.
const PAUSE: Duration = Duration::from_secs(7);

/// A client that accepts so many bytes of each reply before it reads them.
async fn client_with_window(bank: &Bank, bytes: u32) -> Client {
    let channel = Endpoint::from_shared(bank.endpoint()).unwrap().initial_stream_window_size(bytes);
    BankServiceClient::new(channel.connect().await.unwrap())
}

/// A bank with an account whose history is more than a megabyte.
async fn with_history(flags: &[&str]) -> Bank {
    let bank = Bank::memory_with(flags).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("long")).await.unwrap();
    let operation = v1::DepositRequest { description: "€".repeat(256), ..deposit("long", 1) };
    for _ in 0..20 {
        let operations = std::iter::repeat_n(Kind::Deposit(operation.clone()), 50);
        client.execute_batch(batch(operations)).await.unwrap();
    }
    bank
}

/// Pauses, while other calls on the connection continue.
async fn pause(client: &Client) {
    let mut other = client.clone();
    for _ in 0..10 {
        other.deposit(deposit("long", 1)).await.unwrap();
        sleep(PAUSE / 10).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_waits_for_its_reader() {
    let bank = with_history(&PATIENT).await;
    let mut client = client_with_window(&bank, 65_535).await;
    let mut news = client.export_bank(v1::ExportBankRequest::default()).await.unwrap().into_inner();
    pause(&client).await;
    let (mut lines, mut last) = (0, None);
    while let Some(reply) = news.message().await.unwrap() {
        if let Some(export_bank_response::News::Data(data)) = &reply.news {
            lines += String::from_utf8_lossy(data).matches('\n').count();
        }
        last = reply.news;
    }
    assert!(lines > 1_000, "{lines}");
    assert!(matches!(last, Some(export_bank_response::News::Summary(_))), "{last:?}");
    client.deposit(deposit("long", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_waits_for_its_reader() {
    let bank = with_history(&PATIENT).await;
    let mut client = client_with_window(&bank, 8).await;
    let mut news = client.audit_accounts(v1::AuditAccountsRequest::default()).await.unwrap().into_inner();
    pause(&client).await;
    let mut last = None;
    while let Some(reply) = news.message().await.unwrap() {
        last = reply.news;
    }
    assert!(matches!(last, Some(audit_accounts_response::News::Summary(_))), "{last:?}");
    client.deposit(deposit("long", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_batches_waits_for_its_reader() {
    let bank = with_history(&PATIENT).await;
    let mut client = client_with_window(&bank, 8).await;
    let batches = (0..20).map(|_| of_stream(batch([Kind::Deposit(deposit("long", 1))])));
    let mut replies = client.execute_stream(tokio_stream::iter(batches)).await.unwrap().into_inner();
    pause(&client).await;
    for _ in 0..20 {
        let reply = replies.message().await.unwrap().unwrap();
        assert_eq!((reply.results.len(), reply.error), (1, None));
    }
    assert_eq!(replies.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_final_status_of_a_watch_waits_for_its_reader() {
    let bank = with_history(&[&PATIENT[..], &["--set", "watch.consumer_timeout_ms=200"]].concat()).await;
    let mut client = client_with_window(&bank, 8).await;
    let watch = v1::WatchTransactionsRequest {
        account_id: "long".to_owned(),
        start: v1::WatchStart::Beginning.into(),
        ..Default::default()
    };
    let mut replies = client.watch_transactions(watch).await.unwrap().into_inner();
    pause(&client).await;
    let error = loop {
        match replies.message().await {
            Ok(reply) => drop(reply.unwrap()),
            error => break failed(error),
        }
    };
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "SLOW_CONSUMER"));
    client.deposit(deposit("long", 1)).await.unwrap();
}

/// A stream reader that pauses for very long gets an error when it continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unread_stream_ends_with_a_status_after_its_timeout() {
    let bank = with_history(&[&PATIENT[..], &["--set", "server.reader_pause_ms_max=500"]].concat()).await;
    let mut client = client_with_window(&bank, 65_535).await;
    let mut news = client.export_bank(v1::ExportBankRequest::default()).await.unwrap().into_inner();
    bank.logged("ExportBank ended with ResourceExhausted").await;
    // Its permit is free.
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut news = client.export_bank(v1::ExportBankRequest::default()).await.unwrap().into_inner();
        news.message().await.unwrap().unwrap();
        others.push(news);
    }
    let error = loop {
        match news.message().await {
            Ok(reply) => drop(reply.unwrap()),
            error => break failed(error),
        }
    };
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "SLOW_CONSUMER"));
    assert_eq!(error.metadata["reader_pause_ms_max"], "500");
    assert_eq!(error.details.quota_failure().unwrap().violations[0].subject, "server.reader_pause_ms_max");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_an_unread_reply_and_keeps_its_connection() {
    let bank = with_history(&PATIENT).await;
    let mut stalling = h2::client::Builder::new();
    stalling.initial_window_size(1);
    let (mut requests, _connection) = speak(&bank, &stalling).await;
    let page =
        v1::ListTransactionsRequest { account_id: "long".to_owned(), page_size: 1000, ..Default::default() };
    requests = requests.ready().await.unwrap();
    let (response, mut body) = requests.send_request(post(LIST), false).unwrap();
    body.send_data(framed(&page), true).unwrap();
    let mut reply = response.await.unwrap().into_body();
    assert_eq!(reply.data().await.unwrap().unwrap().len(), 1);
    let reset = timeout(PATIENCE, reply.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(reset.reason(), Some(Reason::CANCEL));
    // The connection can be used.
    requests = requests.ready().await.unwrap();
    let page = v1::ListTransactionsRequest { account_id: "nobody".to_owned(), ..Default::default() };
    let (response, mut body) = requests.send_request(post(LIST), false).unwrap();
    body.send_data(framed(&page), true).unwrap();
    let response = timeout(PATIENCE, response).await.unwrap().unwrap();
    assert_eq!(response.headers().get("grpc-status").unwrap(), "5");
}
