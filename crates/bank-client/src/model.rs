//! What the bank holds, as it reports it.

use std::{collections::BTreeMap, fmt, ops::Range};

use bank_domain::{AccountId, Currency, EntryHash, Money, RequestId, Timestamp};
use bank_proto::v1;

use crate::{
    AccountState, AccountType, Compounding, DayCount, EntryKind, RoundingMode,
    choice::Choice as _,
    wire::{FromWire, Malformed, all, count, optional, parsed, parsed_if_any, required},
};

/// An account at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub account_id: AccountId,
    /// How far down its balance may go.
    pub account_type: AccountType,
    /// What it holds; fixed for its life.
    pub currency: Currency,
    /// Who it belongs to; may be empty.
    pub owner: String,
    /// What it may do.
    pub state: AccountState,
    /// What it holds now.
    pub balance: Money,
    /// How far below zero the balance may go; zero for savings.
    pub overdraft_limit: Money,
    /// The sequence of its newest entry: one up for each.
    pub version: u64,
    /// The time of its first entry.
    pub created_at: Timestamp,
    /// The time of its newest entry.
    pub updated_at: Timestamp,
    /// What an operator hung on it.
    pub labels: BTreeMap<String, String>,
    /// The hash of its newest entry, which all its history follows from: kept elsewhere, it shows
    /// later whether that history has been changed.
    pub head_hash: EntryHash,
}

impl FromWire<v1::Account> for Account {
    fn from_wire(wire: v1::Account) -> Result<Self, Malformed> {
        Ok(Self {
            account_id: parsed("account_id", &wire.account_id)?,
            account_type: AccountType::from_wire(wire.account_type),
            currency: parsed("currency_code", &wire.currency_code)?,
            owner: wire.owner,
            state: AccountState::from_wire(wire.state),
            balance: required("balance", wire.balance)?,
            overdraft_limit: required("overdraft_limit", wire.overdraft_limit)?,
            version: count("version", wire.version)?,
            created_at: required("create_time", wire.create_time)?,
            updated_at: required("update_time", wire.update_time)?,
            labels: wire.labels.into_iter().collect(),
            head_hash: parsed("head_hash", &wire.head_hash)?,
        })
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

/// What happened to one account. Entries are never changed or removed, and the balance of an account
/// is the sum of the amounts of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The movement that it is a side of.
    pub transaction_id: TransactionId,
    /// The account that it happened to.
    pub account_id: AccountId,
    /// 1 for the first entry of the account, then one more for each: no gaps.
    pub sequence: u64,
    /// What happened.
    pub kind: EntryKind,
    /// What was added to the balance; negative if it was taken, zero for changes of state.
    pub amount: Money,
    /// The balance with it.
    pub balance_after: Money,
    /// When.
    pub created_at: Timestamp,
    /// The other account of a transfer.
    pub counterparty: Option<AccountId>,
    /// The request that it came from.
    pub request_id: Option<RequestId>,
    /// What it was for; may be empty.
    pub description: String,
    /// How it was calculated, if it is [`EntryKind::Interest`].
    pub interest_terms: Option<InterestTerms>,
    /// The limit that it set, if it is [`EntryKind::AccountOpened`] or
    /// [`EntryKind::OverdraftLimitSet`].
    pub overdraft_limit: Option<Money>,
    /// Over all of the above and the hash of the entry before it.
    pub entry_hash: EntryHash,
}

impl FromWire<v1::Entry> for Entry {
    fn from_wire(wire: v1::Entry) -> Result<Self, Malformed> {
        Ok(Self {
            transaction_id: TransactionId(wire.transaction_id),
            account_id: parsed("entry.account_id", &wire.account_id)?,
            sequence: count("entry.sequence", wire.sequence)?,
            kind: EntryKind::from_wire(wire.kind),
            amount: required("entry.amount", wire.amount)?,
            balance_after: required("entry.balance_after", wire.balance_after)?,
            created_at: required("entry.create_time", wire.create_time)?,
            counterparty: parsed_if_any("entry.counterparty_account_id", &wire.counterparty_account_id)?,
            request_id: parsed_if_any("entry.request_id", &wire.request_id)?,
            description: wire.description,
            interest_terms: optional(wire.interest_terms)?,
            overdraft_limit: optional(wire.overdraft_limit)?,
            entry_hash: parsed("entry.entry_hash", &wire.entry_hash)?,
        })
    }
}

/// One movement or change of state, with its entries on every account that it touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its name.
    pub transaction_id: TransactionId,
    /// When.
    pub created_at: Timestamp,
    /// Two for a transfer, the source first; else one.
    pub entries: Vec<Entry>,
}

impl FromWire<v1::Transaction> for Transaction {
    fn from_wire(wire: v1::Transaction) -> Result<Self, Malformed> {
        Ok(Self {
            transaction_id: TransactionId(wire.transaction_id),
            created_at: required("transaction.create_time", wire.create_time)?,
            entries: all(wire.entries)?,
        })
    }
}

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

/// How an amount of interest came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterestBreakdown {
    /// The terms that were applied, with every default filled in.
    pub terms: InterestTerms,
    /// The balance that the interest was calculated on.
    pub principal: Money,
    /// Calendar days of the period; 0 when it is one year.
    pub days: u64,
    /// The period in years, an exact fraction: `181/365`.
    pub year_fraction: String,
    /// How many times interest was added to the principal; 1 for simple.
    pub compounding_periods: u64,
    /// What one unit grows to over the period, to 18 decimals, cut.
    pub growth_factor: String,
    /// The interest before rounding in major units, to 18 decimals, cut.
    pub exact_interest: String,
    /// The interest after rounding.
    pub interest: Money,
}

impl FromWire<v1::InterestBreakdown> for InterestBreakdown {
    fn from_wire(wire: v1::InterestBreakdown) -> Result<Self, Malformed> {
        Ok(Self {
            terms: required("breakdown.terms", wire.terms)?,
            principal: required("breakdown.principal", wire.principal)?,
            days: count("breakdown.days", wire.days)?,
            year_fraction: wire.year_fraction,
            compounding_periods: count("breakdown.compounding_periods", wire.compounding_periods)?,
            growth_factor: wire.growth_factor,
            exact_interest: wire.exact_interest,
            interest: required("breakdown.interest", wire.interest)?,
        })
    }
}
