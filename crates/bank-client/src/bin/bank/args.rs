//! The command line.

mod apply;
mod bench;
mod credentials;
mod keys;
mod shared;
mod when;

use std::{path::PathBuf, time::Duration};

use bank_client::{
    AccountId, AccountState, AccountType, Compounding, Currency, DayCount, EntryKind, ListOrder, RoundingMode,
};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::{
    apply::Apply,
    bench::{Bench, Op},
    credentials::Credentials,
    keys::{Keygen, Token},
    shared::{Amount, Description, Limit, Mutation},
    when::{When, Zone},
};
use crate::value;

const EXIT_CODES: &str = include_str!("args/exit_codes.txt");

/// Manage accounts of a bank, move money, read histories.
#[derive(Debug, Parser)]
#[command(name = "bank", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Connection and output")]
pub(crate) struct Global {
    /// URL of the bank server, or of several of the same bank, separated by commas
    #[arg(
        long,
        global = true,
        env = "BANK_SERVER",
        default_value = "http://127.0.0.1:50051",
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub(crate) server: Vec<String>,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
    /// Timeout of a call to the server: 500ms, 10s, 2m
    #[arg(long, global = true, default_value = "10s", value_parser = value::duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// Output format: text, or one line of JSON for each result
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Online(Online),
    /// Generate a key to sign tokens with, and the key set to verify them with
    ///
    /// Writes NAME.pem, which only its owner can read, and NAME.jwks.json for the server. Existing files are not
    /// overwritten.
    #[command(after_help = "Examples:\n  bank keygen bank-key")]
    Keygen(Keygen),
    /// Issue a token for development and tests
    ///
    /// Prints only the token.
    #[command(after_help = "\
Examples:
  bank token --signing-key bank-key.pem --issuer dev --audience bank --subject alice --scope bank.read
  bank token --secret-file secret --issuer dev --audience bank --subject root --scope bank.read,bank.admin --expires-in 8h > token")]
    Token(Token),
    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  bank completions bash > ~/.local/share/bash-completion/completions/bank
  bank completions zsh > ~/.zfunc/_bank")]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

/// Commands that call the bank.
#[derive(Debug, Subcommand)]
pub(crate) enum Online {
    /// Open an account
    #[command(after_help = "\
Examples:
  bank create 123
  bank create shop --type checking --currency EUR --overdraft-limit 500.00
  bank create alice --owner alice@example.com --label branch=north")]
    Create(Create),
    /// Show an account
    #[command(after_help = "Examples:\n  bank show 123\n  bank show 123 --output json")]
    Show {
        /// Account id
        account: AccountId,
    },
    /// Show the balance of an account, now or at a past time
    #[command(after_help = "\
Examples:
  bank balance 123
  bank balance 123 --as-of 2026-01-31
  bank balance 123 --as-of 2026-01-31 --time-zone Europe/Zurich
  bank balance 123 --as-of 2026-01-31T12:30:00+01:00
  bank balance 123 --as-of '2026-01-31T12:30:00[Asia/Tokyo]'")]
    Balance(Balance),
    /// Pay money into an account
    #[command(after_help = "\
Examples:
  bank deposit 123 1000.00
  bank deposit 123 1000.00 EUR --description 'salary for May'
  bank deposit 123 1000.00 --dry-run")]
    Deposit(Movement),
    /// Pay money out of an account
    #[command(after_help = "\
Examples:
  bank withdraw 123 500.00
  bank withdraw 123 500.00 --request-id invoice-4711")]
    Withdraw(Movement),
    /// Move money from one account to another
    #[command(after_help = "\
Examples:
  bank transfer 123 456 25.00
  bank transfer 123 456 25.00 USD --description rent")]
    Transfer(Transfer),
    /// Calculate interest on the balance of an account and book it
    #[command(after_help = "\
Examples:
  bank interest 123 2.5
  bank interest 123 2.5 --dry-run --explain
  bank interest 123 3.75 --from 2026-01-01 --to 2026-04-01 --day-count act_360 --compounding monthly")]
    Interest(Interest),
    /// Carry out the operations of a file, each exactly once
    #[command(after_help = apply::HELP)]
    Apply(Apply),
    /// List the entries of an account
    #[command(after_help = "\
Examples:
  bank history 123
  bank history 123 --since 2026-01-01 --before 2026-02-01 --kind deposit --kind interest
  bank history 123 --since 2026-01-01 --time-zone America/New_York
  bank history 123 --all --order oldest_first --output json")]
    History(History),
    /// List accounts
    #[command(after_help = "\
Examples:
  bank accounts
  bank accounts --owner alice@example.com --state active
  bank accounts --all --output json")]
    Accounts(Accounts),
    /// Show a transaction with its entries on every account
    #[command(after_help = "Examples:\n  bank transaction 123/1767225600000-7")]
    Transaction {
        /// Transaction id, from a history
        transaction: String,
    },
    /// Set the overdraft limit of a checking account
    #[command(after_help = "Examples:\n  bank overdraft shop 500.00\n  bank overdraft shop 0 EUR")]
    Overdraft(Overdraft),
    /// Freeze an account: it receives money but pays none out
    #[command(after_help = "Examples:\n  bank freeze 123 --description 'card stolen'")]
    Freeze(ChangeState),
    /// Make a frozen account active again
    #[command(after_help = "Examples:\n  bank unfreeze 123 --description 'new card sent'")]
    Unfreeze(ChangeState),
    /// Close an account permanently; its balance must be zero
    #[command(after_help = "Examples:\n  bank close 123")]
    Close(ChangeState),
    /// Show the server's version, store, durability, limits and lost writes
    #[command(after_help = "Examples:\n  bank info\n  bank info --output json")]
    Info,
    /// Check accounts against their entries, while the bank is in use
    ///
    /// Checks sequences, times, balances, rules, the hash chain, both sides of every transfer, and that money in =
    /// money out + money held. Exits with 0 if everything is consistent, with 9 if there are findings. An audit may
    /// run for any time; --timeout limits how long the bank may send nothing.
    #[command(after_help = "Examples:\n  bank audit\n  bank audit 123\n  bank audit --output json")]
    Audit {
        /// Account id [default: all accounts]
        account: Option<AccountId>,
    },
    /// Export the bank to a file: accounts, entries and request records
    ///
    /// The bank may be in use; each account is exported as it was when it was read. The file is lines of JSON with a
    /// checksum in the last line, and equal banks give equal files. --timeout limits how long the bank may send
    /// nothing.
    #[command(after_help = "\
Examples:
  bank export bank.jsonl
  bank export -")]
    Export {
        /// File to create, or - for standard output; an existing file is not overwritten
        file: PathBuf,
    },
    /// Import a file that `bank export` has written into an empty bank
    ///
    /// The bank serves nobody until the import is complete. A damaged or truncated file is refused and leaves the
    /// bank empty. After an interrupted import the bank still serves nobody: import the file again, or an empty
    /// file to give up.
    #[command(after_help = "Examples:\n  bank import bank.jsonl\n  bank import -")]
    Import {
        /// File to read, or - for standard input
        file: PathBuf,
    },
    /// Show new entries of one account or of all you may see, until Ctrl-C
    ///
    /// A watch continues by itself after a lost connection or a restart of the bank; no entry is missing or shown
    /// twice. When it ends it prints the --resume-token to continue with; with --output json every line has one.
    /// --timeout is the heartbeat timeout.
    #[command(after_help = "\
Examples:
  bank watch 123
  bank watch
  bank watch --from-start --output json
  bank watch 123 --resume-token AQ3rX1mYx0C2UYJc
  bank watch --owner alice@example.com")]
    Watch(Watch),
    /// Load-test the bank
    ///
    /// Opens its own accounts, bank-bench-0000000 and so on, and funds them if they pay money out; the next run
    /// uses them again. Calls are not retried; failed ones are counted by reason. Without --rate, each call in
    /// flight is followed by the next as soon as it is answered.
    ///
    /// The load stays within what the server allows one caller (`bank info`), and the report names the settings
    /// that limited it: raise `callers.calls_per_second_max` of a test server to measure more. See
    /// docs/performance.md on how to read the figures.
    #[command(after_help = "\
Examples:
  bank bench
  bank bench --op mixed --connections 8 --inflight 32 --seconds 30
  bank bench --op transfer --accounts 100000 --skew 0.99
  bank bench --op transfer --batch 100 --connections 4 --inflight 2
  bank bench --op deposit --connections 1 --inflight 1 --accounts 1
  bank bench --op balance --rate 5000 --warm-up 5s --output json")]
    Bench(Bench),
    /// Check whether the bank is serving: exit code 0 if it is, 6 if not
    #[command(after_help = "Examples:\n  bank health\n  bank health --timeout 2s --output json")]
    Health,
    /// Run a short session: open account 123, pay in and out, book interest
    ///
    /// The session has fixed request ids, so the bank carries it out once and gives the same answers when it is
    /// run again. If account 123 is not the demo's, the demo opens a new account instead.
    #[command(after_help = "Examples:\n  bank demo\n  bank demo --server http://bank.example.com:50051")]
    Demo,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Account id: 1 to 64 of A-Z a-z 0-9 . _ : -
    pub(crate) account: AccountId,
    /// Account type; only a checking account may have an overdraft
    #[arg(long = "type", default_value = "savings", value_parser = value::choice::<AccountType>(AccountType::NAMES))]
    pub(crate) account_type: AccountType,
    /// Currency as an ISO 4217 code [default: that of the bank]
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<Currency>,
    /// Owner of the account
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) owner: String,
    /// Label of the account; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Overdraft limit of a checking account
    #[arg(long, value_name = "AMOUNT", requires = "currency")]
    pub(crate) overdraft_limit: Option<String>,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct Balance {
    /// Account id
    pub(crate) account: AccountId,
    /// Show the balance at this time, 2026-01-31T12:00:00Z, or at the end of this day, 2026-01-31
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    pub(crate) as_of: Option<When>,
    #[command(flatten)]
    pub(crate) zone: Zone,
}

#[derive(Debug, Args)]
pub(crate) struct Movement {
    /// Account id
    pub(crate) account: AccountId,
    #[command(flatten)]
    pub(crate) amount: Amount,
    #[command(flatten)]
    pub(crate) description: Description,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// Source account id
    pub(crate) from: AccountId,
    /// Destination account id
    pub(crate) to: AccountId,
    #[command(flatten)]
    pub(crate) amount: Amount,
    #[command(flatten)]
    pub(crate) description: Description,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct Interest {
    /// Account id
    pub(crate) account: AccountId,
    /// Annual rate in percent: 2.5 is 2.5 %
    #[arg(value_name = "RATE", allow_negative_numbers = true)]
    pub(crate) annual_interest_rate: String,
    /// First day of the period [default period: one year]
    #[arg(long, value_name = "DATE", requires = "to")]
    pub(crate) from: Option<String>,
    /// Day after the last day of the period
    #[arg(long, value_name = "DATE", requires = "from")]
    pub(crate) to: Option<String>,
    /// Day count convention
    #[arg(long, default_value = "act_365_fixed", value_parser = value::choice::<DayCount>(DayCount::NAMES))]
    pub(crate) day_count: DayCount,
    /// Compounding frequency
    #[arg(long, default_value = "simple", value_parser = value::choice::<Compounding>(Compounding::NAMES))]
    pub(crate) compounding: Compounding,
    /// Rounding mode of the result
    #[arg(long, default_value = "half_even", value_parser = value::choice::<RoundingMode>(RoundingMode::NAMES))]
    pub(crate) rounding: RoundingMode,
    /// Show the steps of the calculation
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) description: Description,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Account id
    pub(crate) account: AccountId,
    /// Sort order
    #[arg(long, default_value = "newest_first", value_parser = value::choice::<ListOrder>(ListOrder::NAMES))]
    pub(crate) order: ListOrder,
    /// Only entries at or after this time, 2026-01-31T12:00:00Z, or day, 2026-01-31
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    pub(crate) since: Option<When>,
    /// Only entries before this time or day
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    pub(crate) before: Option<When>,
    #[command(flatten)]
    pub(crate) zone: Zone,
    /// Only entries of this kind; may be repeated
    #[arg(long = "kind", value_parser = value::choice::<EntryKind>(EntryKind::NAMES))]
    pub(crate) kinds: Vec<EntryKind>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct Accounts {
    /// Only accounts of this owner
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) owner: String,
    /// Only accounts of this type
    #[arg(long = "type", value_parser = value::choice::<AccountType>(AccountType::NAMES))]
    pub(crate) account_type: Option<AccountType>,
    /// Only accounts in this state
    #[arg(long, value_parser = value::choice::<AccountState>(AccountState::NAMES))]
    pub(crate) state: Option<AccountState>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct Overdraft {
    /// Account id
    pub(crate) account: AccountId,
    #[command(flatten)]
    pub(crate) limit: Amount,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeState {
    /// Account id
    pub(crate) account: AccountId,
    #[command(flatten)]
    pub(crate) description: Description,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Account id [default: all accounts that you may see]
    pub(crate) account: Option<AccountId>,
    /// Only accounts of this owner
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "account")]
    pub(crate) owner: String,
    /// Start with the first entry instead of the next one
    #[arg(long, conflicts_with = "resume_token")]
    pub(crate) from_start: bool,
    /// Continue where an earlier watch of the same accounts ended
    #[arg(long, value_name = "TOKEN")]
    pub(crate) resume_token: Option<String>,
}

#[cfg(test)]
mod tests;
