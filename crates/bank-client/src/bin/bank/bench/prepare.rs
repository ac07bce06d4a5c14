//! The accounts of a load, opened and funded if they are not yet.

use bank_client::{AccountType, BankClient, Currency, Error, Money, RequestId};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};

use super::limits::Limits;
use crate::{
    args::{Bench, Op},
    failure::Failure,
};

/// What the accounts hold.
pub(super) const CURRENCY: Currency = Currency::USD;
/// What is paid into each: more than a load takes out, a cent at a time.
const FUNDS: Money = Money { currency: CURRENCY, minor_units: 100_000_000_000 };
/// How many accounts are opened at a time.
const IN_FLIGHT: usize = 64;
/// After how many accounts the bar moves.
const BAR_STEP: u64 = 64;

/// The id of an account by its number.
pub(super) fn account_id(number: u32) -> String {
    format!("bank-bench-{number:07}")
}

/// Sees to it that the accounts are there, and have what they need.
pub(super) async fn accounts(client: &BankClient, limits: &Limits, args: &Bench) -> Result<(), Failure> {
    let funded = matches!(args.op, Op::Withdraw | Op::Transfer | Op::Mixed);
    let bar = ProgressBar::new(args.accounts.into());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} accounts, {elapsed}")
    {
        bar.set_style(style);
    }
    let prepared = stream::iter(0..args.accounts).map(|number| prepare(client, limits, number, funded));
    let result = prepared
        .buffer_unordered(IN_FLIGHT)
        .try_fold(0, |count, ()| {
            if count % BAR_STEP == 0 {
                bar.set_position(count);
            }
            std::future::ready(Ok(count + 1))
        })
        .await;
    bar.finish_and_clear();
    result?;
    Ok(())
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
        // From a run whose requests the bank has forgotten by now.
        Ok(_) | Err(Error::AccountAlreadyExists { .. }) => {}
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
