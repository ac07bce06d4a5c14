//! Backups: exports a bank to a file, and imports a file into an empty bank.
//!
//! The file has a line of JSON for each account, entry and request record, between a header and a last line with counts
//! and a checksum. Equal banks export to equal bytes, on any store; [`line`](mod@line) specifies the format.
//!
//! # Export
//!
//! Runs while the bank is in use. An account is exported as of when it was read, with its entries up to then. Its
//! request records are read afterwards, so each entry has its record unless that has expired; records of later entries
//! are skipped. Rejections are always included. Each history is verified, so that the file can be imported.
//!
//! # Import
//!
//! Only into an empty bank, which serves nobody until the last line was checked. Every line must be exactly what this
//! bank would write, in its place; each history is verified before it is stored. Whether both sides of each transfer
//! exist and the money adds up is left to an audit. After a refused file the bank is empty again; after an interrupted
//! import it serves nobody until another file is imported.
//!
//! # Cost and bounds
//!
//! Memory is bounded by pages, for histories of any length: an export holds up to 10,000 accounts and 100,000 records,
//! an import a thousand lines. Records are stored by time, so an export scans all of a partition (on the embedded
//! store: of the bank) for every page of them and every 10,000 accounts. A slow reader slows the export.

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

/// The number of lines of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accounts.
    pub accounts: u64,
    /// Entries.
    pub entries: u64,
    /// Request records.
    pub requests: u64,
}

/// Why an export or import failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is not what the bank writes.
    #[error("line {line} of the file {problem}")]
    Damaged {
        /// The first wrong line, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// There are accounts in the bank.
    #[error("there are accounts in this bank, and a file can be imported only into an empty one")]
    NotEmpty,
    /// The clock of the server is wrong.
    #[error(transparent)]
    ClockOff(#[from] ClockOff),
    /// The store failed.
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

/// [`Counts`] while they grow, and the bytes read.
#[derive(Debug, Default)]
struct Counters {
    accounts: AtomicU64,
    entries: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    fn counts(&self) -> Counts {
        let [accounts, entries, requests] =
            [&self.accounts, &self.entries, &self.requests].map(|count| count.load(Ordering::Relaxed));
        Counts { accounts, entries, requests }
    }
}

fn add(count: &AtomicU64, more: usize) {
    count.fetch_add(more as u64, Ordering::Relaxed);
}

/// The error of a store that does not support backups.
fn without_backup() -> Error {
    Error::Store(StoreError::Misconfigured("this store can be neither exported nor imported into".to_owned()))
}
