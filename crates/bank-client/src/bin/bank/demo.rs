//! `bank demo`: a short session that can be run any number of times.
//!
//! Every line that it prints is the bank's answer to a call. The calls on account 123 have fixed request ids, so a
//! second run gets the answers of the first, and an interrupted session is completed by the next run. The balance is
//! read as of the deposit, so that it does not depend on later calls.
//!
//! A new account is used instead of 123 if 123 belongs to somebody else, or if the bank no longer keeps the answers of
//! the first run.

use std::time::Duration;

use bank_client::{
    AccountReceipt, AccountType, Balance, BankClient, Currency, Error, InterestReceipt, Money, Receipt,
    Rejection, RequestId, json::Json as _,
};
use uuid::Uuid;

use crate::{failure::Failure, output::Output};

const ACCOUNT: &str = "123";
const DEPOSIT: Money = Money { currency: Currency::USD, minor_units: 100_000 };
const WITHDRAWAL: Money = Money { currency: Currency::USD, minor_units: 50_000 };
const ANNUAL_INTEREST_RATE: &str = "2.5";

/// The answers of the bank in a session.
struct Answers {
    opening: AccountReceipt,
    deposit: Receipt,
    balance: Balance,
    withdrawal: Receipt,
    interest: InterestReceipt,
}

pub(crate) async fn run(client: &BankClient, output: &mut Output) -> Result<(), Failure> {
    let answers = match session(client, ACCOUNT).await {
        Err(error) if error.is_rejection() => {
            let (unique, _) = Uuid::new_v4().as_u64_pair();
            let account = format!("{ACCOUNT}-{unique:016x}");
            output.note(&format!("{error} and is not the account of this demo; opening {account} instead"));
            session(client, &account).await
        }
        result => result,
    };
    let Answers { opening, deposit, balance, withdrawal, interest } = answers.map_err(|error| {
        // The request ids of the session are fixed.
        let is_unknown = error.outcome_unknown();
        let failure = Failure::from(error);
        if is_unknown {
            failure.with_hint("run the demo again: it continues where it stopped")
        } else {
            failure
        }
    })?;
    output.result(opening.json(), &opening.message);
    output.result(deposit.json(), &deposit.message);
    output.result(balance.json(), &balance.message);
    output.result(withdrawal.json(), &withdrawal.message);
    output.result(interest.json(), &interest.message);
    Ok(())
}

/// Runs the session on an account, or gets its answers again.
async fn session(client: &BankClient, account: &str) -> Result<Answers, Error> {
    let opening = client
        .create_account(account, AccountType::Savings)
        .currency(Currency::USD)
        .request_id(request_id("create"))
        .await?;
    let deposit = client.deposit(account, DEPOSIT).request_id(request_id("deposit")).await?;
    if deposit.balance != DEPOSIT {
        // Another payment came in between, or the bank has forgotten the deposit of an earlier session.
        return Err(Error::Rejected {
            rejection: Rejection::AccountAlreadyExists { account_id: deposit.account_id },
            replayed: false,
        });
    }
    let balance = client.balance(account).as_of(deposit.entry.created_at).await?;
    if !deposit.replayed {
        // Entries have times in milliseconds. A withdrawal in the millisecond of the deposit would count in the balance
        // as of the deposit.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let withdrawal = client.withdraw(account, WITHDRAWAL).request_id(request_id("withdraw")).await?;
    let interest =
        client.calculate_interest(account, ANNUAL_INTEREST_RATE).request_id(request_id("interest")).await?;
    Ok(Answers { opening, deposit, balance, withdrawal, interest })
}

/// Request ids are unique within an account, so those of all sessions can be the same.
fn request_id(step: &str) -> RequestId {
    #[expect(clippy::expect_used, reason = "the steps are fixed texts of visible ASCII")]
    format!("bank-demo-{step}").parse().expect("a valid request id")
}
