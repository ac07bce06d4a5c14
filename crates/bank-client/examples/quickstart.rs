//! Opens an account, pays in, pays out, and asks for more than there is.
//!
//! ```sh
//! cargo run -p bank-server &
//! cargo run -p bank-client --example quickstart
//! ```

#![expect(clippy::print_stdout, reason = "an example")]

use bank_client::{AccountType, BankClient, Currency, Error, Money, Rejection};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = BankClient::connect("http://127.0.0.1:50051").await?;

    let account = format!("quickstart-{}", std::process::id());
    let opened = client.create_account(&account, AccountType::Savings).currency(Currency::USD).await?;
    println!("{}", opened.message);

    let salary = Money::parse_decimal("1000.00", Currency::USD)?;
    println!("{}", client.deposit(&account, salary).description("salary for May").await?.message);
    let rent = Money::parse_decimal("500.00", Currency::USD)?;
    println!("{}", client.withdraw(&account, rent).description("rent for May").await?.message);

    match client.withdraw(&account, salary).await {
        Ok(receipt) => println!("{}", receipt.message),
        Err(Error::Rejected { rejection: Rejection::InsufficientFunds { available, .. }, .. }) => {
            println!("There is only {available} left");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
