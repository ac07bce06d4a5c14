//! What can be typed.

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
    when::{InvalidTime, When, Zone},
};
use crate::value;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something else failed; or the command was carried out, but its results could not be
     written: the disk is full, or what reads them has ended
  2  usage error, or a file that cannot be opened by its name
  3  the bank refused: insufficient funds, frozen, closed, id taken, wrong currency,
     accounts in a bank to import into...
  4  there is no such account or transaction
  5  the bank found the request invalid, or the file of an import damaged
  6  the bank cannot be reached, is overloaded or too slow; nothing was changed
  7  it is not known whether the change was made: run the command again with the
     --request-id that the error names, and it is made once; an import that was broken
     off: import the file again
  8  not authenticated, or not permitted
  9  an audit has found something wrong; what it is, is in the results

A command that failed has its own code also if its results could not be written.

Results go to standard output, everything else to standard error. In text, characters
that are not seen or steer a terminal are shown as \\u{202e}, in JSON as \\u202e. With --output json
every result is one line of JSON, and so is an error. Its fields have the names of
the API (proto/bank/v1); an amount of money is
  {\"currency_code\":\"USD\",\"minor_units\":100000,\"amount\":\"1000.00\"}";

/// Works with a bank: opens accounts, moves money, reads histories.
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
    /// Where the bank is
    #[arg(
        long,
        global = true,
        env = "BANK_SERVER",
        default_value = "http://127.0.0.1:50051",
        value_name = "URL"
    )]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
    /// How long a call to it may take: 500ms, 10s, 2m
    #[arg(long, global = true, default_value = "10s", value_parser = value::duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// For people, or one line of JSON for each result
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
    /// Open an account
    #[command(after_help = "\
Examples:
  bank create 123
  bank create shop --type checking --currency EUR --overdraft-limit 500.00
  bank create alice --owner alice@example.com --label branch=north")]
    Create(Create),
    /// Show an account with all that is known of it
    #[command(after_help = "Examples:\n  bank show 123\n  bank show 123 --output json")]
    Show(Show),
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
    /// Carry out the operations that are in a file, each exactly once
    #[command(after_help = apply::HELP)]
    Apply(Apply),
    /// List what happened to an account
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
    /// Show a movement with its entries on every account
    #[command(after_help = "Examples:\n  bank transaction 123/1767225600000-7")]
    Transaction(Transaction),
    /// Set how far below zero a checking account may go
    #[command(after_help = "Examples:\n  bank overdraft shop 500.00\n  bank overdraft shop 0 EUR")]
    Overdraft(Overdraft),
    /// Stop an account from paying out; it still takes money in
    #[command(after_help = "Examples:\n  bank freeze 123 --description 'card stolen'")]
    Freeze(ChangeState),
    /// Make a frozen account active again
    #[command(after_help = "Examples:\n  bank unfreeze 123 --description 'new card sent'")]
    Unfreeze(ChangeState),
    /// Close an account for good; its balance must be zero
    #[command(after_help = "Examples:\n  bank close 123")]
    Close(ChangeState),
    /// Show what the server is, what it promises, and what it has lost
    #[command(after_help = "Examples:\n  bank info\n  bank info --output json")]
    Info,
    /// Check all accounts, or one, against their entries, while the bank is in use
    ///
    /// Sequences, times, balances and rules, the chain of hashes, both sides of every transfer, and that
    /// money in = money out + money held. Exits with 0 only if all holds, with 9 if something does not.
    /// It takes as long as it takes: --timeout is how long the bank may say nothing meanwhile.
    #[command(after_help = "Examples:\n  bank audit\n  bank audit 123\n  bank audit --output json")]
    Audit(Audit),
    /// Write all of the bank into a file: accounts, entries and records of requests
    ///
    /// The bank can be in use; each account is as it was when it was read. The file is lines of JSON with
    /// a checksum in the last, and equal banks give equal files. --timeout is how long the bank may say
    /// nothing meanwhile.
    #[command(after_help = "\
Examples:
  bank export bank.jsonl
  bank export -")]
    Export(Export),
    /// Fill an empty bank from a file that `bank export` has written
    ///
    /// Until it is done the bank serves nobody. A file that is damaged or cut is refused, and leaves the
    /// bank empty. An import that breaks off leaves a bank that serves nobody: import the file again, or
    /// an empty file to give up.
    #[command(after_help = "Examples:\n  bank import bank.jsonl\n  bank import -")]
    Import(Import),
    /// Show entries as they are written, of an account or of all that you may see, until Ctrl-C
    ///
    /// It goes on by itself after the connection was lost or the bank was restarted: nothing is left
    /// out and nothing comes twice. When it ends it says with which --resume-token it can be continued; with
    /// --output json every line has one. --timeout is the heartbeat timeout.
    #[command(after_help = "\
Examples:
  bank watch 123
  bank watch
  bank watch --from-start --output json
  bank watch 123 --resume-token AQ3rX1mYx0C2UYJc
  bank watch --owner alice@example.com")]
    Watch(Watch),
    /// Put a load on the bank and measure how it bears it
    ///
    /// Opens accounts of its own, bank-bench-0000000 and so on, and pays into them what it takes out; the
    /// next run finds them. Every call is made once; those that fail are counted by their reason. Without
    /// --rate, every call in flight is followed by the next as soon as it is answered.
    ///
    /// The load keeps to what the server allows one caller (`bank info`), and the report says which setting
    /// it had to wait for: raise `callers.calls_per_second_max` of a test server to measure more. The
    /// documentation says how to read the figures.
    #[command(after_help = "\
Examples:
  bank bench
  bank bench --op mixed --connections 8 --inflight 32 --seconds 30
  bank bench --op transfer --accounts 100000 --skew 0.99
  bank bench --op transfer --batch 100 --connections 4 --inflight 2
  bank bench --op deposit --connections 1 --inflight 1 --accounts 1
  bank bench --op balance --rate 5000 --warm-up 5s --output json")]
    Bench(Bench),
    /// Ask whether the bank can serve now; exit code 0 if it can, 6 if not
    #[command(after_help = "Examples:\n  bank health\n  bank health --timeout 2s --output json")]
    Health,
    /// Run a small session: open account 123, pay in and out, book interest
    ///
    /// The session has request ids of its own, so the bank carries it out once and answers the same
    /// when it is run again. Where account 123 is not the demo's, a new account is opened for it.
    #[command(after_help = "Examples:\n  bank demo\n  bank demo --server http://bank.example.com:50051")]
    Demo,
    /// Make a key to sign tokens with, and the key set that a server verifies them with
    ///
    /// Writes NAME.pem, which nobody else can read, and NAME.jwks.json, which is for the server. Files
    /// that are there already are left alone.
    #[command(after_help = "Examples:\n  bank keygen bank-key")]
    Keygen(Keygen),
    /// Issue a token, for development and for trying things out
    ///
    /// Prints the token and nothing else.
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
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its id: 1 to 64 of A-Z a-z 0-9 . _ : -
    pub(crate) account: AccountId,
    /// How far its balance may go down
    #[arg(long = "type", default_value = "savings", value_parser = value::choice::<AccountType>(AccountType::NAMES))]
    pub(crate) account_type: AccountType,
    /// What it holds, as an ISO 4217 code; the bank's default unless given
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<Currency>,
    /// Who it belongs to
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) owner: String,
    /// A label to hang on it; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How far below zero a checking account may go
    #[arg(long, value_name = "AMOUNT", requires = "currency")]
    pub(crate) overdraft_limit: Option<String>,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id
    pub(crate) account: AccountId,
}

#[derive(Debug, Args)]
pub(crate) struct Balance {
    /// Its id
    pub(crate) account: AccountId,
    /// The balance after the last entry at or before this time: 2026-01-31T12:00:00Z; of a day, at its end: 2026-01-31
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    pub(crate) as_of: Option<When>,
    #[command(flatten)]
    pub(crate) zone: Zone,
}

#[derive(Debug, Args)]
pub(crate) struct Movement {
    /// Its id
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
    /// The account that pays
    pub(crate) from: AccountId,
    /// The account that is paid
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
    /// Its id
    pub(crate) account: AccountId,
    /// Percent a year: 2.5 is 2.5 %
    #[arg(value_name = "RATE", allow_negative_numbers = true)]
    pub(crate) annual_interest_rate: String,
    /// The first day of the period; without --from and --to it is exactly one year
    #[arg(long, value_name = "DATE", requires = "to")]
    pub(crate) from: Option<String>,
    /// The day after its last day
    #[arg(long, value_name = "DATE", requires = "from")]
    pub(crate) to: Option<String>,
    /// How the days become a fraction of a year
    #[arg(long, default_value = "act_365_fixed", value_parser = value::choice::<DayCount>(DayCount::NAMES))]
    pub(crate) day_count: DayCount,
    /// How often interest is added to the principal
    #[arg(long, default_value = "simple", value_parser = value::choice::<Compounding>(Compounding::NAMES))]
    pub(crate) compounding: Compounding,
    /// How the result becomes whole minor units
    #[arg(long, default_value = "half_even", value_parser = value::choice::<RoundingMode>(RoundingMode::NAMES))]
    pub(crate) rounding: RoundingMode,
    /// Also show how the figure came about
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) description: Description,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Its id
    pub(crate) account: AccountId,
    /// Which end comes first
    #[arg(long, default_value = "newest_first", value_parser = value::choice::<ListOrder>(ListOrder::NAMES))]
    pub(crate) order: ListOrder,
    /// Only entries at or after this time, or from this day on: 2026-01-31T12:00:00Z, 2026-01-31
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    pub(crate) since: Option<When>,
    /// Only entries before this time, or before this day
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
pub(crate) struct Transaction {
    /// Its id, from a history
    pub(crate) transaction: String,
}

#[derive(Debug, Args)]
pub(crate) struct Overdraft {
    /// Its id
    pub(crate) account: AccountId,
    #[command(flatten)]
    pub(crate) limit: Amount,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeState {
    /// Its id
    pub(crate) account: AccountId,
    #[command(flatten)]
    pub(crate) description: Description,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Its id; all accounts unless given
    pub(crate) account: Option<AccountId>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Where to; it must not be there yet. - for standard output
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Where from; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Its id; all accounts that you may see unless given
    pub(crate) account: Option<AccountId>,
    /// Only accounts of this owner
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "account")]
    pub(crate) owner: String,
    /// Begin with the first entry, instead of with what happens from now on
    #[arg(long, conflicts_with = "resume_token")]
    pub(crate) from_start: bool,
    /// Go on where an earlier watch of the same has ended
    #[arg(long, value_name = "TOKEN")]
    pub(crate) resume_token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests;
