//! `bank bench`: puts a load on a bank and tells how it bears it.
//!
//! The accounts are its own, `bank-bench-0000000` and so on, opened and funded with request ids of
//! their own: the next run finds them. Every call is made once. One that fails is counted with its
//! reason, and its caller waits as long as the bank asks for, or a moment.
//!
//! The load keeps to what the server allows one caller, and reports which setting it had to wait for: else rejections
//! would be all that is measured.

mod limits;
mod load;
mod pace;
mod prepare;
mod report;

use std::sync::Arc;

use bank_client::RetryPolicy;

pub(crate) use self::report::Report;
use self::{limits::Limits, load::Load};
use crate::{
    args::{self, Global, Op},
    connect::{self, connect},
    failure::Failure,
    output::Output,
    table,
};

pub(crate) async fn run(global: &Global, args: &args::Bench, output: &mut Output) -> Result<(), Failure> {
    if matches!(args.op, Op::Transfer | Op::Mixed) && args.accounts < 2 {
        return Err(Failure::Incomplete { given: "--op transfer or mixed", missing: "--accounts 2 or more" });
    }
    if matches!(args.op, Op::Balance | Op::Mixed) && args.batch > 1 {
        return Err(Failure::Incomplete { given: "--batch", missing: "--op deposit, withdraw or transfer" });
    }
    let client = connect(global).await?;
    let limits = Limits::of(&client.server_info().await?.limits, args)?;
    if let Some(setting) = args.rate.and_then(|rate| limits.exceeded_by(rate)) {
        output.note(&format!("the server refuses what is beyond {setting}, which --rate exceeds"));
    }
    prepare::accounts(&client, &limits, args).await?;
    // One client for each connection: else calls would take turns on all of them.
    let mut clients = Vec::with_capacity(args.connections.into());
    for _ in 0..args.connections {
        clients.push(connect::builder(global)?.retry(RetryPolicy::never()).connect().await?);
    }
    let report = Arc::new(Load::new(args.clone(), limits)).run(clients).await;
    output.result(&report, table::bench(&report));
    Ok(())
}
