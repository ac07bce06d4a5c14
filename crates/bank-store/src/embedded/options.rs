//! The options of the embedded store.

use std::{path::PathBuf, time::Duration};

use crate::{clock::Timekeeper, placement::PARTITIONS_DEFAULT};

/// The options of an [`EmbeddedStore`](crate::EmbeddedStore).
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The file. It is created with its directories if it does not exist.
    pub path: PathBuf,
    /// The number of partitions, fixed when the bank is initialized.
    pub partitions: u32,
    /// How long request records are kept at least.
    pub request_retention: Duration,
    /// The size of the caches: a quarter for pages of the file, the rest for account heads.
    pub cache_bytes_max: usize,
    /// The free disk space below which commits are refused.
    pub free_bytes_min: u64,
    /// The clock.
    pub clock: Timekeeper,
    /// Whether to open a file whose newest entry is ahead of the clock, because the clock was wrong then.
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
    /// The size of the page cache. The operating system caches pages as well, so a miss is cheap.
    pub(super) fn page_bytes_max(&self) -> usize {
        self.cache_bytes_max / 4
    }

    /// The size of the cache of heads. A miss costs three look-ups.
    pub(super) fn head_bytes_max(&self) -> usize {
        self.cache_bytes_max - self.page_bytes_max()
    }
}
