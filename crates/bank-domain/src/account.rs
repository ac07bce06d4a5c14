//! Accounts as they are at one instant.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Currency, EntryHash, Labels, Money, Owner, Timestamp, names::named};

named! {
    /// How far the balance of an account may go down.
    pub enum AccountType, "account type" {
        /// Never below zero.
        Savings = "savings",
        /// Never below minus the overdraft limit.
        Checking = "checking",
    }
}

named! {
    /// What an account allows.
    pub enum AccountState, "account state" {
        /// Everything.
        Active = "active",
        /// Deposits, incoming transfers and unfreezing.
        Frozen = "frozen",
        /// Nothing; the history stays readable.
        Closed = "closed",
    }
}

/// An account at one instant.
///
/// Invariants: the balance is the sum of the amounts of its entries, never below minus the
/// overdraft limit; the limit is zero for savings; the version is the sequence of the newest entry,
/// and the head is its hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Unique within the bank.
    pub id: AccountId,
    /// How far the balance may go down.
    pub account_type: AccountType,
    /// Fixed when the account is opened.
    pub currency: Currency,
    /// May be empty.
    pub owner: Owner,
    /// Set when the account is opened.
    pub labels: Labels,
    /// What the account allows.
    pub state: AccountState,
    /// In the currency of the account.
    pub balance: Money,
    /// How far below zero the balance may go; zero or more.
    pub overdraft_limit: Money,
    /// The sequence of the newest entry.
    pub version: u64,
    /// The time of the first entry.
    pub opened_at: Timestamp,
    /// The time of the newest entry.
    pub updated_at: Timestamp,
    /// The hash of the newest entry, which covers the whole history; see [`chain`](crate::chain).
    pub head: EntryHash,
}

impl Account {
    /// The most that a withdrawal can take now: the balance plus the unused overdraft, capped at the
    /// largest 64-bit amount. Zero if the state forbids withdrawals.
    pub fn available(&self) -> Money {
        let minor_units = match self.state {
            AccountState::Active => self.balance.minor_units.saturating_add(self.overdraft_limit.minor_units),
            AccountState::Frozen | AccountState::Closed => 0,
        };
        self.balance.with_minor_units(minor_units)
    }
}
