//! What readers see.

use redb::ReadTransaction;

use super::heads::RecentHeads;
use crate::placement::Placement;

/// The bank after one commit.
pub(super) struct Snapshot {
    pub(super) transaction: ReadTransaction,
    pub(super) recent: RecentHeads,
    pub(super) placement: Placement,
}
