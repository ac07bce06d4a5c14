//! The primaries of a bank, and which of them has which partition.
//!
//! A stand-alone Redis, and one that Sentinels watch, is a single shard with all partitions. In a cluster the shards follow
//! its map of slots. A primary that the map names anew is connected and inspected before it is used, and one that it names
//! no more is dropped. Each has connections of its own, so one that is down delays nobody else.
//!
//! Commands for one shard travel together, and shards are used at the same time. A reply that sends a command elsewhere, or
//! says to wait, means that it was not carried out: it is sent again, until a deadline.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fred::types::{Value, config::Server};
use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connection::{Command, Connection, Reply, trips},
    guard::{Epochs, Guard},
    keys::Keys,
    locator::Locator,
    options::RedisOptions,
    primary::{Access, Exchange, Primary},
    slots::{Redirect, SLOTS, SlotMap, slot_of},
    topology::Topology,
};
use crate::StoreError;

/// The pause before a command is sent again for the second time; it doubles with each further time.
const RESEND_DELAY_MIN: Duration = Duration::from_millis(2);
const RESEND_DELAY_MAX: Duration = Duration::from_millis(50);

/// How many commands one round trip has.
const COMMANDS_PER_TRIP: usize = 1_000;

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

/// A command on its way.
struct Part {
    /// Its place among the commands.
    place: usize,
    /// The node that it was sent to while its slot moves.
    receiver: Option<Server>,
    /// Whether it was sent elsewhere before, so that a new primary may be on its way.
    is_redirected: bool,
}

/// What became of the commands of one round trip.
struct Trip {
    parts: Vec<Part>,
    primary: Arc<Primary>,
    asked_at: Duration,
    outcome: Result<(Arc<Connection>, Vec<Reply>), StoreError>,
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

    /// Reads in one round trip to each shard. The first error counts.
    pub(super) async fn read(&self, reads: Vec<(u32, Command)>) -> Result<Vec<Value>, StoreError> {
        if self.cluster.is_none() {
            let commands = reads.into_iter().map(|(_, command)| command).collect();
            let primary = self.only()?;
            let exchange = Exchange { access: Access::Read, commands, asking: false, wait_until: None };
            let (connection, replies) = primary.exchange(exchange).await?;
            let explained = replies.into_iter().map(|it| it.map_err(|error| connection.explain(&error)));
            return explained.collect();
        }
        let partitions: Vec<_> = reads.iter().map(|(partition, _)| *partition).collect();
        let answers = self.send(Access::Read, &partitions, &|place| Ok(reads[place].1.clone())).await;
        answers.into_iter().map(|answer| answer?.value()).collect()
    }

    /// Sends a command to each of these partitions, whose slots all of its keys are in, and returns what became of each.
    /// A command is made when it is sent, and again if it is sent again.
    pub(super) async fn send(
        &self,
        access: Access,
        partitions: &[u32],
        make: &(dyn Fn(usize) -> Result<Command, StoreError> + Sync),
    ) -> Vec<Answer> {
        if self.cluster.is_none() {
            return self.send_to_only(access, partitions, make).await;
        }
        let give_up_at = Instant::now() + self.common.options.redirect_timeout;
        let mut answers: Vec<Option<Answer>> = partitions.iter().map(|_| None).collect();
        let first = |place| Part { place, receiver: None, is_redirected: false };
        let mut waiting: Vec<Part> = (0..partitions.len()).map(first).collect();
        let mut delay = Duration::ZERO;
        while !waiting.is_empty() {
            let (divided, mut redirected) = self.divide(waiting, partitions, &mut answers);
            let mut informer = None;
            let sent = divided
                .into_iter()
                .map(|(primary, parts)| self.exchange(access, primary, parts, make, give_up_at));
            for trip in join_all(sent).await {
                let Trip { parts, primary, asked_at, outcome } = trip;
                let (connection, replies) = match outcome {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        parts.iter().for_each(|part| answers[part.place] = Some(Err(error.clone())));
                        continue;
                    }
                };
                for (part, reply) in parts.into_iter().zip(replies) {
                    let redirect = reply.as_ref().err().and_then(|error| connection.redirect(error));
                    let (primary, connection) = (Arc::clone(&primary), Arc::clone(&connection));
                    let Some(redirect) = redirect else {
                        let answered = Answered { primary, connection, asked_at, reply };
                        answers[part.place] = Some(Ok(answered));
                        continue;
                    };
                    if matches!(redirect, Redirect::Moved(_) | Redirect::Down) {
                        informer = connection.target().server().cloned();
                    }
                    if Instant::now() >= give_up_at {
                        let late = Answered { primary, connection, asked_at, reply }.value();
                        answers[part.place] = Some(late.and_then(|_| Err(nobody(partitions[part.place]))));
                        continue;
                    }
                    redirected.push(self.redirected(part, redirect));
                }
            }
            waiting = redirected;
            if !waiting.is_empty() {
                self.await_change(informer.as_ref(), delay.min(give_up_at - Instant::now())).await;
                delay = (delay * 2).clamp(RESEND_DELAY_MIN, RESEND_DELAY_MAX);
            }
        }
        // Each has left the loop with an answer.
        let missing = || Err(StoreError::OutcomeUnknown("a reply is missing".to_owned()));
        answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
    }

    async fn send_to_only(
        &self,
        access: Access,
        partitions: &[u32],
        make: &(dyn Fn(usize) -> Result<Command, StoreError> + Sync),
    ) -> Vec<Answer> {
        let asked_at = self.common.options.clock.steady();
        let sent = async {
            let primary = self.only()?;
            let commands = (0..partitions.len()).map(make).collect::<Result<_, _>>()?;
            let exchange = Exchange { access, commands, asking: false, wait_until: None };
            let (connection, replies) = primary.exchange(exchange).await?;
            Ok((primary, connection, replies))
        };
        match sent.await {
            Err(error) => partitions.iter().map(|_| Err(StoreError::clone(&error))).collect(),
            Ok((primary, connection, replies)) => {
                let answers = replies.into_iter().map(|reply| {
                    let (primary, connection) = (Arc::clone(&primary), Arc::clone(&connection));
                    Ok(Answered { primary, connection, asked_at, reply })
                });
                answers.collect()
            }
        }
    }

    /// # Errors
    /// Why no shard takes commits now. While one does, those that do not are in the log.
    pub(super) async fn health(&self) -> Result<(), StoreError> {
        let checks = join_all(distinct(&self.owners()).iter().map(|primary| primary.health())).await;
        let count = checks.len();
        let failed: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
        match failed.into_iter().enumerate().last() {
            _ if count == 0 => Err(nobody(0)),
            Some((last, error)) if last + 1 == count => Err(error),
            _ => Ok(()),
        }
    }

    /// Divides commands among primaries. Those whose slot nobody has are answered, if they have waited before.
    #[expect(clippy::type_complexity, reason = "only here")]
    fn divide(
        &self,
        parts: Vec<Part>,
        partitions: &[u32],
        answers: &mut [Option<Answer>],
    ) -> (Vec<(Arc<Primary>, Vec<Part>)>, Vec<Part>) {
        let owners = self.owners();
        let mut by_primary: BTreeMap<(usize, bool), (Arc<Primary>, Vec<Part>)> = BTreeMap::new();
        let mut homeless = Vec::new();
        for part in parts {
            let partition = partitions[part.place];
            let primary = match (&part.receiver, &self.cluster) {
                (Some(node), Some(cluster)) => Some(self.receiver(cluster, node)),
                (_, Some(_)) => owners.get(partition as usize).cloned().flatten(),
                (_, None) => owners.first().cloned().flatten(),
            };
            match primary {
                Some(primary) => {
                    let key = (Arc::as_ptr(&primary).addr(), part.receiver.is_some());
                    by_primary.entry(key).or_insert_with(|| (primary, Vec::new())).1.push(part);
                }
                None if part.is_redirected => answers[part.place] = Some(Err(nobody(partition))),
                None => homeless.push(Part { is_redirected: true, ..part }),
            }
        }
        let split = by_primary.into_values().flat_map(|(primary, parts)| {
            trips(parts, COMMANDS_PER_TRIP).map(move |parts| (Arc::clone(&primary), parts))
        });
        (split.collect(), homeless)
    }

    async fn exchange(
        &self,
        access: Access,
        primary: Arc<Primary>,
        parts: Vec<Part>,
        make: &(dyn Fn(usize) -> Result<Command, StoreError> + Sync),
        give_up_at: Instant,
    ) -> Trip {
        let asking = parts.iter().any(|part| part.receiver.is_some());
        let wait_until = parts.iter().any(|part| part.is_redirected).then_some(give_up_at);
        let asked_at = self.common.options.clock.steady();
        let commands: Result<Vec<_>, _> = parts.iter().map(|part| make(part.place)).collect();
        let outcome = match commands {
            Ok(commands) => primary.exchange(Exchange { access, commands, asking, wait_until }).await,
            Err(error) => Err(error),
        };
        Trip { parts, primary, asked_at, outcome }
    }

    fn redirected(&self, part: Part, redirect: Redirect) -> Part {
        if let Some(cluster) = &self.cluster {
            cluster.moves.fetch_add(1, Ordering::SeqCst);
        }
        let receiver = match redirect {
            Redirect::Ask(node) => Some(node),
            Redirect::Moved(_) | Redirect::TryAgain | Redirect::Down => None,
        };
        Part { receiver, is_redirected: true, ..part }
    }

    /// Waits a little, and asks the cluster for its map if a node has said that it is out of date.
    async fn await_change(&self, informer: Option<&Server>, delay: Duration) {
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if let (Some(cluster), Some(informer)) = (&self.cluster, informer)
            && let Err(error) = cluster.topology.refresh(Instant::now(), Some(informer)).await
        {
            tracing::debug!(%error, "the cluster does not say where its slots are");
        }
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
                tracing::info!(redis = %format!("{}:{}", node.host, node.port), "a node of the cluster has become a shard");
                let locator = Locator::of_node(&cluster.topology, &node);
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
