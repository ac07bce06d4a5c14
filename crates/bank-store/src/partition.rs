//! Partitions of accounts.

use bank_domain::AccountId;

use crate::StoreError;

/// The number of partitions of a bank unless it is initialized with another.
pub(crate) const PARTITIONS_DEFAULT: u32 = 256;
/// As many as Redis Cluster has slots.
const PARTITIONS_MAX: u32 = 16_384;

/// The partitions of a bank. Their number is fixed when the bank is initialized. Every backend lists accounts by
/// partition first, so equal banks have equal lists and exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partitions(u32);

impl Partitions {
    pub(crate) fn try_new(count: u32) -> Result<Self, StoreError> {
        if (1..=PARTITIONS_MAX).contains(&count) {
            return Ok(Self(count));
        }
        Err(StoreError::Misconfigured(format!("store.partitions must be from 1 to {PARTITIONS_MAX}")))
    }

    pub(crate) const fn count(self) -> u32 {
        self.0
    }

    pub(crate) fn of(self, id: &AccountId) -> u32 {
        self.of_name(id.as_str())
    }

    /// FNV-1a, 32 bits, modulo the number of partitions. Part of the stored format: it never changes.
    /// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>
    pub(crate) fn of_name(self, name: &str) -> u32 {
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        hash % self.0
    }
}

/// The partition of an account, out of so many. Accounts are listed by partition first.
pub fn partition_of(account_id: &AccountId, partitions: u32) -> u32 {
    Partitions::try_new(partitions).map_or(0, |partitions| partitions.of(account_id))
}

impl Default for Partitions {
    fn default() -> Self {
        Self(PARTITIONS_DEFAULT)
    }
}

#[cfg(test)]
mod tests;
