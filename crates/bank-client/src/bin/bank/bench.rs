//! `bank bench`: a load test.
//!
//! It has its own accounts, `bank-bench-0000000` and so on, opened and funded with fixed request ids: the next run uses
//! them again. Calls are not retried. A failed call is counted by its reason, and its caller pauses for as long as the
//! bank asks for.
//!
//! The load stays within what the server allows one caller, and the report names the settings that limited it.
//! Otherwise mostly rejections would be measured.

mod limits;
mod load;
mod pace;
mod prepare;
mod report;

use std::sync::Arc;

use bank_client::{BankClient, RetryPolicy};

use self::{limits::Limits, load::Load};
use crate::{
    args::{self, Global, Op},
    connect,
    failure::Failure,
    output::Output,
};

/// Fails for a load that is impossible with every bank.
pub(crate) fn check(args: &args::Bench) -> Result<(), Failure> {
    if matches!(args.op, Op::Transfer | Op::Mixed) && args.accounts < 2 {
        return Err(Failure::incomplete("--op transfer or mixed", "--accounts 2 or more"));
    }
    if matches!(args.op, Op::Balance | Op::Mixed) && args.batch > 1 {
        return Err(Failure::incomplete("--batch", "--op deposit, withdraw or transfer"));
    }
    Ok(())
}

pub(crate) async fn run(
    client: &BankClient,
    global: &Global,
    args: args::Bench,
    output: &mut Output,
) -> Result<(), Failure> {
    let limits = Limits::of(&client.server_info().await?.limits, &args)?;
    if let Some(setting) = args.rate.and_then(|rate| limits.exceeded_by(rate)) {
        output.note(&format!("--rate exceeds {setting}: the server will reject the excess"));
    }
    prepare::accounts(client, &limits, &args).await?;
    // One client for each connection: otherwise calls would rotate over all of them.
    let mut clients = Vec::with_capacity(args.connections.into());
    for _ in 0..args.connections {
        clients.push(connect::builder(global)?.retry(RetryPolicy::never()).connect().await?);
    }
    let load = Arc::new(Load::new(args, limits));
    let report = load.run(clients).await;
    output.result(report.json(), report.table());
    Ok(())
}
