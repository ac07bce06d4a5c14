//! The resources that are shared among callers: memory for messages and replies, and reads of lists. A caller that uses
//! up its own part is rejected, or waits, and others are not affected.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bank_proto::v1::{self, operation::Kind};
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use crate::support::{
    Bank,
    api::{Failed, batch, connect, deposit, failed, of_stream, savings, succeeded},
    hostile::{LIST, PATIENCE, framed, post, post_as, speak, unfinished},
    tokens::{CUSTOMER, Issuer},
    until,
};

const BATCH: &str = "/bank.v1.BankService/ExecuteBatch";
const BATCHES: &str = "/bank.v1.BankService/ExecuteStream";

/// Begins a call with this message, or the beginning of one.
async fn begin(
    requests: &mut SendRequest<Bytes>,
    request: http::Request<()>,
    says: Bytes,
    is_all: bool,
) -> (ResponseFuture, h2::SendStream<Bytes>) {
    *requests = requests.clone().ready().await.unwrap();
    let (response, mut body) = requests.send_request(request, false).unwrap();
    // A rejected call may be over before its message is sent.
    let _ = body.send_data(says, is_all);
    (response, body)
}

/// The error of a rejected call.
async fn refused(response: ResponseFuture) -> Failed {
    let response = timeout(PATIENCE, response).await.unwrap().unwrap();
    failed(Err::<(), _>(Status::from_header_map(response.headers()).unwrap()))
}

fn deposits(account_id: &str, count: usize) -> v1::ExecuteBatchRequest {
    batch(std::iter::repeat_n(Kind::Deposit(deposit(account_id, 1)), count))
}

#[tokio::test]
async fn rejects_a_message_without_memory_and_serves_other_callers() {
    let issuer = Issuer::new();
    let flags = ["--set", "server.buffered_bytes_max=4194304", "--set", "callers.buffered_bytes_max=1048576"];
    let bank = Bank::with_tokens(&issuer, &flags).await;
    let mut alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
    let mut bob = issuer.caller(&bank.endpoint(), "bob", CUSTOMER).await;
    alice.create_account(savings("a")).await.unwrap();
    bob.create_account(savings("b")).await.unwrap();

    let token = issuer.token("alice", CUSTOMER);
    let (mut requests, _connection) = speak(&bank, &Builder::new()).await;
    let says = unfinished(600_000, 10);
    let first = begin(&mut requests, post_as(BATCH, &token), says.clone(), false).await;
    let (second, _body) = begin(&mut requests, post_as(BATCH, &token), says, false).await;
    let error = refused(second).await;
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "BUFFERS_FULL"), "{error:?}");
    assert_eq!(error.metadata["buffered_bytes_max"], "1048576");
    assert_eq!(error.details.quota_failure().unwrap().violations[0].subject, "callers.buffered_bytes_max");
    assert!(error.details.retry_info().unwrap().retry_delay.is_some());
    // A batch needs memory beyond its message.
    assert_eq!(failed(alice.execute_batch(deposits("a", 1_000)).await).reason, "BUFFERS_FULL");
    // Small messages need none, and other callers have their own part.
    alice.deposit(deposit("a", 1)).await.unwrap();
    alice.execute_batch(deposits("a", 3)).await.unwrap();
    bob.execute_batch(deposits("b", 1_000)).await.unwrap();
    // It is free once the call is dropped.
    drop(first);
    until("there is memory again", async || {
        succeeded(alice.execute_batch(deposits("a", 1_000)).await, "BUFFERS_FULL")
    })
    .await;
}

/// The bugs: a batch waited for memory that its own stream held for the next message, until the stream was over.
/// And a message that was not complete in time was reported as malformed.
#[tokio::test]
async fn a_batch_does_not_wait_for_the_memory_of_the_next_message() {
    let flags = [
        "--set",
        "server.request_timeout_ms_max=3000",
        "--set",
        "ledger.outcome_timeout_ms=2000",
        "--set",
        "callers.buffered_bytes_max=1048576",
    ];
    let bank = Bank::memory_with(&flags).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let operation = v1::DepositRequest { description: "€".repeat(256), ..deposit("a", 1) };
    // With its reply it takes most of the memory, and the next message needs more than the rest.
    let first = of_stream(batch(std::iter::repeat_n(Kind::Deposit(operation), 300)));
    let says = [framed(&first), unfinished(600_000, 10)].concat().into();
    let (mut requests, _connection) = speak(&bank, &Builder::new()).await;
    let (response, _body) = begin(&mut requests, post(BATCHES), says, false).await;
    let mut replies = timeout(PATIENCE, response).await.unwrap().unwrap().into_body();
    let mut reply = Vec::new();
    while let Some(data) = timeout(PATIENCE, replies.data()).await.unwrap() {
        let data = data.unwrap();
        replies.flow_control().release_capacity(data.len()).unwrap();
        reply.extend_from_slice(&data);
    }
    let reply = v1::ExecuteStreamResponse::decode(&reply[5..]).unwrap();
    assert_eq!((reply.error, reply.results.len()), (None, 300));
    let trailers = timeout(PATIENCE, replies.trailers()).await.unwrap().unwrap().unwrap();
    let error = failed(Err::<(), _>(Status::from_header_map(&trailers).unwrap()));
    assert_eq!((error.code, &*error.reason), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_without_memory_waits_until_its_deadline_and_others_continue() {
    let flags = [
        "--set",
        "server.request_timeout_ms_max=4000",
        "--set",
        "ledger.outcome_timeout_ms=2000",
        "--set",
        "callers.buffered_bytes_max=2097152",
    ];
    let bank = Bank::memory_with(&flags).await;
    let mut other = connect(&bank.endpoint()).await;
    other.create_account(savings("long")).await.unwrap();
    let operation = v1::DepositRequest { description: "€".repeat(256), ..deposit("long", 1) };
    for _ in 0..20 {
        let operations = std::iter::repeat_n(Kind::Deposit(operation.clone()), 50);
        other.execute_batch(batch(operations)).await.unwrap();
    }
    let page =
        v1::ListTransactionsRequest { account_id: "long".to_owned(), page_size: 1000, ..Default::default() };
    let mut stalling = Builder::new();
    stalling.initial_window_size(0);
    let (mut requests, _connection) = speak(&bank, &stalling).await;
    let (first, _body) = begin(&mut requests, post(LIST), framed(&page), true).await;
    let first = timeout(PATIENCE, first).await.unwrap().unwrap();
    assert!(!first.headers().contains_key("grpc-status"), "its reply is there, and is not read");
    let (second, _body) = begin(&mut requests, post(LIST), framed(&page), true).await;
    let entries = other.list_transactions(page.clone()).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 1_000);
    let second = timeout(PATIENCE, second).await.unwrap().unwrap();
    // It may have got the memory of the first, which is reset in the end.
    if second.headers().contains_key("grpc-status") {
        let error = failed(Err::<(), _>(Status::from_header_map(second.headers()).unwrap()));
        assert_eq!(error.reason, "BUFFERS_FULL", "{error:?}");
        let until = Instant::now() + PATIENCE;
        loop {
            let (next, _body) = begin(&mut requests, post(LIST), framed(&page), true).await;
            let next = timeout(PATIENCE, next).await.unwrap().unwrap();
            if !next.headers().contains_key("grpc-status") {
                break;
            }
            assert!(Instant::now() < until, "there is room again");
        }
    }
}

/// A filtered list reads much and replies little.
#[tokio::test]
async fn entries_read_by_a_list_count_against_the_rate_limit() {
    let flags = ["--set", "callers.calls_per_second_max=1", "--set", "callers.calls_burst_max=1150"];
    let bank = Bank::memory_with(&flags).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("long")).await.unwrap();
    client.execute_batch(deposits("long", 1_000)).await.unwrap();
    let filtered = v1::ListTransactionsRequest {
        account_id: "long".to_owned(),
        page_size: 1000,
        kinds: vec![v1::EntryKind::Interest.into()],
        ..Default::default()
    };
    // Some 150 calls are left; each of these is 21.
    for _ in 0..6 {
        let reply = client.list_transactions(filtered.clone()).await.unwrap().into_inner();
        assert_eq!((reply.entries.len(), &*reply.next_page_token), (0, ""));
    }
    let mut admitted = 0;
    let error = loop {
        match client.get_account(v1::GetAccountRequest { account_id: "long".to_owned() }).await {
            Ok(_) => admitted += 1,
            error => break failed(error),
        }
        assert!(admitted < 100, "the lists have counted");
    };
    assert_eq!(error.reason, "RATE_LIMITED", "{error:?}");
}
