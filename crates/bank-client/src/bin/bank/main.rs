//! The `bank` command line tool.

mod apply;
mod args;
mod audit;
mod backup;
mod bench;
mod commands;
mod connect;
mod demo;
mod failure;
mod json;
mod keys;
mod output;
mod table;
mod value;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Cli, failure::Failure, output::Output};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut output = Output::new(cli.global.output);
    let result = commands::run(cli, &mut output).await;
    match result.and_then(|()| output.flush().map_err(Failure::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}
