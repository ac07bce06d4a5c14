//! Finds out how the first wrong entry came about: changed, removed, inserted or reordered.

use super::fault::Fault;
use crate::{Account, Entry, EntryHash, EntryId, TransactionId};

/// The first entry that is not chained to the one before it, and what later entries show about it.
///
/// The hash of an entry covers its id. So an entry that was moved still has the hash of its old place, and is
/// recognized by calculating its hash with the old id.
#[derive(Clone, Debug)]
pub(super) struct Suspect<'a> {
    account: &'a Account,
    /// The hash that the missing entry is chained to.
    head: EntryHash,
    /// The sequence of the missing entry.
    missing: u64,
    /// The entry that was found in its place.
    entry: Entry,
    /// Whether the found entry is part of the history: another entry is chained to it.
    is_genuine: bool,
    /// Where the missing entry was found.
    missing_entry: MissingEntry,
    /// Whether the sequence of the next entry was decreased by one.
    is_renumbered: bool,
    /// The number of entries since.
    later: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MissingEntry {
    /// Not found so far.
    Unknown,
    /// In the place of another entry.
    Elsewhere,
    /// Directly after the found entry, which has no place of its own.
    Behind,
}

impl<'a> Suspect<'a> {
    pub(super) fn new(account: &'a Account, head: EntryHash, missing: u64, entry: Entry) -> Self {
        Self {
            account,
            head,
            missing,
            is_genuine: account.head == entry.hash,
            entry,
            missing_entry: MissingEntry::Unknown,
            is_renumbered: false,
            later: 0,
        }
    }

    /// Looks for the missing entry.
    pub(super) fn consider(&mut self, later: &Entry) {
        self.later += 1;
        self.is_genuine |= later.chained_to(&self.entry.hash) == later.hash;
        if self.missing_entry == MissingEntry::Unknown && self.is_missing(later) {
            // A duplicated entry has one place.
            let is_behind = later.sequence == self.missing || later.hash == self.entry.hash;
            self.missing_entry = if is_behind { MissingEntry::Behind } else { MissingEntry::Elsewhere };
        }
        if self.later == 1 {
            let was_at = EntryId { time: later.time, sequence: later.sequence.saturating_add(1) };
            self.is_renumbered = at(later, was_at).chained_to(&self.entry.hash) == later.hash;
        }
    }

    /// Whether this is the missing entry, with its own time or with that of the place it was moved to.
    fn is_missing(&self, later: &Entry) -> bool {
        [later.time, self.entry.time].into_iter().any(|time| {
            let was_at = EntryId { time, sequence: self.missing };
            at(later, was_at).chained_to(&self.head) == later.hash
        })
    }

    pub(super) fn verdict(&self) -> Fault {
        let (missing, found) = (self.missing, self.entry.sequence);
        match self.missing_entry {
            MissingEntry::Elsewhere if self.is_genuine => Fault::Reordered { sequence: missing },
            MissingEntry::Elsewhere | MissingEntry::Behind => Fault::Inserted { sequence: found },
            MissingEntry::Unknown if found < missing || missing > self.account.version => {
                Fault::Inserted { sequence: found }
            }
            MissingEntry::Unknown if found > missing || self.is_renumbered => {
                Fault::Removed { sequence: missing }
            }
            MissingEntry::Unknown => Fault::Changed { sequence: missing },
        }
    }
}

/// The entry with another id.
fn at(entry: &Entry, id: EntryId) -> Entry {
    let mut moved = Entry { time: id.time, sequence: id.sequence, ..entry.clone() };
    // The id of a transfer from another account stays the same.
    if moved.transaction_id.account_id == moved.account_id {
        moved.transaction_id = TransactionId { entry_id: id, ..moved.transaction_id };
    }
    moved
}
