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
mod files;
mod keys;
mod output;
mod progress;
mod table;
mod text;
mod value;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{args::Cli, output::Output};

/// SIGXFSZ: a write exceeded the file size limit of the process (`ulimit -f`).
const FILE_SIZE_EXCEEDED: SignalKind = SignalKind::from_raw(25);

#[tokio::main]
async fn main() -> ExitCode {
    // By default the signal ends the process. With a handler, the write fails instead and the command reports it.
    let _file_size_exceeded = signal(FILE_SIZE_EXCEEDED);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let mut output = Output::new(cli.global.output);
    let ended = commands::run(cli, &mut output).await;
    output.finish(ended)
}
