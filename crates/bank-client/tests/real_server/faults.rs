//! Connections that break during a call.

use std::time::Duration;

use bank_client::{AccountType, BankClient, Currency, Error, Money, RetryPolicy};
use tokio::net::TcpListener;

use crate::{
    process::Server,
    proxy::{Cut, Proxy},
};

const TEN: Money = Money { currency: Currency::USD, minor_units: 1_000 };

/// A client that goes through a proxy, with an account open.
async fn start(policy: RetryPolicy) -> (Server, Proxy, BankClient) {
    let server = Server::start();
    let proxy = Proxy::start(&server.address).await;
    let builder = BankClient::builder(&proxy.endpoint).retry(policy).timeout(Duration::from_mins(1));
    let client = builder.connect().await.unwrap();
    client.create_account("1", AccountType::Savings).currency(Currency::USD).await.unwrap();
    (server, proxy, client)
}

#[tokio::test]
async fn a_request_that_was_lost_is_sent_again() {
    let (_server, proxy, client) = start(RetryPolicy::default()).await;
    proxy.cut([Cut::BeforeTheEffect]);
    let receipt = client.deposit("1", TEN).await.unwrap();
    assert!(!receipt.replayed);
    assert_eq!(client.balance("1").await.unwrap().balance, TEN);
}

#[tokio::test]
async fn a_call_whose_reply_was_lost_is_retried_and_executed_once() {
    let (_server, proxy, client) = start(RetryPolicy::default()).await;
    proxy.cut([Cut::AfterTheEffect, Cut::BeforeTheEffect]);
    let receipt = client.deposit("1", TEN).await.unwrap();
    assert!(receipt.replayed);
    assert_eq!(receipt.balance, TEN);
    let account = client.account("1").await.unwrap();
    assert_eq!((account.balance, account.version), (TEN, 2));
}

#[tokio::test]
async fn without_retries_the_caller_decides() {
    let (_server, proxy, client) = start(RetryPolicy::never()).await;
    for (cut, carried_out) in [(Cut::AfterTheEffect, true), (Cut::BeforeTheEffect, false)] {
        proxy.cut([cut]);
        let error = client.deposit("1", TEN).await.unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
        let request_id = error.request_id().unwrap().clone();
        let receipt = client.deposit("1", TEN).request_id(request_id).await.unwrap();
        assert_eq!(receipt.replayed, carried_out, "{cut:?}");
    }
    assert_eq!(client.balance("1").await.unwrap().balance.minor_units, 2 * TEN.minor_units);
}

#[tokio::test]
async fn reads_have_no_unknown_outcome() {
    let (_server, proxy, client) = start(RetryPolicy::never()).await;
    proxy.cut([Cut::AfterTheEffect]);
    let error = client.balance("1").await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert!(!error.outcome_unknown());
    assert_eq!(client.balance("1").await.unwrap().balance.minor_units, 0);
}

#[tokio::test]
async fn a_client_reconnects_to_a_restarted_server() {
    let server = Server::start();
    let address = server.address.clone();
    let client = BankClient::connect(server.endpoint()).await.unwrap();
    client.accounts().await.unwrap();
    drop(server);
    let call = client.create_account("1", AccountType::Savings).timeout(Duration::from_mins(1));
    let call = tokio::spawn(call.send());
    // The client has tried to connect while the server is down.
    let nobody = TcpListener::bind(&address).await.unwrap();
    drop(nobody.accept().await.unwrap());
    drop(nobody);
    let _server = Server::listen(&address);
    assert_eq!(call.await.unwrap().unwrap().message, "Account 1 created successfully");
}
