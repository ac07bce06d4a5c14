//! Holds a recording against the books: was it one bank that did one thing at a time?
//!
//! # What is checked
//!
//! 1. **The books are sound.** The entries of an account are dense from 1, each balance is the one before
//!    with the amount, none is below the overdraft limit.
//! 2. **Each operation is stored as often as its client was told**: an acknowledged one exactly once, on
//!    every account that it names, with the sequence and the balance that were acknowledged; one that was
//!    refused or not done never; one of unknown outcome once or not at all. No entry is of no operation.
//! 3. **The history is linearizable.** There is an instant for each operation, between its invocation and
//!    its reply (after its invocation, if its outcome is unknown), so that done at these instants, one
//!    after another, all of them give the answers and the books that there are. See [`order`].
//!
//! Step 3 is exact, except for balances that an account had more than once: a read or a rejection that
//! shows only such a balance is held to each version with it that was current during its time, not to
//! all that other reads of the same kind imply. [`Findings::undetermined`] counts those.
//!
//! # What is not
//!
//! Durability beyond what the faults of a run take away (`kill -9` of Redis leaves what it wrote to the
//! kernel, a power cut may not), operations that the workload does not have, and what happens to request ids
//! after their records expire.

mod order;
mod placing;
#[cfg(test)]
mod tests;

use std::fmt;

use super::history::{Books, Operation, Outcome};

/// How many violations are reported.
const TOLD_MAX: usize = 10;

/// What became of the operations of a sound history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub acknowledged: usize,
    pub refused: usize,
    pub not_done: usize,
    pub unknown: usize,
    /// How many of the unknown ones are in the books.
    pub unknown_done: usize,
    pub read: usize,
    pub unread: usize,
    /// Reads and rejections that fit several versions.
    pub undetermined: usize,
}

/// Why a history is not sound. Each text names the operations that contradict each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Violations(pub Vec<String>);

/// Checks a whole history: every operation since the bank was empty.
///
/// # Errors
/// [`Violations`].
pub fn check(operations: &[Operation], books: &Books) -> Result<Findings, Violations> {
    let placed = placing::place(operations, books).map_err(Violations)?;
    let undetermined = order::check(operations, books, &placed).map_err(Violations)?;
    let mut findings = Findings { undetermined, ..Findings::default() };
    for (operation, places) in operations.iter().zip(&placed.places) {
        *match operation.outcome {
            Outcome::Acknowledged { .. } => &mut findings.acknowledged,
            Outcome::Rejected { .. } => &mut findings.refused,
            Outcome::NotDone(_) => &mut findings.not_done,
            Outcome::Unknown(_) => &mut findings.unknown,
            Outcome::Balance(_) | Outcome::Accounts(_) => &mut findings.read,
            Outcome::Unread(_) => &mut findings.unread,
        } += 1;
        if matches!(operation.outcome, Outcome::Unknown(_)) && !places.is_empty() {
            findings.unknown_done += 1;
        }
    }
    Ok(findings)
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, refused, not_done, unknown, unknown_done, read, unread, undetermined } =
            self;
        write!(
            f,
            "{acknowledged} acknowledged, {refused} refused, {not_done} not done, {unknown} unknown \
             ({unknown_done} of them done), {read} reads ({undetermined} undetermined), {unread} reads failed"
        )
    }
}

impl fmt::Debug for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violations", self.0.len())?;
        for violation in self.0.iter().take(TOLD_MAX) {
            write!(f, "\n* {violation}")?;
        }
        Ok(())
    }
}
