//! Connects to all primaries, and initializes or joins a bank.

use std::{collections::HashMap, sync::Arc};

use fred::types::config::Server;
use futures::future::join_all;
use tokio::{sync::watch, time::Instant};

use super::{
    RedisStore, fitness, identity,
    keys::{HOME, Keys},
    links::Links,
    locator::Locator,
    primary::Primary,
    script::Script,
    shards::{Common, Shards, partitions_by_node, slots},
    target::Target,
    topology::Topology,
};
use crate::{StoreError, StoreProperties, placement::Placement};

impl RedisStore {
    /// Starts with the only primary.
    pub(super) async fn start(target: &Target, deadline: Instant) -> Result<Self, StoreError> {
        let locator = Locator::new(target.clone());
        let connection = locator.connect(deadline).await?;
        let opened = Opened::open(target, &Links::Single(Arc::clone(&connection))).await?;
        let guard = opened.common.guard(locator, vec![HOME]);
        let primary = Primary::start(guard, connection, deadline).await?;
        Ok(opened.store(|common| Arc::new(Shards::single(common, primary))))
    }

    /// All primaries of the cluster have to be there for the start, and every slot has to have one.
    pub(super) async fn start_on_cluster(target: &Target, deadline: Instant) -> Result<Self, StoreError> {
        let topology = Arc::new(Topology::new(target.clone()));
        topology.refresh(Instant::now(), None).await?;
        let map = topology.map();
        if map.missing() > 0 {
            return Err(StoreError::Unavailable(format!(
                "{} slots of {} have no node",
                map.missing(),
                target.address()
            )));
        }
        let connect = async |node: &Server| {
            let locator = Locator::of_node(&topology, node);
            let connected = locator.connect(deadline).await;
            connected.map(|connection| (node.clone(), locator, connection)).map_err(|error| match error {
                StoreError::Unavailable(reason) => {
                    StoreError::Unavailable(format!("{}:{}: {reason}", node.host, node.port))
                }
                error => error,
            })
        };
        let connected: Vec<_> =
            join_all(map.nodes().iter().map(connect)).await.into_iter().collect::<Result<_, _>>()?;
        let connections = connected.iter().map(|(node, _, it)| (node.clone(), Arc::clone(it))).collect();
        let opened = Opened::open(target, &Links::Cluster { map: Arc::clone(&map), connections }).await?;
        let mut partitions = partitions_by_node(&map, &slots(&opened.common.keys));
        let mut primaries = HashMap::new();
        for (node, locator, connection) in connected {
            let Some(partitions) = partitions.remove(&node) else { continue };
            let guard = opened.common.guard(locator, partitions);
            primaries.insert(node, Arc::new(Primary::start(guard, connection, deadline).await?));
        }
        Ok(opened.store(|common| Shards::cluster(common, topology, primaries)))
    }
}

/// A bank that has been initialized or joined.
struct Opened {
    common: Common,
    script: Script,
    properties: StoreProperties,
}

impl Opened {
    async fn open(target: &Target, links: &Links) -> Result<Self, StoreError> {
        let options = target.options();
        let keys = Keys::new(&options.key_prefix, Placement::try_new(options.partitions)?);
        identity::require_fit(links, &keys, options).await?;
        // Before anything is written: it may be refused.
        let mut digest = String::new();
        for connection in links.all() {
            digest = Script::load(connection).await?;
        }
        let identity = identity::initialize_or_join(links, &keys, options).await?;
        let properties = StoreProperties {
            name: format!("redis at {}", target.address()),
            durability: fitness::promise(options),
            clock: options.clock.clone(),
            bank_id: identity.bank_id.clone(),
            secret: identity.secret,
            placement: identity.placement,
            commits_span_partitions: !links.is_cluster(),
        };
        let common = Common {
            options: Arc::clone(options),
            keys: keys.placed(identity.placement),
            bank_id: identity.bank_id,
            epochs: Arc::new(watch::Sender::new(0)),
        };
        Ok(Self { common, script: Script { digest, retention: identity.retention }, properties })
    }

    fn store(self, shards: impl FnOnce(Common) -> Arc<Shards>) -> RedisStore {
        let Self { common, script, properties } = self;
        let keys = common.keys.clone();
        RedisStore { shards: shards(common), script, keys, properties }
    }
}
