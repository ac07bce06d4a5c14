//! Accounts as they are at one instant.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Currency, EntryHash, Labels, Money, Owner, Timestamp};

/// What kind of account it is: how far its balance may go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountType {
    /// Never below zero.
    Savings,
    /// Never below minus the overdraft limit.
    Checking,
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Everything.
    Active,
    /// Take money in (deposits, incoming transfers), and be unfrozen.
    Frozen,
    /// Nothing; its history stays readable.
    Closed,
}

impl AccountType {
    /// The name as it is stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Savings => "savings",
            Self::Checking => "checking",
        }
    }
}

impl AccountState {
    /// The name as it is stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Closed => "closed",
        }
    }
}

/// An account at one instant.
///
/// Invariants: the balance is the sum of the amounts of its entries, never below minus the
/// overdraft limit; the limit is zero for savings; the version is the sequence of the newest entry,
/// and the head its hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// How far down its balance may go.
    pub account_type: AccountType,
    /// What it holds; fixed for its life.
    pub currency: Currency,
    /// Who it belongs to.
    pub owner: Owner,
    /// What an operator hung on it.
    pub labels: Labels,
    /// What it may do.
    pub state: AccountState,
    /// What it holds now.
    pub balance: Money,
    /// How far below zero the balance may go; zero or more.
    pub overdraft_limit: Money,
    /// The sequence of its newest entry: one up for each.
    pub version: u64,
    /// The time of its first entry.
    pub opened_at: Timestamp,
    /// The time of its newest entry.
    pub updated_at: Timestamp,
    /// The hash of its newest entry, and so of all its history; see [`chain`](crate::chain).
    pub head: EntryHash,
}

impl Account {
    /// What a withdrawal can take now: the balance and the unused overdraft, cut at the largest
    /// amount that 64 bits hold; nothing, where the state forbids withdrawals.
    pub fn available(&self) -> Money {
        let minor_units = match self.state {
            AccountState::Active => self.balance.minor_units.saturating_add(self.overdraft_limit.minor_units),
            AccountState::Frozen | AccountState::Closed => 0,
        };
        self.balance.with_minor_units(minor_units)
    }
}
