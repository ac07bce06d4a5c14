//! Queries for pages of entries and accounts.

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
