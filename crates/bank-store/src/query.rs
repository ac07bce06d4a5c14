//! What is asked of a store's lists.

use bank_domain::{AccountId, EntryId, Owner, Timestamp};

/// Which end of a history comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The newest entry first.
    NewestFirst,
    /// The oldest entry first.
    OldestFirst,
}

/// A stretch of one account's history.
#[derive(Clone, Debug)]
pub struct EntriesQuery {
    /// Whose.
    pub account_id: AccountId,
    /// At or after this time.
    pub start: Option<Timestamp>,
    /// At or before this time.
    pub end: Option<Timestamp>,
    /// Beyond this entry, in the order asked for.
    pub after: Option<EntryId>,
    /// Which end first.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
}

impl EntriesQuery {
    /// The whole history, oldest first.
    pub fn all(account_id: AccountId) -> Self {
        Self { account_id, start: None, end: None, after: None, order: Order::OldestFirst, limit: usize::MAX }
    }
}

/// A stretch of the list of accounts.
#[derive(Clone, Debug, Default)]
pub struct AccountsQuery {
    /// Only those of this owner. An empty owner is nobody, and owns none.
    pub owner: Option<Owner>,
    /// Beyond this account, in the order of the list.
    pub after: Option<AccountId>,
    /// At most so many.
    pub limit: usize,
}
