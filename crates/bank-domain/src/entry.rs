//! Entries: what happened to an account, never changed and never removed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{AccountId, Description, EntryHash, Money, RequestId, Timestamp, interest};

/// Which entry of one account: entries are ordered by it, and the sequence alone tells them apart.
///
/// It prints as `<unix ms>-<sequence>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryId {
    /// When it was written; never before the entry before it.
    pub time: Timestamp,
    /// 1 for the first entry of the account, then one more for each: no gaps.
    pub sequence: u64,
}

/// Which movement: the account that it names first and its entry there, so that it can be found
/// without an index. Both entries of a transfer carry the same one.
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
    /// The account that the movement names first: the source, for a transfer.
    pub account_id: AccountId,
    /// Its entry there.
    pub entry_id: EntryId,
}

/// The text is not one that the bank gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a transaction id; use one from an entry, such as 123/1767225600000-7")]
pub struct InvalidTransactionId;

/// What happened to one account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The movement that it is a side of.
    pub transaction_id: TransactionId,
    /// The account that it happened to.
    pub account_id: AccountId,
    /// 1 for the first entry of the account, then one more for each: no gaps.
    pub sequence: u64,
    /// When; never before the entry before it.
    pub time: Timestamp,
    /// What.
    pub kind: EntryKind,
    /// What was added to the balance; zero for changes of state.
    pub amount: Money,
    /// The balance with it.
    pub balance_after: Money,
    /// The request that it came from, if its caller named it.
    pub request_id: Option<RequestId>,
    /// What it was for.
    pub description: Description,
    /// Over all of the above and the hash of the entry before it; see [`chain`](crate::chain).
    pub hash: EntryHash,
}

/// What happened, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntryKind {
    /// The account was opened.
    AccountOpened {
        /// With this overdraft limit.
        overdraft_limit: Money,
    },
    /// Money came in from outside.
    Deposit,
    /// Money went out of the bank.
    Withdrawal,
    /// Money went to another account.
    TransferOut {
        /// The account that it went to.
        destination: AccountId,
    },
    /// Money came from another account.
    TransferIn {
        /// The account that it came from.
        source: AccountId,
    },
    /// Interest was booked, of either sign.
    Interest {
        /// How it was calculated.
        terms: interest::Terms,
        /// What time it was for.
        period: interest::Period,
    },
    /// The overdraft limit was set.
    OverdraftLimitSet {
        /// To this.
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
    /// Which entry of its account it is.
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

    /// Reads what `Display` writes, and no other spelling of it.
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

impl TryFrom<String> for TransactionId {
    type Error = InvalidTransactionId;

    fn try_from(text: String) -> Result<Self, InvalidTransactionId> {
        text.parse()
    }
}

impl From<TransactionId> for String {
    fn from(id: TransactionId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_ids_read_back_and_nothing_else_does() {
        for good in ["123/0-1", "a:b-c/1767225600000-18446744073709551615", "-/-1-2"] {
            assert_eq!(good.parse::<TransactionId>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "123",
            "123/",
            "123/1",
            "/1-1",
            "123/01-1",
            "123/1-+1",
            "123/1-1 ",
            "1/2/1-1",
            "123/999999999999999999-1",
        ] {
            assert_eq!(bad.parse::<TransactionId>(), Err(InvalidTransactionId), "{bad:?}");
        }
    }
}
