//! Where the file is, and within which bounds.

use std::{path::PathBuf, time::Duration};

use crate::{clock::Timekeeper, partition::PARTITIONS_DEFAULT};

/// What an [`EmbeddedStore`](super::EmbeddedStore) is opened with.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The file. It and the directories on the way to it are made where they are not there.
    pub path: PathBuf,
    /// How many partitions the accounts are spread over. Fixed when the bank is founded.
    pub partitions: u32,
    /// How long request records are kept at least.
    pub request_retention: Duration,
    /// How much memory is used: a quarter for pages of the file, the rest for where accounts stand.
    pub cache_bytes_max: usize,
    /// How much room must be left on the disk for a commit to be begun.
    pub free_bytes_min: u64,
    /// What it goes by for the time.
    pub clock: Timekeeper,
    /// Whether to open a file whose newest entry is ahead of the clock: the clock was wrong then, and is right now.
    pub entries_ahead_allowed: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            path: "data/bank.redb".into(),
            partitions: PARTITIONS_DEFAULT,
            request_retention: Duration::from_hours(24),
            cache_bytes_max: 256 << 20,
            free_bytes_min: 64 << 20,
            clock: Timekeeper::default(),
            entries_ahead_allowed: false,
        }
    }
}

impl EmbeddedOptions {
    /// How much of the memory is for pages of the file. The system keeps them besides, so that a page which is
    /// not there is near.
    pub(super) fn page_bytes_max(&self) -> usize {
        self.cache_bytes_max / 4
    }

    /// How much of it is for where accounts stand. One that is not there takes three look-ups.
    pub(super) fn head_bytes_max(&self) -> usize {
        self.cache_bytes_max - self.page_bytes_max()
    }
}
