//! One outcome for each request id, however often, wherever and whenever it is sent.

use std::time::Duration;

use bank_proto::v1;
use tokio::task::JoinSet;
use tonic::{Code, Request};

use crate::support::{
    Bank, Redis,
    api::{balance, connect, deposit, failed, history, savings, transfer, usd, withdraw},
};

fn named(request_id: &str, account_id: &str, minor_units: i64) -> v1::DepositRequest {
    v1::DepositRequest { request_id: request_id.to_owned(), ..deposit(account_id, minor_units) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_a_hundred_times_at_once_moves_money_once() {
    let redis = Redis::start().await;
    let (one, two) = tokio::join!(Bank::on_redis(&redis), Bank::on_redis(&redis));
    let mut client = connect(&one.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.create_account(savings("b")).await.unwrap();
    client.deposit(deposit("a", 1_000)).await.unwrap();

    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let endpoint = if number % 2 == 0 { one.endpoint() } else { two.endpoint() };
        tasks.spawn(async move {
            let request = v1::TransferRequest { request_id: "once".to_owned(), ..transfer("a", "b", 100) };
            connect(&endpoint).await.transfer(request).await.unwrap().into_inner()
        });
    }
    let replies = tasks.join_all().await;
    assert_eq!(replies.iter().filter(|reply| !reply.replayed).count(), 1);
    for reply in &replies {
        let first = v1::TransferResponse { replayed: reply.replayed, ..replies[0].clone() };
        assert_eq!(*reply, first, "every reply is the first");
    }
    assert_eq!(balance(&mut client, "a").await, 900);
    assert_eq!(balance(&mut client, "b").await, 100);
    assert_eq!(history(&mut client, "b").await.len(), 2);
}

#[tokio::test]
async fn outcomes_are_replayed_after_a_restart() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    let create = v1::CreateAccountRequest { request_id: "c".to_owned(), ..savings("a") };
    let created = client.create_account(create.clone()).await.unwrap().into_inner();
    let deposited = client.deposit(named("d", "a", 500)).await.unwrap().into_inner();
    let overdraw = v1::WithdrawRequest { request_id: "w".to_owned(), ..withdraw("a", 501) };
    let refused = failed(client.withdraw(overdraw.clone()).await);
    // A replay has the first outcome, even if the request would be allowed now.
    client.deposit(deposit("a", 1_000)).await.unwrap();
    bank.terminate().await;

    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    let replayed = client.create_account(create).await.unwrap().into_inner();
    assert_eq!(replayed, v1::CreateAccountResponse { replayed: true, ..created });
    let replayed = client.deposit(named("d", "a", 500)).await.unwrap().into_inner();
    assert_eq!(replayed, v1::DepositResponse { replayed: true, ..deposited });
    let again = failed(client.withdraw(overdraw).await);
    assert_eq!(
        (again.code, &again.reason, &again.message),
        (refused.code, &refused.reason, &refused.message)
    );
    assert_eq!(again.metadata["available_minor_units"], "500");
    assert_eq!(again.metadata["replayed"], "true");
    assert!(!refused.metadata.contains_key("replayed"));
    assert_eq!(balance(&mut client, "a").await, 1_500);
}

#[tokio::test]
async fn a_request_id_names_one_request_of_one_account() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.create_account(savings("b")).await.unwrap();
    client.deposit(named("x", "a", 100)).await.unwrap();
    let other_payloads = [
        failed(client.deposit(named("x", "a", 101)).await),
        failed(
            client.deposit(v1::DepositRequest { description: "y".to_owned(), ..named("x", "a", 100) }).await,
        ),
        failed(
            client.withdraw(v1::WithdrawRequest { request_id: "x".to_owned(), ..withdraw("a", 100) }).await,
        ),
    ];
    for error in other_payloads {
        assert_eq!(
            (error.code, &*error.reason),
            (Code::FailedPrecondition, "REQUEST_ID_REUSED"),
            "{error:?}"
        );
        assert_eq!((&*error.metadata["request_id"], &*error.metadata["account_id"]), ("x", "a"));
    }
    // On another account it is another request.
    let other = client.deposit(named("x", "b", 7)).await.unwrap().into_inner();
    assert_eq!((other.balance, other.replayed), (usd(7), false));
    assert_eq!(balance(&mut client, "a").await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_call_is_applied_whole_or_not_at_all_and_a_retry_shows_which() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.create_account(savings("b")).await.unwrap();
    client.deposit(deposit("a", 1_000_000)).await.unwrap();

    let mut moved = 0;
    let mut timed_out = 0;
    for number in 0..200_u64 {
        let message = v1::TransferRequest { request_id: format!("t{number}"), ..transfer("a", "b", 1) };
        let mut request = Request::new(message.clone());
        let patience = Duration::from_micros(number * 20);
        if number % 2 == 0 {
            // The deadline passes.
            request.set_timeout(patience);
            if let Err(status) = client.transfer(request).await {
                assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
                timed_out += 1;
            }
        } else {
            // The caller leaves, connection and all.
            let mut leaving = connect(&bank.endpoint()).await;
            let _ = tokio::time::timeout(patience, leaving.transfer(request)).await;
        }
        let before = balance(&mut client, "b").await;
        let retried = client.transfer(message).await.unwrap().into_inner();
        moved += 1;
        if !retried.replayed {
            assert!(before < moved, "what was not applied had moved nothing");
        }
        assert_eq!(balance(&mut client, "b").await, moved);
        assert_eq!(balance(&mut client, "a").await, 1_000_000 - moved);
    }
    assert!(timed_out > 0, "some deadlines passed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_frozen_store_times_out_and_its_retry_is_applied_once() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.deposit(named("warm", "a", 1)).await.unwrap();

    redis.freeze();
    let mut request = Request::new(named("frozen", "a", 10));
    request.set_timeout(Duration::from_millis(300));
    let error = client.deposit(request).await.unwrap_err();
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error:?}");
    redis.thaw();

    let retried = client.deposit(named("frozen", "a", 10)).await.unwrap().into_inner();
    assert_eq!(retried.balance, usd(11));
    assert_eq!(balance(&mut client, "a").await, 11);
    assert_eq!(history(&mut client, "a").await.len(), 3);
}
