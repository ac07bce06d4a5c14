//! Is an account what its entries make of it, and is all the money there?
//!
//! [`match_sides`] holds the two sides of a transfer against each other, and [`Books`] add up what
//! came in, went out and is held. A [`Verifier`] is given an account and its entries, oldest first, one at a time, and names the
//! first one that is wrong: changed, removed, inserted or reordered in the store, or written against
//! the rules. It costs one hash for each entry, three after the first that is wrong, and holds one
//! entry at most.
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
mod replay;
mod suspect;
mod transfer;

pub use self::{
    books::{Books, Extent, Sums},
    replay::BrokenRule,
    transfer::{Mismatch, match_sides},
};
use self::{replay::Replay, suspect::Suspect};
use crate::{Account, Entry, EntryHash};

/// What is wrong with an account or its history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The content of an entry is not what its hash was calculated over. It may be the hash of the
    /// entry before it that was changed, together with that entry; for the first entry, what the
    /// account was opened with.
    #[error("{}", changed(*.sequence))]
    Changed {
        /// Which one.
        sequence: u64,
    },
    /// An entry is not there.
    #[error("entry {sequence} was removed")]
    Removed {
        /// Which one.
        sequence: u64,
    },
    /// There is an entry that is not part of the history.
    #[error("entry {sequence} was inserted: the history goes on without it")]
    Inserted {
        /// What it says its sequence is.
        sequence: u64,
    },
    /// An entry is not where it was written.
    #[error("entry {sequence} was put elsewhere: what is in its place belongs to another")]
    Reordered {
        /// Which one.
        sequence: u64,
    },
    /// An entry is as it was written, and must not have been.
    #[error("entry {sequence} breaks a rule: {rule}")]
    RuleBroken {
        /// Which one.
        sequence: u64,
        /// What it breaks.
        rule: BrokenRule,
    },
    /// The entries are as they were written, and the account is not what they make of it.
    #[error("the account has the {field} {found}, its entries come to {expected}")]
    AccountChanged {
        /// What differs.
        field: &'static str,
        /// What the entries come to.
        expected: String,
        /// What the account says.
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
    /// The first entry that is wrong; none where only the account is.
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

/// Checks one account against its entries.
#[derive(Clone, Debug)]
pub struct Verifier<'a> {
    account: &'a Account,
    /// What the entries so far come to.
    replay: Replay<'a>,
    /// The hash that the next entry builds on.
    head: EntryHash,
    /// The sequence that the next entry should have.
    next: u64,
    has_newer: bool,
    trouble: Option<Trouble<'a>>,
}

#[derive(Clone, Debug)]
enum Trouble<'a> {
    Fault(Fault),
    Suspect(Box<Suspect<'a>>),
}

impl<'a> Verifier<'a> {
    /// Has seen no entry yet.
    pub fn new(account: &'a Account) -> Self {
        Self {
            account,
            replay: Replay::new(account),
            head: account.genesis(),
            next: 1,
            has_newer: false,
            trouble: None,
        }
    }

    /// Takes the next entry of the history, from the oldest on.
    pub fn check(&mut self, entry: &Entry) {
        match &mut self.trouble {
            Some(Trouble::Fault(_)) => {}
            Some(Trouble::Suspect(suspect)) => suspect.consider(entry),
            None => self.follow(entry),
        }
    }

    fn follow(&mut self, entry: &Entry) {
        if self.has_newer {
            // What follows the newest entry of the account is for the next audit.
        } else if entry.sequence != self.next || entry.chained_to(&self.head) != entry.hash {
            let suspect = Suspect::new(self.account, self.head, self.next, entry.clone());
            self.trouble = Some(Trouble::Suspect(Box::new(suspect)));
        } else if self.next > self.account.version {
            self.has_newer = true;
        } else if let Err(rule) = self.replay.apply(entry) {
            self.trouble = Some(Trouble::Fault(Fault::RuleBroken { sequence: entry.sequence, rule }));
        } else {
            self.head = entry.hash;
            self.next += 1;
        }
    }

    /// How many entries have been found to be right.
    pub fn verified(&self) -> u64 {
        self.next - 1
    }

    /// Whether an entry has come that follows the account's newest. Where the bank is in use, it was
    /// written after the account was read; then the account has a higher version by now.
    pub fn has_newer(&self) -> bool {
        self.has_newer
    }

    /// Whether an entry has been found to be wrong.
    pub fn has_fault(&self) -> bool {
        self.trouble.is_some()
    }

    /// The verdict, once there are no more entries, or [newer ones](Self::has_newer).
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn finish(self) -> Result<(), Fault> {
        match self.trouble {
            Some(Trouble::Fault(fault)) => return Err(fault),
            Some(Trouble::Suspect(suspect)) => return Err(suspect.verdict()),
            None => {}
        }
        if self.next <= self.account.version && self.head != self.account.head {
            return Err(Fault::Removed { sequence: self.next });
        }
        self.replay.compare(self.next - 1, self.head)
    }
}
