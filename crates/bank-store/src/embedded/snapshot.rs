//! What readers see.

use redb::ReadTransaction;

use super::heads::RecentHeads;
use crate::partition::Partitions;

/// The bank after one commit.
pub(super) struct Snapshot {
    pub(super) transaction: ReadTransaction,
    pub(super) recent: RecentHeads,
    pub(super) partitions: Partitions,
}
