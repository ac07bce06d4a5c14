//! `bank apply`.

use std::path::PathBuf;

use bank_client::Currency;
use clap::{Args, builder::RangedU64ValueParser};

pub(crate) const HELP: &str = include_str!("apply.txt");

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// File of operations, or - for standard input
    pub(crate) file: PathBuf,
    /// Name of the run, the same for every attempt: 1 to 64 visible characters
    ///
    /// Not needed if every line has its own `request_id`.
    #[arg(long, value_parser = name)]
    pub(crate) name: Option<String>,
    /// Send rejected lines again, under new request ids
    #[arg(long)]
    pub(crate) retry_rejected: bool,
    /// Results file [default: FILE.results.jsonl]
    #[arg(long, value_name = "FILE")]
    pub(crate) results: Option<PathBuf>,
    /// Number of operations per batch
    #[arg(long, default_value_t = 500, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000), value_name = "COUNT")]
    pub(crate) batch: usize,
    /// Carry out all operations of a batch or none
    #[arg(long)]
    pub(crate) atomic: bool,
    /// Currency of lines without one, as an ISO 4217 code
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<Currency>,
    /// Dry run: show what the file would do, without changing anything
    #[arg(long, visible_alias = "dry-run")]
    pub(crate) validate_only: bool,
}

/// As long as a request id may be.
const NAME_LENGTH_MAX: usize = 64;

fn name(text: &str) -> Result<String, String> {
    if (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {NAME_LENGTH_MAX} visible ASCII characters"))
    }
}
