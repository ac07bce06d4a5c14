//! Opens and funds the accounts of a load.

use bank_client::{AccountType, BankClient, Currency, Error, Money, Rejection, RequestId};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::limits::Limits;
use crate::{
    args::{Bench, Op},
    failure::Failure,
    progress,
};

pub(super) const CURRENCY: Currency = Currency::USD;
/// What is paid into each account: more than a load takes out, a cent at a time.
const FUNDS: Money = Money { currency: CURRENCY, minor_units: 100_000_000_000 };
/// How many accounts are opened concurrently.
const IN_FLIGHT: usize = 64;

pub(super) fn account_id(number: u32) -> String {
    format!("bank-bench-{number:07}")
}

/// Makes sure that the accounts exist and have the funds that they need.
pub(super) async fn accounts(client: &BankClient, limits: &Limits, args: &Bench) -> Result<(), Failure> {
    let funded = matches!(args.op, Op::Withdraw | Op::Transfer | Op::Mixed);
    let bar =
        progress::bar(Some(args.accounts.into()), "{wide_bar} {human_pos}/{human_len} accounts, {elapsed}");
    let prepared = stream::iter(0..args.accounts).map(|number| prepare(client, limits, number, funded));
    let result = prepared.buffer_unordered(IN_FLIGHT).try_for_each(|()| {
        bar.inc(1);
        std::future::ready(Ok(()))
    });
    let result = result.await;
    bar.finish_and_clear();
    Ok(result?)
}

async fn prepare(client: &BankClient, limits: &Limits, number: u32, funded: bool) -> Result<(), Error> {
    limits.turn(if funded { 2 } else { 1 }, None).await;
    let account = account_id(number);
    let opening = client
        .create_account(&account, AccountType::Savings)
        .currency(CURRENCY)
        .label("purpose", "bank-bench")
        .request_id(request_id("open"));
    match opening.await {
        // It exists already if the bank has forgotten the request of an earlier run.
        Ok(_) | Err(Error::Rejected { rejection: Rejection::AccountAlreadyExists { .. }, .. }) => {}
        Err(error) => return Err(error),
    }
    if funded {
        client.deposit(&account, FUNDS).request_id(request_id("fund")).await?;
    }
    Ok(())
}

/// Request ids are unique within an account, so those of all accounts can be the same.
fn request_id(step: &str) -> RequestId {
    #[expect(clippy::expect_used, reason = "the steps are fixed texts of visible ASCII")]
    format!("bank-bench-{step}").parse().expect("a valid request id")
}
