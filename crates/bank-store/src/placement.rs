//! Where accounts are placed: the partitions of a bank.

use bank_domain::{AccountId, Owner};

use crate::StoreError;

/// The number of partitions of a bank unless it is initialized with another.
pub(crate) const PARTITIONS_DEFAULT: u32 = 1_024;
/// As many as Redis Cluster has slots.
const PARTITIONS_MAX: u32 = 16_384;

/// The placement of accounts in partitions. Fixed when a bank is initialized, and part of every stored format.
///
/// Accounts with the same route share a partition. On Redis Cluster, a transfer between them is one atomic commit, and an
/// atomic batch can span them. Every backend lists accounts by partition first, so banks with equal placement have
/// equal lists and exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    partitions: u32,
    rule: PlacementRule,
}

/// What determines the partition of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacementRule {
    /// The route: the account id up to the first `:`, or all of it.
    Route,
    /// The whole account id: banks of earlier versions.
    AccountId,
}

impl PlacementRule {
    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::AccountId => "account_id",
        }
    }

    /// Parses the stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Route, Self::AccountId].into_iter().find(|rule| rule.as_str() == name)
    }
}

impl Placement {
    /// Placement by route, the rule of every new bank.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] unless the number of partitions is from 1 to 16384.
    pub fn try_new(partitions: u32) -> Result<Self, StoreError> {
        if (1..=PARTITIONS_MAX).contains(&partitions) {
            return Ok(Self { partitions, rule: PlacementRule::Route });
        }
        Err(StoreError::Misconfigured(format!("store.partitions must be from 1 to {PARTITIONS_MAX}")))
    }

    /// The same number of partitions with another rule.
    #[must_use]
    pub const fn with_rule(self, rule: PlacementRule) -> Self {
        Self { rule, ..self }
    }

    /// The number of partitions.
    pub const fn partitions(self) -> u32 {
        self.partitions
    }

    /// What determines the partition of an account.
    pub const fn rule(self) -> PlacementRule {
        self.rule
    }

    /// The partition of an account, from 0.
    pub fn of(self, id: &AccountId) -> u32 {
        self.of_name(id.as_str())
    }

    /// The partition of the index of an owner's accounts.
    pub(crate) fn of_owner(self, owner: &Owner) -> u32 {
        self.of_name(owner.as_str())
    }

    /// FNV-1a, 32 bits, modulo the number of partitions. Part of the stored formats: it never changes.
    /// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>
    fn of_name(self, name: &str) -> u32 {
        let placed = match self.rule {
            PlacementRule::Route => name.split(':').next().unwrap_or(name),
            PlacementRule::AccountId => name,
        };
        let hash = placed
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        hash % self.partitions
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self { partitions: PARTITIONS_DEFAULT, rule: PlacementRule::Route }
    }
}

#[cfg(test)]
mod tests;
