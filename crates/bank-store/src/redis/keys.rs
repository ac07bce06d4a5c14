//! The names of everything in Redis; the table is in the documentation of [`redis`](super).

use bank_domain::{AccountId, Owner};

use crate::partition::Partitions;

/// Makes key names.
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

    /// Written where there is nothing else to write, to see whether a write gets through.
    pub(super) fn barrier(&self) -> String {
        format!("{}:barrier", self.prefix)
    }

    pub(super) fn account(&self, id: &AccountId) -> String {
        format!("{}:{{{}}}:account:{id}", self.prefix, self.partition_of(id))
    }

    pub(super) fn entries(&self, id: &AccountId) -> String {
        format!("{}:{{{}}}:entries:{id}", self.prefix, self.partition_of(id))
    }

    /// Which windows of records a partition has. The commit script appends one to have the name of its records.
    pub(super) fn requests(&self, partition: u32) -> String {
        format!("{}:{{{partition}}}:requests", self.prefix)
    }

    /// The records of a partition in one window of time.
    pub(super) fn requests_of(&self, partition: u32, window: u64) -> String {
        format!("{}:{{{partition}}}:requests:{window}", self.prefix)
    }

    pub(super) fn accounts(&self, partition: u32) -> String {
        format!("{}:{{{partition}}}:accounts", self.prefix)
    }

    pub(super) fn owner(&self, owner: &Owner) -> String {
        format!("{}:{{{}}}:owner:{owner}", self.prefix, self.partitions.of_name(owner.as_str()))
    }

    pub(super) fn partition_of(&self, id: &AccountId) -> u32 {
        self.partitions.of(id)
    }

    pub(super) fn partitioning(&self) -> Partitions {
        self.partitions
    }

    pub(super) fn partitions(&self) -> u32 {
        self.partitions.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_layout() {
        let keys = Keys::new("bank", Partitions::default());
        let id: AccountId = "123".parse().unwrap();
        assert_eq!(keys.meta(), "bank:meta");
        assert_eq!(keys.barrier(), "bank:barrier");
        assert_eq!(keys.account(&id), "bank:{27}:account:123");
        assert_eq!(keys.entries(&id), "bank:{27}:entries:123");
        assert_eq!(keys.requests(27), "bank:{27}:requests");
        assert_eq!(keys.requests_of(27, 20_780), "bank:{27}:requests:20780");
        assert_eq!(keys.accounts(17), "bank:{17}:accounts");
        assert_eq!(keys.owner(&"alice".parse().unwrap()), "bank:{231}:owner:alice");
    }
}
