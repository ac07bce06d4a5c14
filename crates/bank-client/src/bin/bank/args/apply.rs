//! Files of operations.

use std::path::PathBuf;

use bank_client::Currency;
use clap::{Args, builder::RangedU64ValueParser};

pub(crate) const HELP: &str = "\
Each line is one operation: CSV with a header, or a JSON object a line. It has the columns
  operation               deposit, withdraw, transfer or calculate_interest
  account_id              the account that pays or is paid; the source of a transfer
  destination_account_id  of a transfer
  amount                  as people write it: 1000.00 (in JSON in quotes, so that it stays exact)
  currency_code           of the amount, unless --currency says it for all
  annual_interest_rate    of calculate_interest, in percent: 2.5; and if wanted start_date,
                          end_date, day_count, compounding and rounding_mode
  description             if wanted
  request_id              if wanted; else it is made from the name of the run and the line
and no others; what does not apply to an operation is left empty, or out.

  operation,account_id,destination_account_id,amount,currency_code
  deposit,123,,1000.00,USD
  transfer,123,456,25.00,USD

  {\"operation\":\"deposit\",\"account_id\":\"123\",\"amount\":\"1000.00\",\"currency_code\":\"USD\"}

A file with a malformed line is refused before anything is sent. After a crash, or when it ends
with exit code 6 or 7, run the same command again: what was done is answered as it was, and not
done twice, for as long as the bank keeps request ids (`bank info`). The name of a run is made from
what is in the file, so a file that was changed is another run, unless --name says that it is the
same. With --atomic, --batch must be as it was, too.

Exit codes: 0 all were carried out, 3 some were refused, 5 the file is malformed and nothing was
sent, 6 the bank went away and the rest was not carried out, 7 it is not known whether some were
carried out. --results has what became of each line.

Examples:
  bank apply payments.csv
  bank apply payments.jsonl --currency USD --results results.jsonl
  bank apply legs.csv --atomic --batch 2
  bank apply - --name payroll-2026-05";

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The file, or - for standard input
    pub(crate) file: PathBuf,
    /// How many operations are sent at once
    #[arg(long, default_value_t = 500, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000), value_name = "COUNT")]
    pub(crate) batch: usize,
    /// Carry out all operations of a batch, or none
    #[arg(long)]
    pub(crate) atomic: bool,
    /// The currency of lines that name none, as an ISO 4217 code
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<Currency>,
    /// What the run is called in request ids: 1 to 50 visible characters [default: from what is in the file]
    #[arg(long, value_parser = name)]
    pub(crate) name: Option<String>,
    /// Write what became of each line here, as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) results: Option<PathBuf>,
    /// Check and answer as if, but change nothing
    #[arg(long, visible_alias = "dry-run")]
    pub(crate) validate_only: bool,
}

/// Short enough to have the number of a line after it.
const NAME_LENGTH_MAX: usize = 50;

fn name(text: &str) -> Result<String, String> {
    if (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {NAME_LENGTH_MAX} visible ASCII characters"))
    }
}
