//! Prints what happened to an account, the oldest first, however long its history is.
//!
//! ```sh
//! cargo run -p bank-client --example statement -- 123
//! ```

#![expect(clippy::print_stdout, reason = "an example")]

use anyhow::Context as _;
use bank_client::{BankClient, ListOrder, TryStreamExt as _};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let account = std::env::args().nth(1).context("name an account: statement -- 123")?;
    let client = BankClient::connect("http://127.0.0.1:50051").await?;

    // Pages are fetched as the stream is read: it takes the memory of one.
    let mut entries = client.history(&account).order(ListOrder::OldestFirst).page_size(500).stream();
    while let Some(entry) = entries.try_next().await? {
        println!(
            "{:<24} {:<16} {:>12} {:>12}  {}",
            entry.created_at.to_string(),
            entry.kind,
            entry.amount.to_decimal(),
            entry.balance_after.to_decimal(),
            entry.description
        );
    }
    println!("{}", client.balance(&account).await?.message);
    Ok(())
}
