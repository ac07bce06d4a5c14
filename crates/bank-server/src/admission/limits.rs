//! The limits on what callers use at once, in one table.

use std::num::{NonZeroU32, NonZeroUsize};

/// How much of a resource there is.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// For all callers together.
    pub total: usize,
    /// For each of them.
    pub per_caller: usize,
}

/// What callers may use.
#[derive(Clone, Copy, Debug)]
pub struct CallerLimits {
    /// How many calls a caller may make in a second, in the long run. An operation of a batch counts as a call.
    pub calls_per_second_max: NonZeroU32,
    /// How many calls a caller may make at once, after a pause.
    pub calls_burst_max: NonZeroU32,
    /// How many callers are remembered; those that called longest ago are forgotten.
    pub callers_remembered_max: NonZeroUsize,
    /// Calls to the bank in flight.
    pub calls: Limit,
    /// Batches in progress.
    pub batches: Limit,
    /// Open streams of batches.
    pub streams: Limit,
    /// Memory that messages and replies take, in bytes.
    pub buffered_bytes: Limit,
    /// Reads of lists under way.
    pub scans: Limit,
    /// Open watches.
    pub watches: Limit,
    /// Memory that dry runs keep, in bytes.
    pub dry_run_bytes: Limit,
}

/// What there are permits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumCount, strum::VariantArray)]
pub(crate) enum Resource {
    Calls,
    Batches,
    Streams,
    BufferedBytes,
    Scans,
    Watches,
    DryRunBytes,
}

impl Resource {
    pub(super) const fn limit(self, limits: &CallerLimits) -> Limit {
        match self {
            Self::Calls => limits.calls,
            Self::Batches => limits.batches,
            Self::Streams => limits.streams,
            Self::BufferedBytes => limits.buffered_bytes,
            Self::Scans => limits.scans,
            Self::Watches => limits.watches,
            Self::DryRunBytes => limits.dry_run_bytes,
        }
    }

    /// How many permits an amount takes. Memory is counted in kilobytes, so that it fits a semaphore.
    pub(super) const fn permits(self, amount: usize) -> usize {
        match self {
            Self::BufferedBytes | Self::DryRunBytes => amount.div_ceil(1024),
            Self::Calls | Self::Batches | Self::Streams | Self::Scans | Self::Watches => amount,
        }
    }
}

/// Whose limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitScope {
    Total,
    PerCaller,
}

/// There is no permit left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitReached {
    pub(crate) resource: Resource,
    pub(crate) scope: LimitScope,
    pub(crate) max: usize,
}
