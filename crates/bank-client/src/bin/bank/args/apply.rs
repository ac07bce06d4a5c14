//! Files of operations.

use std::path::PathBuf;

use bank_client::Currency;
use clap::{Args, builder::RangedU64ValueParser};

pub(crate) const HELP: &str = "\
Each line is one operation: CSV with a header, or one JSON object a line. The operations are
deposit, withdraw, transfer, calculate_interest, create_account, set_overdraft_limit,
freeze_account, unfreeze_account and close_account. The columns are
  operation               which of them
  account_id              the account; the source of a transfer
  destination_account_id  of a transfer
  amount                  as people write it: 1000.00 (in JSON in quotes, so that it stays exact)
  currency_code           of the amount, unless --currency names it for all lines
  annual_interest_rate    of calculate_interest, in percent: 2.5; if wanted also start_date,
                          end_date, day_count, compounding and rounding_mode
  account_type            of create_account: savings or checking; if wanted also owner,
                          overdraft_limit and labels (branch=north;tier=gold)
  overdraft_limit         of set_overdraft_limit
  description             if wanted
  request_id              if wanted; otherwise it is derived from --name and the line
What does not apply to an operation is left empty.

  operation,account_id,destination_account_id,amount,currency_code
  deposit,123,,1000.00,USD
  transfer,123,456,25.00,USD

  {\"operation\":\"deposit\",\"account_id\":\"123\",\"amount\":\"1000.00\",\"currency_code\":\"USD\"}

Nothing is sent from a file with a malformed line. Every line is applied exactly once under one
--name: after a crash, or after correcting, adding, removing or sorting lines, run the same command
again. What was sent and what became of it is kept in the results file, FILE.results.jsonl; keep
it beside the file. Rejected lines stay rejected unless --retry-rejected sends them again. Give
every run of payments another name: a line that is the same as one before is not paid again.

Exit codes: 0 all lines are applied, 1 results cannot be recorded, 2 the name or the results file
is not right and nothing was sent, 3 some lines were rejected, 5 the file is malformed and nothing
was sent, 6 the run ended early and the rest was not attempted, 7 the outcome of some lines is not
known; run the same command again, 8 not permitted.

Examples:
  bank apply payments.csv --name payroll-2026-05
  bank apply payments.csv --name payroll-2026-05 --dry-run
  bank apply payments.csv --name payroll-2026-05 --retry-rejected
  bank apply legs.csv --name settlement-17 --atomic --batch 2
  bank apply - --name payroll-2026-05 --results payroll-2026-05.jsonl";

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The file, or - for standard input
    pub(crate) file: PathBuf,
    /// The name of the run, the same for every try: 1 to 64 visible characters
    ///
    /// It can be left out if every line has a `request_id` of its own.
    #[arg(long, value_parser = name)]
    pub(crate) name: Option<String>,
    /// Send rejected lines again, under new request ids
    #[arg(long)]
    pub(crate) retry_rejected: bool,
    /// Where the results of the run are kept [default: FILE.results.jsonl]
    #[arg(long, value_name = "FILE")]
    pub(crate) results: Option<PathBuf>,
    /// How many operations are sent at once
    #[arg(long, default_value_t = 500, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000), value_name = "COUNT")]
    pub(crate) batch: usize,
    /// Carry out all operations of a batch, or none
    #[arg(long)]
    pub(crate) atomic: bool,
    /// The currency of lines that name none, as an ISO 4217 code
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<Currency>,
    /// Check the file and show what would be done, but change nothing
    #[arg(long, visible_alias = "dry-run")]
    pub(crate) validate_only: bool,
}

/// As long as a request id.
const NAME_LENGTH_MAX: usize = 64;

fn name(text: &str) -> Result<String, String> {
    if (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {NAME_LENGTH_MAX} visible ASCII characters"))
    }
}
