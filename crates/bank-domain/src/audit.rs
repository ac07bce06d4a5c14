//! Checks accounts against their entries, and whether all the money is there.
//!
//! [`match_sides`] compares the two entries of a transfer, and [`Books`] add up what was paid in, paid out and is
//! held. A [`Verifier`] reads an account and its entries, oldest first, and reports the first wrong entry:
//! changed, removed, inserted or reordered in the store, or against the rules. It calculates one hash for each
//! entry, three after the first wrong one, and keeps one entry at most.
//!
//! ```
//! # use bank_domain::{AccountType, Command, Context, Currency, Labels, OpenAccount, Owner, Timestamp, decide};
//! use bank_domain::audit::{Fault, Verifier};
//!
//! # let open = OpenAccount::try_new(
//! #     "123".parse()?, AccountType::Savings, Currency::USD, Owner::default(), Labels::default(), None)?;
//! # let context = Context { now: Timestamp::UNIX_EPOCH, ahead_max: std::time::Duration::MAX, request_id: None };
//! # let change = decide(|_| None, &Command::OpenAccount(open), &context)?.primary;
//! # let (account, mut entry) = (change.account, (*change.entry).clone());
//! let mut verifier = Verifier::new(&account);
//! verifier.check(&entry);
//! assert_eq!(verifier.finish(), Ok(()));
//!
//! entry.description = "nothing to see here".parse()?;
//! let mut verifier = Verifier::new(&account);
//! verifier.check(&entry);
//! assert_eq!(verifier.finish(), Err(Fault::Changed { sequence: 1 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod books;
mod fault;
mod replay;
mod suspect;
mod transfer;

pub use self::{
    books::{Books, Extent, Sums},
    fault::{BrokenRule, Fault},
    transfer::{Mismatch, match_sides},
};
use self::{replay::Replay, suspect::Suspect};
use crate::{Account, Entry, EntryHash};

/// Checks one account against its entries.
#[derive(Clone, Debug)]
pub struct Verifier<'a> {
    account: &'a Account,
    /// The state after the entries so far.
    replay: Replay<'a>,
    /// The hash that the next entry is chained to.
    head: EntryHash,
    /// The sequence that the next entry should have.
    next: u64,
    has_newer: bool,
    problem: Option<Problem<'a>>,
}

#[derive(Clone, Debug)]
enum Problem<'a> {
    Fault(Fault),
    Suspect(Box<Suspect<'a>>),
}

impl<'a> Verifier<'a> {
    /// A verifier that has read no entry.
    pub fn new(account: &'a Account) -> Self {
        Self {
            account,
            replay: Replay::new(account),
            head: account.genesis(),
            next: 1,
            has_newer: false,
            problem: None,
        }
    }

    /// Reads the next entry, from the oldest on.
    pub fn check(&mut self, entry: &Entry) {
        match &mut self.problem {
            Some(Problem::Fault(_)) => {}
            Some(Problem::Suspect(suspect)) => suspect.consider(entry),
            None => self.follow(entry),
        }
    }

    fn follow(&mut self, entry: &Entry) {
        if self.has_newer {
            // Entries after the newest one of the account are for the next audit.
        } else if entry.sequence != self.next || entry.chained_to(&self.head) != entry.hash {
            let suspect = Suspect::new(self.account, self.head, self.next, entry.clone());
            self.problem = Some(Problem::Suspect(Box::new(suspect)));
        } else if self.next > self.account.version {
            self.has_newer = true;
        } else if let Err(rule) = self.replay.apply(entry) {
            self.problem = Some(Problem::Fault(Fault::RuleBroken { sequence: entry.sequence, rule }));
        } else {
            self.head = entry.hash;
            self.next += 1;
        }
    }

    /// The number of entries without a problem.
    pub fn verified(&self) -> u64 {
        self.next - 1
    }

    /// Whether there is an entry after the newest one of the account. If the bank is in use, it was written after
    /// the account was read, and the account has a higher version by now.
    pub fn has_newer(&self) -> bool {
        self.has_newer
    }

    /// Whether an entry has a problem.
    pub fn has_fault(&self) -> bool {
        self.problem.is_some()
    }

    /// The result, after the last entry or the first [newer one](Self::has_newer).
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn finish(self) -> Result<(), Fault> {
        match self.problem {
            Some(Problem::Fault(fault)) => return Err(fault),
            Some(Problem::Suspect(suspect)) => return Err(suspect.verdict()),
            None => {}
        }
        if self.next <= self.account.version && self.head != self.account.head {
            return Err(Fault::Removed { sequence: self.next });
        }
        self.replay.compare(self.next - 1, self.head)
    }
}
