//! Entries: the append-only history of an account.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Description, EntryHash, Money, RequestId, Timestamp, interest, newtype::stored_as_text,
};

/// The position of an entry in the history of its account. The sequence alone is unique.
///
/// It prints as `<unix ms>-<sequence>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryId {
    /// Never before the previous entry.
    pub time: Timestamp,
    /// 1 for the first entry of the account, then one more for each: no gaps.
    pub sequence: u64,
}

/// The id of a movement: the account that the command names first and its entry there, so that it is
/// found without an index. Both entries of a transfer have the same transaction id.
///
/// It prints as `<account id>/<unix ms>-<sequence>`; callers treat it as opaque.
///
/// ```
/// use bank_domain::TransactionId;
///
/// let id: TransactionId = "123/1767225600000-7".parse()?;
/// assert_eq!(id.entry_id.sequence, 7);
/// assert_eq!(id.to_string(), "123/1767225600000-7");
/// # Ok::<(), bank_domain::InvalidTransactionId>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransactionId {
    /// The account that the command names first: the source of a transfer.
    pub account_id: AccountId,
    /// The entry on that account.
    pub entry_id: EntryId,
}

/// The text is not a transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a transaction id; use one from an entry, such as 123/1767225600000-7")]
pub struct InvalidTransactionId;

/// One change of one account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The movement that this entry belongs to.
    pub transaction_id: TransactionId,
    /// The account that was changed.
    pub account_id: AccountId,
    /// 1 for the first entry of the account, then one more for each: no gaps.
    pub sequence: u64,
    /// Never before the previous entry.
    pub time: Timestamp,
    /// What happened.
    pub kind: EntryKind,
    /// The change of the balance; zero for changes of state.
    pub amount: Money,
    /// The balance after the entry.
    pub balance_after: Money,
    /// The idempotency key of the request, if the caller sent one.
    pub request_id: Option<RequestId>,
    /// May be empty.
    pub description: Description,
    /// Covers all other fields and the hash of the previous entry; see [`chain`](crate::chain).
    pub hash: EntryHash,
}

/// What happened, with the fields of that kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntryKind {
    /// The account was opened.
    AccountOpened {
        /// The initial limit.
        overdraft_limit: Money,
    },
    /// Money came in from outside.
    Deposit,
    /// Money went out of the bank.
    Withdrawal,
    /// Money was sent to another account.
    TransferOut {
        /// The receiving account.
        destination: AccountId,
    },
    /// Money was received from another account.
    TransferIn {
        /// The paying account.
        source: AccountId,
    },
    /// Interest was booked, of either sign.
    Interest {
        /// The terms of the calculation.
        terms: interest::Terms,
        /// The period of the calculation.
        period: interest::Period,
    },
    /// The overdraft limit was set.
    OverdraftLimitSet {
        /// The new limit.
        limit: Money,
    },
    /// The account was frozen.
    AccountFrozen,
    /// The account was made active again.
    AccountUnfrozen,
    /// The account was closed.
    AccountClosed,
}

impl Entry {
    /// The position of the entry in the history of its account.
    pub fn id(&self) -> EntryId {
        EntryId { time: self.time, sequence: self.sequence }
    }
}

impl EntryKind {
    /// The name as it is stored and printed.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::AccountOpened { .. } => "account_opened",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::TransferOut { .. } => "transfer_out",
            Self::TransferIn { .. } => "transfer_in",
            Self::Interest { .. } => "interest",
            Self::OverdraftLimitSet { .. } => "overdraft_limit_set",
            Self::AccountFrozen => "account_frozen",
            Self::AccountUnfrozen => "account_unfrozen",
            Self::AccountClosed => "account_closed",
        }
    }

    /// The other account of a transfer.
    pub const fn counterparty(&self) -> Option<&AccountId> {
        match self {
            Self::TransferOut { destination: account } | Self::TransferIn { source: account } => {
                Some(account)
            }
            _ => None,
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = itoa::Buffer::new();
        f.write_str(digits.format(self.time.unix_ms()))?;
        f.write_str("-")?;
        f.write_str(digits.format(self.sequence))
    }
}

impl FromStr for EntryId {
    type Err = InvalidTransactionId;

    /// Accepts only what `Display` writes.
    fn from_str(text: &str) -> Result<Self, InvalidTransactionId> {
        let (time, sequence) = text.rsplit_once('-').ok_or(InvalidTransactionId)?;
        let time = time.parse().ok().and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok());
        let id = Self {
            time: time.ok_or(InvalidTransactionId)?,
            sequence: sequence.parse().map_err(|_| InvalidTransactionId)?,
        };
        if id.to_string() == text { Ok(id) } else { Err(InvalidTransactionId) }
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.account_id.as_str())?;
        f.write_str("/")?;
        self.entry_id.fmt(f)
    }
}

impl FromStr for TransactionId {
    type Err = InvalidTransactionId;

    fn from_str(text: &str) -> Result<Self, InvalidTransactionId> {
        let (account_id, entry_id) = text.split_once('/').ok_or(InvalidTransactionId)?;
        Ok(Self {
            account_id: account_id.parse().map_err(|_| InvalidTransactionId)?,
            entry_id: entry_id.parse()?,
        })
    }
}

stored_as_text!(TransactionId, InvalidTransactionId, to_string);

#[cfg(test)]
mod tests;
