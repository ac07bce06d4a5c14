//! The primaries of a bank, and which of them has which partition.
//!
//! A stand-alone Redis, and one that Sentinels watch, is a single shard with all partitions. In a cluster the shards follow
//! its map of slots. A primary that the map names anew is connected and inspected before it is used, and one that it names
//! no more is dropped. Each has connections of its own, so one that is down delays nobody else.
//!
//! Commands for one shard travel together, and shards are used at the same time. A reply that sends a command elsewhere, or
//! says to wait, means that it was not carried out: it is sent again, until a deadline.

mod sending;

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fred::types::{Value, config::Server};
use futures::future::join_all;
use tokio_util::task::AbortOnDropHandle;

use super::{
    connection::{Connection, Reply},
    guard::{Epochs, Guard},
    keys::Keys,
    locator::Locator,
    options::RedisOptions,
    primary::Primary,
    slots::{SLOTS, SlotMap, slot_of},
    topology::Topology,
};
use crate::StoreError;

/// What became of one command.
pub(super) type Answer = Result<Answered, StoreError>;

/// A reply of a primary.
pub(super) struct Answered {
    pub(super) primary: Arc<Primary>,
    pub(super) connection: Arc<Connection>,
    /// When it was asked, by the steady clock.
    pub(super) asked_at: Duration,
    pub(super) reply: Reply,
}

impl Answered {
    /// The value, if the reply is no error.
    pub(super) fn value(self) -> Result<Value, StoreError> {
        self.reply.map_err(|error| self.connection.explain(&error))
    }

    /// Why it is an error.
    fn failure(self) -> StoreError {
        self.value().err().unwrap_or_else(|| StoreError::OutcomeUnknown("there is a reply".to_owned()))
    }
}

/// What all primaries of a store share.
pub(super) struct Common {
    pub(super) options: Arc<RedisOptions>,
    pub(super) keys: Keys,
    pub(super) bank_id: String,
    pub(super) epochs: Epochs,
}

impl Common {
    pub(super) fn guard(&self, locator: Locator, partitions: Vec<u32>) -> Guard {
        Guard::new(locator, &self.keys, &self.bank_id, partitions, Arc::clone(&self.epochs))
    }
}

pub(super) struct Shards {
    common: Common,
    /// `None` if there is no cluster.
    cluster: Option<Cluster>,
    state: Mutex<State>,
}

struct Cluster {
    topology: Arc<Topology>,
    /// The slot of each partition.
    slots: Vec<u16>,
    /// How often a command was sent elsewhere, or the map has changed.
    moves: AtomicU64,
    _follower: AbortOnDropHandle<()>,
}

struct State {
    /// The map that the rest of the state is from.
    map: Arc<SlotMap>,
    /// For each partition its primary; `None` if nobody has its slot. Only one for all if there is no cluster.
    owners: Arc<[Option<Arc<Primary>>]>,
    nodes: HashMap<Server, Arc<Primary>>,
}

impl Shards {
    /// For a single primary.
    pub(super) fn single(common: Common, primary: Primary) -> Self {
        let owners = [Some(Arc::new(primary))].into();
        let state = State { map: Arc::default(), owners, nodes: HashMap::new() };
        Self { common, cluster: None, state: Mutex::new(state) }
    }

    /// For the primaries of a cluster that are connected.
    pub(super) fn cluster(
        common: Common,
        topology: Arc<Topology>,
        nodes: HashMap<Server, Arc<Primary>>,
    ) -> Arc<Self> {
        let slots = slots(&common.keys);
        Arc::new_cyclic(|shards: &Weak<Self>| {
            let follower = follow(shards.clone(), Arc::clone(&topology));
            let follower = AbortOnDropHandle::new(tokio::spawn(follower));
            let cluster = Cluster { topology, slots, moves: AtomicU64::new(0), _follower: follower };
            let state = State { map: Arc::default(), owners: [].into(), nodes };
            Self { common, cluster: Some(cluster), state: Mutex::new(state) }
        })
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    /// The slot of a partition; 0 if there is no cluster.
    pub(super) fn slot(&self, partition: u32) -> u16 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.slots[partition as usize])
    }

    /// Grows whenever partitions may have moved.
    pub(super) fn moves(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.moves.load(Ordering::SeqCst))
    }

    /// Every primary that has a partition.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if a partition has none.
    pub(super) fn all(&self) -> Result<Vec<Arc<Primary>>, StoreError> {
        let owners = self.owners();
        match (0..).zip(&*owners).find(|(_, owner)| owner.is_none()) {
            Some((partition, _)) => Err(nobody(partition)),
            None => Ok(distinct(&owners)),
        }
    }

    /// # Errors
    /// Why no shard takes commits now. While one does, those that do not are in the log.
    pub(super) async fn health(&self) -> Result<(), StoreError> {
        let checks = join_all(distinct(&self.owners()).iter().map(|primary| primary.health())).await;
        // One that is well, or else the first that is not.
        checks.into_iter().reduce(Result::or).unwrap_or_else(|| Err(nobody(0)))
    }

    /// The only primary, if there is no cluster.
    fn only(&self) -> Result<Arc<Primary>, StoreError> {
        self.owners().first().cloned().flatten().ok_or_else(|| nobody(0))
    }

    /// The primaries by partition, as the newest map has them.
    fn owners(&self) -> Arc<[Option<Arc<Primary>>]> {
        let mut state = self.state();
        if let Some(cluster) = &self.cluster {
            let map = cluster.topology.map();
            if !Arc::ptr_eq(&map, &state.map) {
                cluster.moves.fetch_add(1, Ordering::SeqCst);
                self.adopt(cluster, map, &mut state);
            }
        }
        Arc::clone(&state.owners)
    }

    fn adopt(&self, cluster: &Cluster, map: Arc<SlotMap>, state: &mut State) {
        let partitions = partitions_by_node(&map, &cluster.slots);
        state.nodes.retain(|node, _| partitions.contains_key(node) || cluster.topology.is_receiver(node));
        for (node, partitions) in partitions {
            if let Some(primary) = state.nodes.get(&node) {
                primary.guard().set_partitions(partitions);
            } else {
                let locator = Locator::of_node(&cluster.topology, &node);
                tracing::info!(redis = locator.address(), "a node of the cluster has become a shard");
                let primary = Primary::join(self.common.guard(locator, partitions));
                state.nodes.insert(node, Arc::new(primary));
            }
        }
        let owner = |slot: &u16| map.owner(*slot).and_then(|node| state.nodes.get(node)).cloned();
        state.owners = cluster.slots.iter().map(owner).collect();
        state.map = map;
    }

    /// A node that a slot moves to, which may have none yet.
    fn receiver(&self, cluster: &Cluster, node: &Server) -> Arc<Primary> {
        cluster.topology.receives(node);
        let mut state = self.state();
        let primary = state.nodes.entry(node.clone()).or_insert_with(|| {
            let locator = Locator::of_node(&cluster.topology, node);
            Arc::new(Primary::join(self.common.guard(locator, Vec::new())))
        });
        Arc::clone(primary)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn distinct(owners: &[Option<Arc<Primary>>]) -> Vec<Arc<Primary>> {
    let mut all: Vec<Arc<Primary>> = Vec::new();
    for owner in owners.iter().flatten() {
        if !all.iter().any(|known| Arc::ptr_eq(known, owner)) {
            all.push(Arc::clone(owner));
        }
    }
    all
}

/// The slot of each partition.
pub(super) fn slots(keys: &Keys) -> Vec<u16> {
    keys.all_partitions().map(|partition| slot_of(&keys.meta(partition))).collect()
}

/// The partitions of each node that has any.
pub(super) fn partitions_by_node(map: &SlotMap, slots: &[u16]) -> HashMap<Server, Vec<u32>> {
    let mut partitions: HashMap<Server, Vec<u32>> = HashMap::new();
    for (partition, slot) in (0..).zip(slots) {
        if let Some(node) = map.owner(*slot) {
            partitions.entry(node.clone()).or_default().push(partition);
        }
    }
    partitions
}

/// The lane of a slot, if there are so many.
pub(super) fn lane_of(slot: u16, lanes: usize) -> usize {
    usize::from(slot) * lanes / usize::from(SLOTS)
}

/// Connects to new primaries as soon as the map names them, whether or not there are commands for them.
fn follow(shards: Weak<Shards>, topology: Arc<Topology>) -> impl Future<Output = ()> {
    let mut changes = topology.changes();
    async move {
        while changes.changed().await.is_ok() {
            let Some(shards) = shards.upgrade() else { return };
            drop(shards.owners());
        }
    }
}

fn nobody(partition: u32) -> StoreError {
    StoreError::Unavailable(format!("no node of the cluster has partition {partition}"))
}
