//! A bank as a file, and a file as a bank.
//!
//! The file is lines of JSON, one for each account, entry and record of a request, between a header and
//! a last line with what there must have been. Equal banks are equal files, byte for byte, whatever
//! they are kept in: [`line`](mod@line) says what is in it and in which order.
//!
//! # Export
//!
//! Reads while the bank is in use. An account is as it was when it was read, with its entries up to
//! then. The records of its requests are read after it: so each entry has its record, if that is not
//! too old, and records of later entries are left out. Rejections are kept, whenever they were told. Each
//! history is verified as it is read, so that what was exported can be imported.
//!
//! # Import
//!
//! Into an empty bank only, which serves nobody until the last line has been found to be right. Every
//! line must be as this bank would write it, byte for byte, and in its place; each history is held to
//! its hashes and the rules, entry by entry, before it is stored. What is left to an audit: that both
//! sides of each transfer are there, and that the money adds up. A file that is refused leaves an
//! empty bank; an import that breaks off, one that serves nobody, until a file is imported again.
//!
//! # Cost and bounds
//!
//! Memory is bounded by pages, whatever the length of histories: an export holds up to 10,000 accounts
//! and 100,000 records, an import a thousand lines. Records are stored by time, so an export walks
//! through all of a partition's (on the embedded store: of the bank's) for every page of them and every
//! 10,000 accounts. Whoever reads slowly slows the export.

mod export;
mod import;
pub mod line;
mod reader;

use std::sync::atomic::{AtomicU64, Ordering};

use bank_store::{StoreError, clock::ClockOff};
use tokio::sync::mpsc::error::SendError;

pub use self::{
    export::{ExportNews, ExportSummary, export},
    import::{ImportNews, import},
};

/// How many lines of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accounts.
    pub accounts: u64,
    /// Entries.
    pub entries: u64,
    /// Records of requests.
    pub requests: u64,
}

/// Why a file was not written, or not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is not one that the bank has written.
    #[error("line {line} of the file {problem}")]
    Damaged {
        /// The first line that is wrong, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// There are accounts in the bank.
    #[error("there are accounts in this bank, and a file can be imported only into an empty one")]
    NotEmpty,
    /// The clock of the server is off.
    #[error(transparent)]
    ClockOff(#[from] ClockOff),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The receiver of the news was dropped.
    #[error("the caller is gone")]
    CallerGone,
}

impl<T> From<SendError<T>> for Error {
    fn from(_: SendError<T>) -> Self {
        Self::CallerGone
    }
}

/// [`Counts`] while they grow.
#[derive(Debug, Default)]
struct Tally {
    accounts: AtomicU64,
    entries: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    fn counts(&self) -> Counts {
        let [accounts, entries, requests] =
            [&self.accounts, &self.entries, &self.requests].map(|count| count.load(Ordering::Relaxed));
        Counts { accounts, entries, requests }
    }
}

fn add(count: &AtomicU64, more: usize) {
    count.fetch_add(more as u64, Ordering::Relaxed);
}

/// Why a store that only stands for another has no back-ups.
fn without_backup() -> Error {
    Error::Store(StoreError::Misconfigured("this store can be neither exported nor imported into".to_owned()))
}
