//! A connection to each primary, while the store starts.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use fred::types::{Value, config::Server};

use super::{
    connection::{Command, Connection, trips},
    keys::Keys,
    slots::{SlotMap, slot_of},
};
use crate::StoreError;

/// How many writes wait for replicas together.
const WRITES_PER_TRIP: usize = 1_000;

/// If slots move meanwhile, the start fails and is tried again.
pub(super) enum Links {
    Single(Arc<Connection>),
    Cluster { map: Arc<SlotMap>, connections: HashMap<Server, Arc<Connection>> },
}

impl Links {
    /// The connection to the primary that has a key.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there is none.
    pub(super) fn of(&self, key: &str) -> Result<&Arc<Connection>, StoreError> {
        match self {
            Self::Single(connection) => Ok(connection),
            Self::Cluster { map, connections } => {
                let connection = map.owner(slot_of(key)).and_then(|node| connections.get(node));
                connection.ok_or_else(|| {
                    StoreError::Unavailable(format!("no node of the cluster has the slot of {key}"))
                })
            }
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    pub(super) fn all(&self) -> Vec<&Arc<Connection>> {
        match self {
            Self::Single(connection) => vec![connection],
            Self::Cluster { connections, .. } => connections.values().collect(),
        }
    }

    /// Reads something of each partition, and returns the values in the order of the partitions.
    pub(super) async fn read_each(
        &self,
        keys: &Keys,
        command: impl Fn(u32) -> Command,
    ) -> Result<Vec<Value>, StoreError> {
        let mut all = BTreeMap::new();
        for (connection, partitions) in self.partitions(keys)? {
            let commands = partitions.iter().map(|partition| command(*partition)).collect();
            all.extend(partitions.into_iter().zip(connection.send_many(commands).await?));
        }
        Ok(all.into_values().collect())
    }

    /// Writes something to each partition, and waits for replicas as a commit does.
    pub(super) async fn write_each(
        &self,
        keys: &Keys,
        command: impl Fn(u32) -> Command,
    ) -> Result<(), StoreError> {
        for (connection, partitions) in self.partitions(keys)? {
            for partitions in trips(partitions, WRITES_PER_TRIP) {
                let writes = partitions.into_iter().map(&command).collect();
                write_all(connection, writes).await?;
            }
        }
        Ok(())
    }

    fn partitions(&self, keys: &Keys) -> Result<Vec<Shard<'_>>, StoreError> {
        let mut all: Vec<Shard<'_>> = Vec::new();
        for partition in keys.all_partitions() {
            let connection = self.of(&keys.meta(partition))?;
            match all.iter_mut().find(|(known, _)| Arc::ptr_eq(known, connection)) {
                Some((_, partitions)) => partitions.push(partition),
                None => all.push((connection, vec![partition])),
            }
        }
        Ok(all)
    }
}

/// A connection, and the partitions that it leads to.
type Shard<'a> = (&'a Arc<Connection>, Vec<u32>);

/// Writes, and waits for replicas. The first error counts.
pub(super) async fn write_all(connection: &Connection, writes: Vec<Command>) -> Result<(), StoreError> {
    let replies = connection.write_all(writes).await?;
    replies.into_iter().try_for_each(|reply| reply.map(drop).map_err(|error| connection.explain(&error)))
}
