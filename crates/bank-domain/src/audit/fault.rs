//! What an audit can find wrong with an account or its history.

use crate::{AccountState, Money};

/// The first problem of an account or its history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An entry does not match its hash. The hash of the previous entry may have been changed together with that
    /// entry; for the first entry, the data that the account was opened with.
    #[error("{}", changed(*.sequence))]
    Changed {
        /// The sequence of the entry.
        sequence: u64,
    },
    /// An entry is missing.
    #[error("entry {sequence} was removed")]
    Removed {
        /// The sequence of the entry.
        sequence: u64,
    },
    /// An entry is not part of the history.
    #[error("entry {sequence} was inserted: the history goes on without it")]
    Inserted {
        /// The sequence in the entry.
        sequence: u64,
    },
    /// An entry is in the place of another.
    #[error("entry {sequence} was put elsewhere: what is in its place belongs to another")]
    Reordered {
        /// The sequence of the entry.
        sequence: u64,
    },
    /// An entry matches its hash and breaks a rule of the bank.
    #[error("entry {sequence} breaks a rule: {rule}")]
    RuleBroken {
        /// The sequence of the entry.
        sequence: u64,
        /// The broken rule.
        rule: BrokenRule,
    },
    /// The entries are in order, and the account does not match them.
    #[error("the account has the {field} {found}, its entries come to {expected}")]
    AccountChanged {
        /// The field that differs.
        field: &'static str,
        /// The value that follows from the entries.
        expected: String,
        /// The value in the account.
        found: String,
    },
}

fn changed(sequence: u64) -> String {
    if sequence == 1 {
        return "entry 1 was changed, or what the account was opened with: its type, currency, owner, labels \
                or time of opening"
            .to_owned();
    }
    format!("entry {sequence} was changed: its hash does not follow from it and the entry before it")
}

impl Fault {
    /// The first entry with a problem; none if only the account has one.
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Self::Changed { sequence }
            | Self::Removed { sequence }
            | Self::Inserted { sequence }
            | Self::Reordered { sequence }
            | Self::RuleBroken { sequence, .. } => Some(*sequence),
            Self::AccountChanged { .. } => None,
        }
    }
}

/// A rule of the bank that an entry breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRule {
    /// The first entry, and no other, opens the account at its opening time.
    #[error("the first entry opens the account, and no other")]
    Opening,
    /// All money of an account is in its currency.
    #[error("all money of the account is in its currency")]
    Currency,
    /// No entry is before the previous entry.
    #[error("it is from before the entry before it")]
    Time,
    /// The kind of the entry determines the sign of the amount.
    #[error("an entry of its kind has no amount of {amount}")]
    Amount {
        /// The amount of the entry.
        amount: Money,
    },
    /// The balance after an entry is the previous balance plus the amount.
    #[error("the balance after it is {found}, the one before and the amount come to {expected}")]
    Balance {
        /// The previous balance plus the amount, in minor units.
        expected: i128,
        /// The balance in the entry, in minor units.
        found: i64,
    },
    /// A balance is never below minus the overdraft limit.
    #[error("the balance after it, {balance}, is below minus the overdraft limit of {limit}")]
    Floor {
        /// The balance after the entry.
        balance: Money,
        /// The overdraft limit.
        limit: Money,
    },
    /// A limit is zero or more, and zero for savings.
    #[error("the overdraft limit cannot be {limit}")]
    Limit {
        /// The new limit.
        limit: Money,
    },
    /// The state of the account allows the entry.
    #[error("an account that is {} allows no such entry", .state.as_str())]
    State {
        /// The state before the entry.
        state: AccountState,
    },
    /// Only an account with a balance of zero is closed.
    #[error("the account was closed with {balance} on it")]
    Closing {
        /// The balance when it was closed.
        balance: Money,
    },
    /// The transaction id names the paying account and its entry.
    #[error("its transaction id does not name the entry of the account that pays")]
    Transaction,
    /// A transfer is between two accounts.
    #[error("an account cannot transfer to itself")]
    Counterparty,
}
