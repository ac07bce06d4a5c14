//! Watches of real servers: each entry is reported exactly once, whatever breaks meanwhile.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and prints its seed"
)]

mod bounds;
mod exactly_once;
mod follower;
#[path = "../../../bank-store/tests/redis/proxy.rs"]
mod proxy;
mod setback;
mod start;
mod tokens;

use std::time::Duration;

use bank_client::{AccountType, BankClient, Currency, Money, RetryPolicy};

/// Servers poll and send heartbeats often.
const SOON: [&str; 4] = ["--set", "watch.poll_interval_ms=50", "--set", "watch.heartbeat_interval_ms=100"];

/// What a server logs if an entry that a watch has reported is gone.
const ENTRY_LOST: &str = "an entry that a watch has reported is no longer in the history";

/// A client that reconnects at once, and closes a connection that is silent for seconds.
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
