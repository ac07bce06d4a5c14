//! Key names. The table is in the documentation of [`redis`](super).

use bank_domain::{AccountId, Owner};

use crate::partition::Partitions;

/// While an import is unfinished, `bank_id` is this and the id of the import; `begin.lua` has it too.
pub(super) const IMPORT_MARK: &str = "import:";

#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    partitions: Partitions,
}

impl Keys {
    pub(super) fn new(prefix: &str, partitions: Partitions) -> Self {
        Self { prefix: prefix.to_owned(), partitions }
    }

    pub(super) fn meta(&self) -> String {
        format!("{}:meta", self.prefix)
    }

    /// Written to when a write is needed and there is nothing else to write.
    pub(super) fn barrier(&self) -> String {
        format!("{}:barrier", self.prefix)
    }

    pub(super) fn account(&self, id: &AccountId) -> String {
        format!("{}:{{{}}}:account:{id}", self.prefix, self.partition_of(id))
    }

    pub(super) fn entries(&self, id: &AccountId) -> String {
        format!("{}:{{{}}}:entries:{id}", self.prefix, self.partition_of(id))
    }

    /// The set of a partition's windows. The commit script appends `:<window>` to name the records of one.
    pub(super) fn windows(&self, partition: u32) -> String {
        format!("{}:{{{partition}}}:requests", self.prefix)
    }

    /// The request records of a partition in one window.
    pub(super) fn requests(&self, partition: u32, window: u64) -> String {
        format!("{}:{{{partition}}}:requests:{window}", self.prefix)
    }

    pub(super) fn accounts(&self, partition: u32) -> String {
        format!("{}:{{{partition}}}:accounts", self.prefix)
    }

    /// A pattern for all keys but those of the bank as a whole. A prefix has no characters with a meaning in patterns.
    pub(super) fn of_partitions(&self) -> String {
        format!("{}:{{*", self.prefix)
    }

    /// The account index of every partition.
    pub(super) fn all_accounts(&self) -> impl Iterator<Item = String> {
        (0..self.partitions.count()).map(|partition| self.accounts(partition))
    }

    pub(super) fn owner(&self, owner: &Owner) -> String {
        format!("{}:{{{}}}:owner:{owner}", self.prefix, self.partitions.of_name(owner.as_str()))
    }

    pub(super) fn partition_of(&self, id: &AccountId) -> u32 {
        self.partitions.of(id)
    }

    pub(super) fn partitions(&self) -> Partitions {
        self.partitions
    }
}

#[cfg(test)]
mod tests;
