//! Batches and streams of the library, on connections that break too.

use std::time::Duration;

use bank_client::{
    AccountState, AccountType, BankClient, Batch, Currency, Done, Error, Money, Operation, Rejection,
    Results, RetryPolicy, Route, StreamExt as _,
};
use futures::stream;

use crate::{
    process::Server,
    proxy::{Cut, Proxy},
};

fn usd(minor_units: i64) -> Money {
    Money { currency: Currency::USD, minor_units }
}

/// A client that goes through a proxy, with two accounts open.
async fn start(policy: RetryPolicy) -> (Server, Proxy, BankClient) {
    let server = Server::start();
    let proxy = Proxy::start(&server.address).await;
    let builder = BankClient::builder(&proxy.endpoint).retry(policy).timeout(Duration::from_secs(20));
    let client = builder.connect().await.unwrap();
    for account in ["a", "b"] {
        client.create_account(account, AccountType::Savings).currency(Currency::USD).await.unwrap();
    }
    (server, proxy, client)
}

fn mixed(client: &BankClient) -> Batch {
    client
        .batch()
        .add(client.deposit("a", usd(10_000)))
        .add(client.withdraw("a", usd(99_999)))
        .add(client.transfer(Route { from: "a", to: "b" }, usd(2_500)))
        .add(client.withdraw("b", usd(500)).description("cash"))
        .add(client.calculate_interest("a", "2.5"))
}

#[tokio::test]
async fn each_operation_has_its_own_outcome_and_is_executed_once() {
    let (_server, _proxy, client) = start(RetryPolicy::default()).await;
    let batch = mixed(&client);
    let results = batch.clone().await.unwrap();
    let [
        Ok(Done::Changed(deposit)),
        Err(refused),
        Ok(Done::Changed(_)),
        Ok(Done::Changed(cash)),
        Ok(interest),
    ] = &*results
    else {
        panic!("{results:?}")
    };
    assert_eq!(deposit.message, "Successfully deposited $100.00");
    assert!(
        matches!(refused, Error::Rejected { rejection: Rejection::InsufficientFunds { available, .. }, .. } if *available == usd(10_000))
    );
    assert_eq!((cash.entry.description.as_str(), cash.balance), ("cash", usd(2_000)));
    let Done::Interest(receipt) = interest else { panic!("{interest:?}") };
    assert_eq!(
        (receipt.interest, interest.brief().amount, interest.brief().balance),
        (usd(188), usd(188), usd(7_688))
    );

    let again = batch.brief().await.unwrap();
    assert!(again[1].as_ref().is_err_and(Error::replayed), "{again:?}");
    let Ok(Done::Brief(brief)) = &again[0] else { panic!("{again:?}") };
    assert!(brief.replayed);
    assert_eq!((&brief.transaction_id, brief.sequence), (&deposit.entry.transaction_id, 2));
    assert_eq!((brief.amount, brief.balance), (usd(10_000), usd(10_000)));
    assert_eq!(client.account("a").await.unwrap().version, 4);

    let error = client.batch().await.unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
    let checked = client.batch().add(client.deposit("a", usd(1))).validate_only().await.unwrap();
    assert_eq!(checked[0].as_ref().unwrap().brief().balance, usd(7_689));
    assert_eq!(client.account("a").await.unwrap().version, 4);
}

#[tokio::test]
async fn accounts_are_opened_changed_and_closed_in_batches() {
    let (_server, _proxy, client) = start(RetryPolicy::default()).await;
    let opened =
        client.create_account("new", AccountType::Checking).currency(Currency::USD).label("team", "7");
    let batch = client
        .batch()
        .add(opened)
        .add(client.deposit("new", usd(100)))
        .add(client.set_overdraft_limit("new", usd(50)))
        .add(client.freeze_account("new"))
        .add(client.unfreeze_account("new"))
        .add(client.withdraw("new", usd(100)))
        .add(client.close_account("new"))
        .add(client.create_account("other", AccountType::Savings));
    let results = batch.clone().atomic().await.unwrap();
    let done: Vec<_> = results.iter().map(|result| result.as_ref().unwrap()).collect();
    let Done::Opened(opened) = done[0] else { panic!("{done:?}") };
    assert_eq!(opened.message, "Account new created successfully");
    assert_eq!(opened.account.labels["team"], "7");
    let Done::Changed(limit) = done[2] else { panic!("{done:?}") };
    assert_eq!(limit.message, "Overdraft limit of account new set to $0.50");
    let amounts: Vec<_> = done.iter().map(|done| done.brief().amount.minor_units).collect();
    assert_eq!(amounts, [0, 100, 0, 0, 0, -100, 0, 0]);
    let balances: Vec<_> = done.iter().map(|done| done.brief().balance.minor_units).collect();
    assert_eq!(balances, [0, 100, 100, 100, 100, 0, 0, 0]);

    let again = batch.brief().await.unwrap();
    for (first, again) in done.iter().zip(&again) {
        let again = again.as_ref().unwrap();
        assert!(again.brief().replayed && !first.brief().replayed);
        assert_eq!(again.brief().transaction_id, first.brief().transaction_id);
    }
    let account = client.account("new").await.unwrap();
    assert_eq!((account.state, account.version), (AccountState::Closed, 7));
}

#[tokio::test]
async fn a_batch_whose_reply_was_lost_is_retried_and_executed_once() {
    let (_server, proxy, client) = start(RetryPolicy::default()).await;
    proxy.cut([Cut::AfterTheEffect, Cut::BeforeTheEffect]);
    let results = mixed(&client).await.unwrap();
    assert!(results[0].as_ref().unwrap().brief().replayed);
    assert!(results[1].as_ref().is_err_and(Error::replayed));
    assert_eq!(client.account("a").await.unwrap().version, 4);
}

#[tokio::test]
async fn without_retries_unknown_outcomes_name_their_request_ids() {
    let (_server, proxy, client) = start(RetryPolicy::never()).await;
    proxy.cut([Cut::AfterTheEffect]);
    let batch = client.batch().add(client.deposit("a", usd(1))).add(client.deposit("b", usd(2)));
    let results = batch.clone().await.unwrap();
    for (result, operation) in results.iter().zip(batch.operations()) {
        let error = result.as_ref().unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
        assert_eq!(error.request_id(), operation.request_id());
    }
    let results = batch.await.unwrap();
    assert!(results.iter().all(|result| result.as_ref().unwrap().brief().replayed), "{results:?}");
}

#[tokio::test]
async fn a_stream_survives_lost_connections_and_executes_nothing_twice() {
    const BATCHES: i64 = 60;
    let (_server, proxy, client) = start(RetryPolicy::default()).await;
    let batches = {
        let client = client.clone();
        (1..=BATCHES).map(move |number| {
            client.batch().add(client.deposit("a", usd(number))).add(client.deposit("b", usd(1)))
        })
    };
    let mut results = client.stream(stream::iter(batches)).in_flight_max(3).results();
    let mut number = 0;
    while let Some(batch) = results.next().await {
        number += 1;
        let batch = batch.unwrap();
        assert_eq!(batch[0].as_ref().unwrap().brief().amount, usd(number), "in order");
        assert_eq!(batch[0].as_ref().unwrap().brief().balance, usd((1..=number).sum()));
        match number {
            10 => proxy.cut([Cut::BeforeTheEffect]),
            20 | 40 => proxy.cut([Cut::AfterTheEffect]),
            _ => {}
        }
    }
    assert_eq!(number, BATCHES);
    assert_eq!(client.balance("b").await.unwrap().balance, usd(BATCHES));
}

#[tokio::test]
async fn a_dry_run_spans_the_batches_of_a_stream_but_not_connections() {
    let (_server, proxy, client) = start(RetryPolicy::default()).await;
    client.deposit("a", usd(500)).await.unwrap();
    let withdrawals = |client: &BankClient| {
        let batch = (0..100).fold(client.batch(), |batch, _| batch.add(client.withdraw("a", usd(1))));
        batch.brief().validate_only()
    };
    let batches = {
        let client = client.clone();
        (0..10).map(move |_| withdrawals(&client))
    };
    let results: Vec<_> = client.stream(stream::iter(batches.clone())).results().collect().await;
    let done = |results: &Result<Results, Error>| {
        results.as_ref().unwrap().iter().filter(|result| result.is_ok()).count()
    };
    assert_eq!(results.iter().map(done).collect::<Vec<_>>(), [100, 100, 100, 100, 100, 0, 0, 0, 0, 0]);
    assert_eq!(client.balance("a").await.unwrap().balance, usd(500));

    let mut results = client.stream(stream::iter(batches.clone())).in_flight_max(1).results();
    assert_eq!(done(&results.next().await.unwrap()), 100);
    proxy.cut([Cut::AfterTheEffect]);
    let ended = results.next().await.unwrap();
    assert!(matches!(ended, Err(Error::ConnectionLost { .. })), "{ended:?}");
    assert!(results.next().await.is_none());

    // Before anything was answered, nothing is lost.
    proxy.cut([Cut::AfterTheEffect]);
    let results: Vec<_> = client.stream(stream::iter(batches)).results().collect().await;
    assert_eq!(results.iter().map(done).collect::<Vec<_>>(), [100, 100, 100, 100, 100, 0, 0, 0, 0, 0]);

    // Ids are told apart as in a real run, and left out where they need not be.
    let deposit = Operation::from(client.deposit("a", usd(1)));
    let twice = client.batch().add(deposit.clone()).add(deposit.clone().without_request_id()).add(deposit);
    let results = twice.validate_only().await.unwrap();
    let replayed: Vec<_> = results.iter().map(|result| result.as_ref().unwrap().brief().replayed).collect();
    assert_eq!(replayed, [false, false, true]);
}

#[tokio::test]
async fn a_rejected_batch_of_a_stream_has_its_error_in_order() {
    let (_server, _proxy, client) = start(RetryPolicy::default()).await;
    let batches = [
        client.batch().add(client.deposit("a", usd(1))),
        client.batch(),
        client.batch().add(client.deposit("a", usd(2))),
    ];
    let results: Vec<_> = client.stream(stream::iter(batches)).results().collect().await;
    assert_eq!(results.len(), 3);
    assert!(matches!(results[1], Err(Error::InvalidArgument { .. })), "{results:?}");
    assert_eq!(results[2].as_ref().unwrap()[0].as_ref().unwrap().brief().balance, usd(3));
}
