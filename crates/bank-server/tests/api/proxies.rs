//! Calls through a real nginx, with the sample configuration of `deploy/nginx`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::HashSet, time::Duration};

use bank_client::{AccountType, BankClient, Currency, Money, RetryPolicy, TryStreamExt as _};
use futures::{StreamExt as _, stream};
use tokio::time::timeout;

use crate::support::{Bank, nginx::Nginx};

const CENT: Money = Money { currency: Currency::USD, minor_units: 1 };
/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(2);

async fn open(client: &BankClient, account: &str) {
    client.create_account(account, AccountType::Savings).currency(Currency::USD).await.unwrap();
}

/// nginx renews a connection after a number of requests. Calls in flight are lost then, on either side of it, and
/// tonic reports CANCELLED or UNKNOWN for them. Each must still have its outcome once, without a retry policy
/// whose budget it would exhaust.
#[tokio::test]
async fn every_call_succeeds_though_nginx_renews_connections() {
    let bank = Bank::memory().await;
    let low =
        [("keepalive_requests 1000000;\n    keepalive_time", "keepalive_requests 10;\n    keepalive_time")];
    let nginx = Nginx::start(bank.port(), &low);
    let builder = BankClient::builder(nginx.endpoint()).timeout(PATIENCE).retry(RetryPolicy::never());
    let client = builder.connect().await.unwrap();
    open(&client, "a").await;
    let calls: u32 = 400;
    let receipts: Vec<_> = stream::iter(0..calls)
        .map(|_| async {
            client.balance("a").await.unwrap();
            client.deposit("a", CENT).await.unwrap()
        })
        .buffer_unordered(16)
        .collect()
        .await;
    let mut sequences: Vec<_> = receipts.iter().map(|receipt| receipt.entry.sequence).collect();
    sequences.sort_unstable();
    assert!(sequences.into_iter().eq(2..u64::from(calls) + 2), "each is carried out once");
    assert_eq!(client.balance("a").await.unwrap().balance.minor_units, i64::from(calls));
}

/// More than the 1 MiB that nginx lets through by default, in one stream, and longer silent than its 60 s would be if
/// they were shorter.
#[tokio::test]
async fn streams_pass_whole_through_nginx() {
    let bank = Bank::memory().await;
    let nginx = Nginx::start(bank.port(), &[]);
    let client = BankClient::builder(nginx.endpoint()).timeout(PATIENCE).connect().await.unwrap();
    open(&client, "a").await;
    let mut watch = client.watch("a").from_start().stream();

    let description = "x".repeat(250);
    let batch = |client: &BankClient| {
        let deposit = || client.deposit("a", CENT).description(&description);
        (0..500).fold(client.batch().brief(), |batch, _| batch.add(deposit()))
    };
    // 12 batches of about 170 KB.
    let batches: Vec<_> = (0..12).map(|_| batch(&client)).collect();
    let mut results = client.stream(stream::iter(batches)).results();
    let mut done = 0;
    while let Some(answers) = results.try_next().await.unwrap() {
        done += answers.iter().filter(|answer| answer.is_ok()).count();
    }
    assert_eq!(done, 6_000);
    let mut received = 0;
    while received < 6_001 {
        received += timeout(PATIENCE, watch.try_next()).await.unwrap().unwrap().unwrap().entries.len();
    }
    assert_eq!(received, 6_001);
}

/// Each of these servers has a bank of its own, which shows where calls went.
#[tokio::test]
async fn nginx_sends_all_calls_for_accounts_of_one_route_to_one_server() {
    let banks = [Bank::memory().await, Bank::memory().await];
    let nginx = Nginx::before(&[banks[0].port(), banks[1].port()], &[]);
    let client = BankClient::builder(nginx.endpoint()).timeout(PATIENCE).connect().await.unwrap();
    for number in 0..20 {
        open(&client, &format!("c{number}:checking")).await;
        open(&client, &format!("c{number}:savings")).await;
    }
    let mut counts = Vec::new();
    for bank in &banks {
        let client = BankClient::connect(format!("http://127.0.0.1:{}", bank.port())).await.unwrap();
        let accounts: Vec<_> = client.accounts().stream().try_collect().await.unwrap();
        let customers: HashSet<_> =
            accounts.iter().map(|account| account.account_id.as_str().split(':').next().unwrap()).collect();
        assert_eq!(accounts.len(), 2 * customers.len(), "a customer's accounts are on one server");
        counts.push(customers.len());
    }
    assert_eq!(counts.iter().sum::<usize>(), 20);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
