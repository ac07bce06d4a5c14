//! `bank demo`: the session of the original client, on any server, any number of times.
//!
//! Every line that it prints is the bank's answer to a call. The calls on account 123 have fixed
//! request ids, so a second run gets the answers of the first again: the account *was* created, the
//! money *was* deposited, once. A session that broke off is finished by the next run. The balance is
//! asked for as of the deposit, when it was what the line says.
//!
//! Where that cannot be, a new account takes the place of 123: when 123 is somebody else's, and when
//! the bank no longer keeps the answers of the first run.

use std::time::Duration;

use bank_client::{
    AccountReceipt, AccountType, Balance, BankClient, Currency, Error, InterestReceipt, Money, Receipt,
    RequestId,
};
use uuid::Uuid;

use crate::{failure::Failure, output::Output};

const ACCOUNT: &str = "123";
const DEPOSIT: Money = Money { currency: Currency::USD, minor_units: 100_000 };
const WITHDRAWAL: Money = Money { currency: Currency::USD, minor_units: 50_000 };
const ANNUAL_INTEREST_RATE: &str = "2.5";

/// What the bank answers in a session.
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
            output.note(&format!("{error}, and not by this demo of late; opening {account} instead"));
            session(client, &account).await
        }
        result => result,
    };
    let answers = answers.map_err(Failure::Demo)?;
    output.result(&answers.opening, &answers.opening.message);
    output.result(&answers.deposit, &answers.deposit.message);
    output.result(&answers.balance, &answers.balance.message);
    output.result(&answers.withdrawal, &answers.withdrawal.message);
    output.result(&answers.interest, &answers.interest.message);
    Ok(())
}

/// Has the session on an account, or gets its answers again.
async fn session(client: &BankClient, account: &str) -> Result<Answers, Error> {
    let opening = client
        .create_account(account, AccountType::Savings)
        .currency(Currency::USD)
        .request_id(request_id("create"))
        .await?;
    let deposit = client.deposit(account, DEPOSIT).request_id(request_id("deposit")).await?;
    if deposit.balance != DEPOSIT {
        // Somebody paid in between, or the bank has just forgotten the deposit of an earlier session.
        return Err(Error::AccountAlreadyExists { account_id: deposit.account_id, replayed: false });
    }
    let balance = client.balance(account).as_of(deposit.entry.created_at).await?;
    if !deposit.replayed {
        // History is in milliseconds: the withdrawal must not share one with the deposit, or the
        // balance as of the deposit would have it in.
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
