//! Writes messages. What a reply says follows from the command and the entry that was written, so a replayed request gets
//! the same reply as the first.

use std::{fmt::Write as _, time::Duration};

use bank_domain::{
    Account, AccountState, Entry, EntryKind, Money, OpenAccount, Timestamp,
    interest::{self, Period},
};
use bank_proto::v1;

use super::enums;
use crate::ledger::Executed;

/// Most transaction ids are not longer, in bytes.
const TRANSACTION_ID_BYTES: usize = 64;

/// Makes the function that renders a reply: the usual fields, and those of its own.
macro_rules! reply {
    ($function:ident($entry:ident) -> $reply:ident { $($field:ident: $value:expr),* }) => {
        pub(super) fn $function(_: Option<&OpenAccount>, executed: Executed, dry_run: bool) -> v1::$reply {
            let Executed { entry: $entry, replayed, .. } = executed;
            v1::$reply {
                account_id: $entry.account_id.to_string(),
                message: message(&$entry, dry_run),
                balance: Some(money($entry.balance_after)),
                $($field: $value,)*
                entry: Some(self::entry(&$entry)),
                replayed,
            }
        }
    };
}

reply!(deposit(entry) -> DepositResponse {});
reply!(withdraw(entry) -> WithdrawResponse {});
reply!(transfer(entry) -> TransferResponse {});
reply!(calculate_interest(entry) -> CalculateInterestResponse {
    interest: Some(money(entry.amount)),
    breakdown: breakdown(&entry)
});
reply!(set_overdraft_limit(entry) -> SetOverdraftLimitResponse {});
reply!(freeze_account(entry) -> FreezeAccountResponse {});
reply!(unfreeze_account(entry) -> UnfreezeAccountResponse {});
reply!(close_account(entry) -> CloseAccountResponse {});

/// `opened` is the account that the command opened.
pub(super) fn create_account(
    opened: Option<&OpenAccount>,
    executed: Executed,
    dry_run: bool,
) -> v1::CreateAccountResponse {
    let account = created_account(opened, &executed.entry);
    let usual = deposit(None, executed, dry_run);
    let v1::DepositResponse { account_id, message, balance, entry, replayed } = usual;
    v1::CreateAccountResponse { account_id, message, balance, account, entry, replayed }
}

/// A reply in few bytes, for an operation of a batch.
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

/// What was done, or would be done, in words.
fn message(entry: &Entry, dry_run: bool) -> String {
    let sentence = sentence(entry);
    if dry_run { format!("Dry run. The call would answer: {sentence}") } else { sentence }
}

fn sentence(entry: &Entry) -> String {
    let account_id = &entry.account_id;
    let magnitude = || magnitude(entry.amount);
    match &entry.kind {
        EntryKind::AccountOpened { .. } => format!("Account {account_id} created successfully"),
        EntryKind::Deposit => format!("Successfully deposited {}", magnitude()),
        EntryKind::Withdrawal => format!("Successfully withdrew {}", magnitude()),
        EntryKind::TransferOut { destination } => {
            format!("Successfully transferred {} to account {destination}", magnitude())
        }
        // Never the first entry of a command.
        EntryKind::TransferIn { source } => format!("Received {} from account {source}", magnitude()),
        EntryKind::Interest { terms, .. } => format!(
            "Applied annual interest rate of {} to bank amount of {} for interest amount of {}",
            terms.annual_rate.to_percent_string(),
            balance_before(entry),
            entry.amount,
        ),
        EntryKind::OverdraftLimitSet { limit } => {
            format!("Overdraft limit of account {account_id} set to {limit}")
        }
        EntryKind::AccountFrozen => format!("Account {account_id} frozen"),
        EntryKind::AccountUnfrozen => format!("Account {account_id} unfrozen"),
        EntryKind::AccountClosed => format!("Account {account_id} closed"),
    }
}

/// An amount without its sign. Works for the smallest one too, which has no opposite.
fn magnitude(amount: Money) -> String {
    amount.to_string().trim_start_matches('-').to_owned()
}

fn balance_before(entry: &Entry) -> Money {
    // The balance before the entry fits by construction.
    entry
        .balance_after
        .with_minor_units(entry.balance_after.minor_units.wrapping_sub(entry.amount.minor_units))
}

/// The account as its first entry left it.
fn created_account(opened: Option<&OpenAccount>, entry: &Entry) -> Option<v1::Account> {
    let (open, EntryKind::AccountOpened { overdraft_limit }) = (opened?, &entry.kind) else { return None };
    Some(account(&Account {
        id: entry.account_id.clone(),
        account_type: open.account_type(),
        currency: open.currency(),
        owner: open.owner().clone(),
        labels: open.labels().clone(),
        state: AccountState::Active,
        balance: entry.balance_after,
        overdraft_limit: *overdraft_limit,
        version: entry.sequence,
        opened_at: entry.time,
        updated_at: entry.time,
        head: entry.hash,
    }))
}

/// How the interest was calculated, from what the entry says.
fn breakdown(entry: &Entry) -> Option<v1::InterestBreakdown> {
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
        account_type: enums::account_type_to_wire(account.account_type).into(),
        currency_code: account.currency.code().to_owned(),
        owner: account.owner.as_str().to_owned(),
        state: enums::account_state_to_wire(account.state).into(),
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

/// Formats the id without growing the string.
fn transaction_id(entry: &Entry) -> String {
    let mut text = String::with_capacity(TRANSACTION_ID_BYTES);
    // Writing to a string cannot fail.
    let _ = write!(text, "{}", entry.transaction_id);
    text
}

/// Counts stay far below 63 bits.
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
        day_count: enums::day_count_to_wire(terms.day_count).into(),
        compounding: enums::compounding_to_wire(terms.compounding).into(),
        rounding_mode: enums::rounding_mode_to_wire(terms.rounding_mode).into(),
    }
}
