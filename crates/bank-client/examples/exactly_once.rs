//! Pays an invoice once, whatever breaks on the way.
//!
//! The request id is made from what is paid for, so it is the same after a crash of this program: it
//! can be run again and again, and the invoice is paid once. Where there is nothing to make it from,
//! draw one and save it before the call.
//!
//! ```sh
//! cargo run -p bank-server &
//! cargo run -p bank-client --example exactly_once
//! ```

#![expect(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use bank_client::{
    AccountType, BankClient, Currency, Error, Money, Rejection, RequestId, RetryPolicy, Route,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = BankClient::builder("http://127.0.0.1:50051")
        .timeout(Duration::from_secs(5))
        .retry(RetryPolicy { attempts_max: 10, ..RetryPolicy::default() })
        .connect()
        .await?;
    for account in ["buyer", "seller"] {
        let call = client.create_account(account, AccountType::Checking).currency(Currency::USD);
        match call.await {
            Ok(_) | Err(Error::Rejected { rejection: Rejection::AccountAlreadyExists { .. }, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let price = Money::parse_decimal("25.00", Currency::USD)?;
    client.deposit("buyer", price).request_id("pocket-money-4711".parse()?).await?;

    let invoice: RequestId = "invoice-4711".parse()?;
    let payment = client.transfer(Route { from: "buyer", to: "seller" }, price).request_id(invoice);
    loop {
        match payment.clone().await {
            Ok(receipt) if receipt.replayed => println!("Already paid at {}", receipt.entry.created_at),
            Ok(receipt) => println!("{}", receipt.message),
            // The client has given up repeating it; this program does not.
            Err(error) if error.is_retryable() => {
                println!("{error}; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        return Ok(());
    }
}
