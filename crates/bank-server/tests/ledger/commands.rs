//! Commands and requests for the ledger.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bank_domain::{
    AccountType, Amount, Command, Currency, Deposit, Description, Labels, OpenAccount, Owner, RequestId,
    Transfer, Withdraw,
};
use bank_server::{
    auth::{Access, Identity, Method},
    ledger::Operation,
};
use tokio::time::Instant;

pub(crate) fn request(command: Command, request_id: &str) -> Operation {
    Operation {
        access: Access::grant(Identity::operator(), Method::Deposit).unwrap(),
        command,
        request_id: request_id.parse::<RequestId>().ok(),
    }
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

pub(crate) fn open(account_id: &str) -> Command {
    let account_id = account_id.parse().unwrap();
    let (owner, labels) = (Owner::default(), Labels::default());
    let open = OpenAccount::try_new(account_id, AccountType::Savings, Currency::USD, owner, labels, None);
    Command::OpenAccount(open.unwrap())
}

pub(crate) fn deposit(account_id: &str, minor_units: i64) -> Command {
    Command::Deposit(Deposit {
        account_id: account_id.parse().unwrap(),
        amount: Amount::try_new(None, minor_units).unwrap(),
        description: Description::default(),
    })
}

pub(crate) fn withdraw(account_id: &str, minor_units: i64) -> Command {
    Command::Withdraw(Withdraw {
        account_id: account_id.parse().unwrap(),
        amount: Amount::try_new(None, minor_units).unwrap(),
        description: Description::default(),
    })
}

pub(crate) fn transfer(source: &str, destination: &str, minor_units: i64) -> Command {
    let amount = Amount::try_new(None, minor_units).unwrap();
    let [source, destination] = [source, destination].map(|id| id.parse().unwrap());
    Command::Transfer(Transfer::try_new(source, destination, amount, Description::default()).unwrap())
}
