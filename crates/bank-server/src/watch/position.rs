//! How far a watch has read each account.

use std::collections::BTreeMap;

use bank_domain::{Account, AccountId, Entry, EntryId};

/// The newest entry of each account that was sent.
pub(super) type Positions = BTreeMap<AccountId, Position>;

/// An entry that was sent. The hash proves that it is the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) entry_id: EntryId,
    pub(super) hash: [u8; Self::HASH_BYTES],
}

impl Position {
    /// The bytes of a hash that are kept: enough that no two entries share them by accident.
    pub(super) const HASH_BYTES: usize = 8;

    fn new(entry_id: EntryId, hash: &[u8; 32]) -> Self {
        let mut prefix = [0; Self::HASH_BYTES];
        prefix.copy_from_slice(&hash[..Self::HASH_BYTES]);
        Self { entry_id, hash: prefix }
    }

    /// The newest entry of an account.
    pub(super) fn of_account(account: &Account) -> Self {
        let entry_id = EntryId { time: account.updated_at, sequence: account.version };
        Self::new(entry_id, account.head.as_bytes())
    }

    pub(super) fn of_entry(entry: &Entry) -> Self {
        Self::new(entry.id(), entry.hash.as_bytes())
    }

    /// A query that starts after this returns this entry first.
    pub(super) fn before(self) -> EntryId {
        EntryId { sequence: self.entry_id.sequence - 1, ..self.entry_id }
    }
}
