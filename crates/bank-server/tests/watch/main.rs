//! Watches of real servers: nothing is missed and nothing is told twice, whatever breaks off in between.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its seed"
)]

mod bounds;
mod exactly_once;
mod follower;
#[path = "../../../bank-store/tests/redis/proxy.rs"]
mod proxy;
mod setback;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod tokens;

use std::time::Duration;

use bank_client::{AccountType, BankClient, Currency, Money, RetryPolicy};

/// Servers find out soon what others have written, and say often that they are there.
const SOON: [&str; 4] = ["--set", "watch.poll_interval_ms=50", "--set", "watch.heartbeat_interval_ms=100"];

/// A client that connects anew at once, and takes a connection for dead that is silent for seconds.
fn client(endpoint: &str) -> BankClient {
    let backoff_max = Duration::from_millis(100);
    let retry =
        RetryPolicy { attempts_max: 1_000, backoff_max, budget_tokens: 1_000_000, ..Default::default() };
    let builder = BankClient::builder(endpoint).retry(retry);
    builder.timeout(Duration::from_secs(3)).connect_lazy().unwrap()
}

fn cents(minor_units: i64) -> Money {
    Money { currency: Currency::USD, minor_units }
}

async fn open(bank: &BankClient, account_id: &str) {
    let call = bank.create_account(account_id, AccountType::Savings).currency(Currency::USD);
    call.timeout(Duration::from_secs(30)).await.unwrap();
}
