//! Key names. `docs/redis-layout.md` lists them.

use std::{fmt::Display, ops::Range};

use bank_domain::{AccountId, Owner};

use crate::placement::Placement;

/// While an import is unfinished, `bank_id` is this and the id of the import; `begin.lua` has it too.
pub(super) const IMPORT_MARK: &str = "import:";

/// The partition whose copy of the identity decides. On a Redis without Cluster it stands for all.
pub(super) const HOME: u32 = 0;

#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    placement: Placement,
}

impl Keys {
    pub(super) fn new(prefix: &str, placement: Placement) -> Self {
        Self { prefix: prefix.to_owned(), placement }
    }

    /// The same keys with another placement.
    pub(super) fn placed(&self, placement: Placement) -> Self {
        Self { placement, ..self.clone() }
    }

    /// The identity of the bank. Each partition has a copy: on Redis Cluster, a script reads keys of one partition only.
    pub(super) fn meta(&self, partition: u32) -> String {
        format!("{}:{{{partition}}}:meta", self.prefix)
    }

    /// The identity of a bank of layout 3 or earlier. Now it only says that there is a bank of another layout.
    pub(super) fn former_meta(&self) -> String {
        format!("{}:meta", self.prefix)
    }

    /// Written by every commit that waits for replicas: `WAIT` only counts writes of its own connection.
    pub(super) fn barrier(&self, partition: u32) -> String {
        format!("{}:{{{partition}}}:barrier", self.prefix)
    }

    pub(super) fn account(&self, id: &AccountId) -> String {
        format!("{}:{{{}}}:account:{id}", self.prefix, self.partition_of(id))
    }

    pub(super) fn entries(&self, id: &AccountId) -> String {
        format!("{}:{{{}}}:entries:{id}", self.prefix, self.partition_of(id))
    }

    /// The set of a partition's windows.
    pub(super) fn windows(&self, partition: u32) -> String {
        format!("{}:{{{partition}}}:requests", self.prefix)
    }

    /// The request records of a partition in one window.
    pub(super) fn requests(&self, partition: u32, window: impl Display) -> String {
        format!("{}:{{{partition}}}:requests:{window}", self.prefix)
    }

    pub(super) fn accounts(&self, partition: u32) -> String {
        format!("{}:{{{partition}}}:accounts", self.prefix)
    }

    /// A pattern for all keys of the bank. A prefix has no characters with a meaning in patterns.
    pub(super) fn pattern(&self) -> String {
        format!("{}:{{*", self.prefix)
    }

    /// The partition of a key; `None` for an identity, a barrier, or a key of another form.
    pub(super) fn partition_of_data(&self, key: &str) -> Option<u32> {
        let (partition, name) = key.strip_prefix(&self.prefix)?.strip_prefix(":{")?.split_once("}:")?;
        let partition =
            partition.parse().ok().filter(|partition| self.all_partitions().contains(partition))?;
        (!matches!(name, "meta" | "barrier")).then_some(partition)
    }

    pub(super) fn all_partitions(&self) -> Range<u32> {
        0..self.placement.partitions()
    }

    pub(super) fn owner(&self, owner: &Owner) -> String {
        format!("{}:{{{}}}:owner:{owner}", self.prefix, self.partition_of_owner(owner))
    }

    pub(super) fn partition_of_owner(&self, owner: &Owner) -> u32 {
        self.placement.of_owner(owner)
    }

    pub(super) fn partition_of(&self, id: &AccountId) -> u32 {
        self.placement.of(id)
    }

    pub(super) fn placement(&self) -> Placement {
        self.placement
    }
}

#[cfg(test)]
mod tests;
