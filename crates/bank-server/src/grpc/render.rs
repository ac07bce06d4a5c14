//! Writes messages: what replies say follows from the command and the entry that was written, so a
//! replayed request gets the very reply of the first.

use std::{fmt::Write as _, time::Duration};

use bank_domain::{
    Account, AccountState, AccountType, Command, Context, Entry, EntryKind, Money, Timestamp, decide,
    interest::{self, Compounding, DayCount, Period, RoundingMode},
};
use bank_proto::v1;

use crate::ledger::Executed;

/// Most transaction ids are no longer.
const TRANSACTION_ID_BYTES: usize = 64;

/// Makes the function that renders a reply of the usual fields, and perhaps some of its own.
macro_rules! reply {
    ($function:ident -> $reply:ident { $($field:ident: $value:expr),* $(,)? }) => {
        pub(super) fn $function(command: &Command, executed: Executed) -> v1::$reply {
            let Executed { entry, replayed, dry_run, .. } = executed;
            v1::$reply {
                account_id: entry.account_id.to_string(),
                message: message(command, &entry, dry_run),
                balance: Some(money(entry.balance_after)),
                $($field: $value(command, &entry),)*
                entry: Some(self::entry(&entry)),
                replayed,
            }
        }
    };
}

reply!(create_account -> CreateAccountResponse { account: created_account });
reply!(deposit -> DepositResponse {});
reply!(withdraw -> WithdrawResponse {});
reply!(transfer -> TransferResponse {});
reply!(calculate_interest -> CalculateInterestResponse { interest: |_, entry: &Entry| Some(money(entry.amount)), breakdown: breakdown });
reply!(set_overdraft_limit -> SetOverdraftLimitResponse {});
reply!(freeze_account -> FreezeAccountResponse {});
reply!(unfreeze_account -> UnfreezeAccountResponse {});
reply!(close_account -> CloseAccountResponse {});

/// The same in few bytes, for an operation of a batch.
pub(super) fn receipt(executed: &Executed) -> v1::OperationReceipt {
    let Executed { entry, replayed, .. } = executed;
    v1::OperationReceipt {
        transaction_id: transaction_id(entry),
        sequence: count(entry.sequence),
        currency_code: entry.balance_after.currency.code().to_owned(),
        amount_minor_units: entry.amount.minor_units,
        balance_minor_units: entry.balance_after.minor_units,
        replayed: *replayed,
    }
}

/// What was done, for people; or what would have been.
fn message(command: &Command, entry: &Entry, dry_run: bool) -> String {
    let sentence = sentence(command, entry);
    if dry_run { format!("Dry run. The call would answer: {sentence}") } else { sentence }
}

fn sentence(command: &Command, entry: &Entry) -> String {
    let account_id = &entry.account_id;
    let magnitude = Magnitude(entry.amount);
    match command {
        Command::OpenAccount(_) => format!("Account {account_id} created successfully"),
        Command::Deposit(_) => format!("Successfully deposited {magnitude}"),
        Command::Withdraw(_) => format!("Successfully withdrew {magnitude}"),
        Command::Transfer(transfer) => {
            format!("Successfully transferred {magnitude} to account {}", transfer.destination())
        }
        Command::ApplyInterest(apply) => format!(
            "Applied annual interest rate of {} to bank amount of {} for interest amount of {}",
            apply.terms.annual_rate.to_percent_string(),
            balance_before(entry),
            entry.amount,
        ),
        Command::SetOverdraftLimit(set) => format!(
            "Overdraft limit of account {account_id} set to {}",
            entry.balance_after.with_minor_units(set.limit.minor_units())
        ),
        Command::Freeze(_) => format!("Account {account_id} frozen"),
        Command::Unfreeze(_) => format!("Account {account_id} unfrozen"),
        Command::Close(_) => format!("Account {account_id} closed"),
    }
}

/// An amount without its sign, also the one whose opposite does not fit.
struct Magnitude(Money);

impl std::fmt::Display for Magnitude {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.to_string().trim_start_matches('-'))
    }
}

fn balance_before(entry: &Entry) -> Money {
    // The balance before an entry was one, so the difference fits.
    entry
        .balance_after
        .with_minor_units(entry.balance_after.minor_units.wrapping_sub(entry.amount.minor_units))
}

/// The account as its first entry left it: the rules make it from the same command again.
fn created_account(command: &Command, entry: &Entry) -> Option<v1::Account> {
    let context =
        Context { now: entry.time, ahead_max: Duration::ZERO, request_id: entry.request_id.clone() };
    decide(|_| None, command, &context).ok().map(|plan| account(&plan.primary.account))
}

/// How the interest came about, calculated once more from what the entry says.
fn breakdown(_: &Command, entry: &Entry) -> Option<v1::InterestBreakdown> {
    let EntryKind::Interest { terms, period } = &entry.kind else {
        return None;
    };
    let breakdown = interest::calculate(balance_before(entry), terms, *period).ok()?;
    Some(v1::InterestBreakdown {
        terms: Some(interest_terms(terms, *period)),
        principal: Some(money(breakdown.principal)),
        days: breakdown.days.into(),
        year_fraction: breakdown.year_fraction,
        compounding_periods: breakdown.compounding_periods.into(),
        growth_factor: breakdown.growth_factor,
        exact_interest: breakdown.exact_interest,
        interest: Some(money(breakdown.interest)),
    })
}

pub(super) fn money(money: Money) -> v1::Money {
    v1::Money { currency_code: money.currency.code().to_owned(), minor_units: money.minor_units }
}

pub(super) fn time(time: Timestamp) -> prost_types::Timestamp {
    let milliseconds = time.unix_ms().rem_euclid(1000);
    prost_types::Timestamp {
        seconds: time.unix_ms().div_euclid(1000),
        // Less than a thousand, so that a million times it fits.
        nanos: i32::try_from(milliseconds * 1_000_000).unwrap_or_default(),
    }
}

pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: count(duration.as_secs()),
        // Below a thousand million.
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

pub(super) fn account(account: &Account) -> v1::Account {
    v1::Account {
        account_id: account.id.to_string(),
        account_type: match account.account_type {
            AccountType::Savings => v1::AccountType::Savings,
            AccountType::Checking => v1::AccountType::Checking,
        }
        .into(),
        currency_code: account.currency.code().to_owned(),
        owner: account.owner.as_str().to_owned(),
        state: match account.state {
            AccountState::Active => v1::AccountState::Active,
            AccountState::Frozen => v1::AccountState::Frozen,
            AccountState::Closed => v1::AccountState::Closed,
        }
        .into(),
        balance: Some(money(account.balance)),
        overdraft_limit: Some(money(account.overdraft_limit)),
        version: count(account.version),
        create_time: Some(time(account.opened_at)),
        update_time: Some(time(account.updated_at)),
        labels: account.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        head_hash: account.head.to_string(),
    }
}

pub(super) fn entry_kind(kind: &EntryKind) -> v1::EntryKind {
    match kind {
        EntryKind::AccountOpened { .. } => v1::EntryKind::AccountOpened,
        EntryKind::Deposit => v1::EntryKind::Deposit,
        EntryKind::Withdrawal => v1::EntryKind::Withdrawal,
        EntryKind::TransferOut { .. } => v1::EntryKind::TransferOut,
        EntryKind::TransferIn { .. } => v1::EntryKind::TransferIn,
        EntryKind::Interest { .. } => v1::EntryKind::Interest,
        EntryKind::OverdraftLimitSet { .. } => v1::EntryKind::OverdraftLimitSet,
        EntryKind::AccountFrozen => v1::EntryKind::AccountFrozen,
        EntryKind::AccountUnfrozen => v1::EntryKind::AccountUnfrozen,
        EntryKind::AccountClosed => v1::EntryKind::AccountClosed,
    }
}

pub(super) fn entry(entry: &Entry) -> v1::Entry {
    let (interest_terms, overdraft_limit) = match &entry.kind {
        EntryKind::Interest { terms, period } => (Some(interest_terms(terms, *period)), None),
        EntryKind::AccountOpened { overdraft_limit: limit } | EntryKind::OverdraftLimitSet { limit } => {
            (None, Some(money(*limit)))
        }
        _ => (None, None),
    };
    v1::Entry {
        transaction_id: transaction_id(entry),
        account_id: entry.account_id.to_string(),
        sequence: count(entry.sequence),
        kind: entry_kind(&entry.kind).into(),
        amount: Some(money(entry.amount)),
        balance_after: Some(money(entry.balance_after)),
        create_time: Some(time(entry.time)),
        counterparty_account_id: entry.kind.counterparty().map(ToString::to_string).unwrap_or_default(),
        request_id: entry.request_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        description: entry.description.as_str().to_owned(),
        interest_terms,
        overdraft_limit,
        entry_hash: entry.hash.to_string(),
    }
}

/// As it prints, in memory that need not grow.
fn transaction_id(entry: &Entry) -> String {
    let mut text = String::with_capacity(TRANSACTION_ID_BYTES);
    // Memory takes whatever is written.
    let _ = write!(text, "{}", entry.transaction_id);
    text
}

/// What is counted one by one never comes near the end of 63 bits.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn interest_terms(terms: &interest::Terms, period: Period) -> v1::InterestTerms {
    let (start_date, end_date) = match period {
        Period::OneYear => (String::new(), String::new()),
        Period::Dates(range) => (range.start().to_string(), range.end().to_string()),
    };
    v1::InterestTerms {
        annual_interest_rate: terms.annual_rate.to_string(),
        start_date,
        end_date,
        day_count: match terms.day_count {
            DayCount::Act365Fixed => v1::DayCount::Act365Fixed,
            DayCount::Act360 => v1::DayCount::Act360,
            DayCount::ActActIsda => v1::DayCount::ActActIsda,
            DayCount::Thirty360Bond => v1::DayCount::Thirty360Bond,
            DayCount::ThirtyE360 => v1::DayCount::ThirtyE360,
        }
        .into(),
        compounding: match terms.compounding {
            Compounding::Simple => v1::Compounding::Simple,
            Compounding::Daily => v1::Compounding::Daily,
            Compounding::Monthly => v1::Compounding::Monthly,
            Compounding::Quarterly => v1::Compounding::Quarterly,
            Compounding::Yearly => v1::Compounding::Yearly,
        }
        .into(),
        rounding_mode: match terms.rounding_mode {
            RoundingMode::HalfEven => v1::RoundingMode::HalfEven,
            RoundingMode::HalfUp => v1::RoundingMode::HalfUp,
            RoundingMode::HalfDown => v1::RoundingMode::HalfDown,
            RoundingMode::Down => v1::RoundingMode::Down,
            RoundingMode::Up => v1::RoundingMode::Up,
            RoundingMode::Floor => v1::RoundingMode::Floor,
            RoundingMode::Ceiling => v1::RoundingMode::Ceiling,
        }
        .into(),
    }
}
