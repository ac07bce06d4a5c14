//! Pays a thousand salaries in a few calls: on a stream of batches, each all or none.
//!
//! ```sh
//! cargo run -p bank-server &
//! cargo run -p bank-client --example payroll
//! ```

#![expect(clippy::print_stdout, reason = "an example")]

use bank_client::{AccountType, BankClient, Currency, Error, Money, Rejection, Route, StreamExt as _};
use futures::stream;

const EMPLOYEES: usize = 1_000;
const BATCH: usize = 100;
const SALARY: Money = Money { currency: Currency::USD, minor_units: 250_000 };

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = BankClient::connect("http://127.0.0.1:50051").await?;
    let accounts: Vec<_> = (0..EMPLOYEES).map(|number| format!("employee-{number}")).collect();
    for account in accounts.iter().map(String::as_str).chain(["employer"]) {
        match client.create_account(account, AccountType::Savings).currency(Currency::USD).await {
            Ok(_) | Err(Error::Rejected { rejection: Rejection::AccountAlreadyExists { .. }, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let budget = Money { minor_units: SALARY.minor_units * 1_000, ..SALARY };
    client.deposit("employer", budget).await?;

    let batches: Vec<_> = accounts
        .chunks(BATCH)
        .map(|accounts| {
            let pay = |to| Route { from: "employer", to };
            accounts
                .iter()
                .fold(client.batch().atomic(), |batch, to| batch.add(client.transfer(pay(to), SALARY)))
        })
        .collect();
    let mut results = client.stream(stream::iter(batches)).results();
    let mut paid = 0;
    while let Some(batch) = results.next().await {
        for result in batch? {
            result?;
            paid += 1;
        }
    }
    println!("{paid} salaries paid; the employer has {}", client.balance("employer").await?.balance);
    Ok(())
}
