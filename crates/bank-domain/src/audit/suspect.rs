//! What became of the first entry that is not right.

use super::Fault;
use crate::{Account, Entry, EntryHash, EntryId, TransactionId};

/// An entry that does not follow the one before it, and what later ones tell about it.
///
/// The hash of an entry is over its id, so one that was moved to another place still has the hash of
/// where it was: it is recognised by calculating its hash as if it stood there.
#[derive(Clone, Debug)]
pub(super) struct Suspect<'a> {
    account: &'a Account,
    /// The hash that the missing entry builds on.
    head: EntryHash,
    /// The sequence of the missing entry: of the first one that is wrong.
    missing: u64,
    /// What was found in its place.
    entry: Entry,
    /// Whether that is part of the history: another entry builds on it.
    is_genuine: bool,
    /// Where the missing entry has turned up.
    whereabouts: Whereabouts,
    /// Whether what came next has been given the sequence before its own.
    is_renumbered: bool,
    /// How many entries came since.
    later: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    /// Nowhere so far.
    Unknown,
    /// In the place of another entry.
    Elsewhere,
    /// After what was found in its place, which has no place of its own.
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
            whereabouts: Whereabouts::Unknown,
            is_renumbered: false,
            later: 0,
        }
    }

    /// Looks for the missing entry.
    pub(super) fn consider(&mut self, later: &Entry) {
        self.later += 1;
        self.is_genuine |= later.chained_to(&self.entry.hash) == later.hash;
        if self.whereabouts == Whereabouts::Unknown && self.is_missing(later) {
            // A hash that is there twice has one place.
            let is_behind = later.sequence == self.missing || later.hash == self.entry.hash;
            self.whereabouts = if is_behind { Whereabouts::Behind } else { Whereabouts::Elsewhere };
        }
        if self.later == 1 {
            let was_at = EntryId { time: later.time, sequence: later.sequence.saturating_add(1) };
            self.is_renumbered = at(later, was_at).chained_to(&self.entry.hash) == later.hash;
        }
    }

    /// Whether it is the missing entry: at its own time, or at that of the place it was written to.
    fn is_missing(&self, later: &Entry) -> bool {
        [later.time, self.entry.time].into_iter().any(|time| {
            let was_at = EntryId { time, sequence: self.missing };
            at(later, was_at).chained_to(&self.head) == later.hash
        })
    }

    pub(super) fn verdict(&self) -> Fault {
        let (missing, found) = (self.missing, self.entry.sequence);
        match self.whereabouts {
            Whereabouts::Elsewhere if self.is_genuine => Fault::Reordered { sequence: missing },
            Whereabouts::Elsewhere | Whereabouts::Behind => Fault::Inserted { sequence: found },
            Whereabouts::Unknown if found < missing || missing > self.account.version => {
                Fault::Inserted { sequence: found }
            }
            Whereabouts::Unknown if found > missing || self.is_renumbered => {
                Fault::Removed { sequence: missing }
            }
            Whereabouts::Unknown => Fault::Changed { sequence: missing },
        }
    }
}

/// An entry as it would be under another id.
fn at(entry: &Entry, id: EntryId) -> Entry {
    let mut moved = Entry { time: id.time, sequence: id.sequence, ..entry.clone() };
    // That of a movement which names another account first stays what it is.
    if moved.transaction_id.account_id == moved.account_id {
        moved.transaction_id = TransactionId { entry_id: id, ..moved.transaction_id };
    }
    moved
}
