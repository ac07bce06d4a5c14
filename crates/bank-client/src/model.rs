//! Accounts, entries and interest, as the bank reports them.

use std::{collections::BTreeMap, fmt, ops::Range};

use bank_domain::{AccountId, Currency, EntryHash, Money, RequestId, Timestamp};
use bank_proto::v1;

use crate::{
    choice::{AccountState, AccountType, Choice as _, Compounding, DayCount, EntryKind, RoundingMode},
    json::{json_object, json_texts},
    wire::{FromWire, Malformed, from_wire},
};

from_wire! {
    /// An account at one instant.
    pub struct Account from Account {
        /// Unique within the bank.
        account_id: AccountId = parsed(account_id),
        /// How far the balance may go down.
        account_type: AccountType = choice(account_type),
        /// Fixed when the account is opened.
        currency: Currency = parsed(currency_code),
        /// May be empty.
        owner: String = plain(owner),
        /// What the account allows.
        state: AccountState = choice(state),
        /// In the currency of the account.
        balance: Money = required(balance),
        /// How far below zero the balance may go; zero for savings.
        overdraft_limit: Money = required(overdraft_limit),
        /// The sequence of the newest entry.
        version: u64 = count(version),
        /// The time of its first entry.
        created_at: Timestamp = required(create_time),
        /// The time of its newest entry.
        updated_at: Timestamp = required(update_time),
        /// Set when the account is opened.
        labels: BTreeMap<String, String> = labels(labels),
        /// The hash of its newest entry, which all its history follows from: kept elsewhere, it shows
        /// later whether that history has been changed.
        head_hash: EntryHash = parsed(head_hash),
    }

    /// One change of one account. Entries are never changed or removed, and the balance of an account
    /// is the sum of the amounts of its entries.
    pub struct Entry from Entry {
        /// The same on both entries of a transfer.
        transaction_id: TransactionId = plain(transaction_id),
        /// The account that was changed.
        account_id: AccountId = parsed(account_id),
        /// 1 for the first entry of the account, then one more for each: no gaps.
        sequence: u64 = count(sequence),
        /// What happened.
        kind: EntryKind = choice(kind),
        /// The change of the balance; zero for changes of state.
        amount: Money = required(amount),
        /// The balance after the entry.
        balance_after: Money = required(balance_after),
        /// When.
        created_at: Timestamp = required(create_time),
        /// The other account of a transfer.
        counterparty: Option<AccountId> = parsed_if_any(counterparty_account_id),
        /// The request that wrote the entry.
        request_id: Option<RequestId> = parsed_if_any(request_id),
        /// May be empty.
        description: String = plain(description),
        /// How it was calculated, if it is [`EntryKind::Interest`].
        interest_terms: Option<InterestTerms> = optional(interest_terms),
        /// The limit that it set, if it is [`EntryKind::AccountOpened`] or
        /// [`EntryKind::OverdraftLimitSet`].
        overdraft_limit: Option<Money> = optional(overdraft_limit),
        /// Covers all other fields and the hash of the previous entry.
        entry_hash: EntryHash = parsed(entry_hash),
    }

    /// One movement or change of state, with its entries on every account that it touched.
    pub struct Transaction from Transaction {
        /// Its name.
        transaction_id: TransactionId = plain(transaction_id),
        /// When.
        created_at: Timestamp = required(create_time),
        /// Two for a transfer, the source first; else one.
        entries: Vec<Entry> = all(entries),
    }

    /// How an amount of interest came about.
    pub struct InterestBreakdown from InterestBreakdown {
        /// The terms that were applied, with every default filled in.
        terms: InterestTerms = required(terms),
        /// The balance that the interest was calculated on.
        principal: Money = required(principal),
        /// Calendar days of the period; 0 when it is one year.
        days: u64 = count(days),
        /// The period in years, an exact fraction: `181/365`.
        year_fraction: String = plain(year_fraction),
        /// How many times interest was added to the principal; 1 for simple.
        compounding_periods: u64 = count(compounding_periods),
        /// What one unit grows to over the period, to 18 decimals, cut.
        growth_factor: String = plain(growth_factor),
        /// The interest before rounding in major units, to 18 decimals, cut.
        exact_interest: String = plain(exact_interest),
        /// The interest after rounding.
        interest: Money = required(interest),
    }
}

/// The name that the bank gave to a movement: the same on both entries of a transfer. Opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(String);

impl TransactionId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for TransactionId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<TransactionId> for String {
    fn from(id: TransactionId) -> Self {
        id.0
    }
}

impl From<&TransactionId> for String {
    fn from(id: &TransactionId) -> Self {
        id.0.clone()
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

json_texts! { TransactionId }

/// What interest is calculated by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterestTerms {
    /// Percent a year, an exact decimal: `2.5` is 2.5 %.
    pub annual_interest_rate: String,
    /// The first day and the day after the last, ISO 8601; none for exactly one year.
    pub period: Option<Range<String>>,
    /// How the days become a fraction of a year.
    pub day_count: DayCount,
    /// How often interest is added to the principal.
    pub compounding: Compounding,
    /// How the exact interest becomes whole minor units.
    pub rounding_mode: RoundingMode,
}

json_object! { InterestTerms, |terms| {
    "annual_interest_rate" => terms.annual_interest_rate,
    "start_date" => terms.period.as_ref().map(|period| period.start.clone()),
    "end_date" => terms.period.as_ref().map(|period| period.end.clone()),
    "day_count" => terms.day_count,
    "compounding" => terms.compounding,
    "rounding_mode" => terms.rounding_mode,
} }

impl FromWire<v1::InterestTerms> for InterestTerms {
    fn from_wire(wire: v1::InterestTerms) -> Result<Self, Malformed> {
        let dated = !(wire.start_date.is_empty() && wire.end_date.is_empty());
        Ok(Self {
            annual_interest_rate: wire.annual_interest_rate,
            period: dated.then_some(wire.start_date..wire.end_date),
            day_count: DayCount::from_wire(wire.day_count),
            compounding: Compounding::from_wire(wire.compounding),
            rounding_mode: RoundingMode::from_wire(wire.rounding_mode),
        })
    }
}
