//! Queries for pages of entries and accounts.

use std::ops::RangeInclusive;

use bank_domain::{AccountId, EntryId, Owner, Timestamp};

/// The order of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Descending.
    NewestFirst,
    /// Ascending.
    OldestFirst,
}

/// Selects a page of the entries of one account.
#[derive(Clone, Debug)]
pub struct EntriesQuery {
    /// The account.
    pub account_id: AccountId,
    /// Only entries at or after this time.
    pub start: Option<Timestamp>,
    /// Only entries at or before this time.
    pub end: Option<Timestamp>,
    /// Only entries that follow this one in `order`.
    pub after: Option<EntryId>,
    /// Newest or oldest first.
    pub order: Order,
    /// The maximum number of entries.
    pub limit: usize,
}

impl EntriesQuery {
    /// The whole history, oldest first.
    pub fn all(account_id: AccountId) -> Self {
        Self { account_id, start: None, end: None, after: None, order: Order::OldestFirst, limit: usize::MAX }
    }

    /// The range of the ids that are selected, without the limit. It may be empty.
    pub(crate) fn ids(&self) -> RangeInclusive<EntryId> {
        let lowest = EntryId { time: self.start.unwrap_or(Timestamp::MIN), sequence: 0 };
        let highest = EntryId { time: self.end.unwrap_or(Timestamp::MAX), sequence: u64::MAX };
        let Some(after) = self.after else { return lowest..=highest };
        // Sequences begin at 1, so neither end passes an entry by.
        match self.order {
            Order::OldestFirst => {
                let next = EntryId { sequence: after.sequence.saturating_add(1), ..after };
                lowest.max(next)..=highest
            }
            Order::NewestFirst => {
                let next = EntryId { sequence: after.sequence.saturating_sub(1), ..after };
                lowest..=highest.min(next)
            }
        }
    }
}

/// Selects a page of the list of accounts.
#[derive(Clone, Debug, Default)]
pub struct AccountsQuery {
    /// Only accounts of this owner. The empty owner has none.
    pub owner: Option<Owner>,
    /// Only accounts that follow this one in the list.
    pub after: Option<AccountId>,
    /// The maximum number of accounts.
    pub limit: usize,
}
