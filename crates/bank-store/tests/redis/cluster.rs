//! Real Redis Clusters for the tests: three primaries with a replica each.

use std::{
    fmt::Write as _,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use bank_store::{RedisStore, redis::RedisOptions};
use tokio::sync::Mutex;

use super::server::{Server, connect, options};

const PATIENCE: Duration = Duration::from_mins(1);
const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
/// How soon a primary is replaced that is silent.
pub(crate) const NODE_TIMEOUT_MS: &str = "2500";
/// With the interval of the watchdog and the margin, less than that.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(1_500);
const SETTINGS: [&str; 8] = [
    "--cluster-node-timeout",
    NODE_TIMEOUT_MS,
    "--cluster-require-full-coverage",
    "no",
    "--repl-diskless-sync-delay",
    "0",
    "--cluster-replica-validity-factor",
    "0",
];

/// The first three nodes begin as primaries of a third of the slots each, and node `n + 3` as the replica of node `n`.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    server: Server,
    id: String,
}

/// Waits like a suspended process: nothing else runs in this thread.
pub(crate) fn block_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The cluster that tests share which leave it as it is, for as long as one of them runs.
pub(crate) async fn shared() -> Arc<Cluster> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap());
    *shared = Arc::downgrade(&cluster);
    cluster
}

impl Cluster {
    /// A cluster that is ready, with further settings.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let settings = [&SETTINGS, settings].concat();
        let (mut nodes, mut buses) = (Vec::new(), Vec::new());
        for _ in 0..2 * PRIMARIES {
            let (server, bus_port) = Server::start_node(&settings);
            nodes.push(Node { id: server.run(&["CLUSTER", "MYID"]), server });
            buses.push(bus_port.to_string());
        }
        let cluster = Self { nodes };
        for node in 0..PRIMARIES {
            let (first, end) = (node * SLOTS / PRIMARIES, (node + 1) * SLOTS / PRIMARIES);
            let words = ["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()];
            assert_eq!(cluster.run(node, &words), "OK");
            // Otherwise all have the same epoch, and agree on another one after a while.
            let epoch = (node + 1).to_string();
            assert_eq!(cluster.run(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]), "OK");
        }
        for (node, bus) in buses.iter().enumerate().skip(1) {
            let port = cluster.nodes[node].server.port().to_string();
            assert_eq!(cluster.run(0, &["CLUSTER", "MEET", "127.0.0.1", &port, bus]), "OK");
        }
        let all = || 0..cluster.nodes.len();
        let have_met = |node| {
            let nodes = cluster.run(node, &["CLUSTER", "NODES"]);
            nodes.lines().filter(|line| !line.contains("handshake")).count() == 2 * PRIMARIES
        };
        block_until("the nodes have not met", || all().all(have_met));
        for replica in PRIMARIES..2 * PRIMARIES {
            let primary = cluster.id(replica - PRIMARIES);
            assert_eq!(cluster.run(replica, &["CLUSTER", "REPLICATE", primary]), "OK");
        }
        cluster.block_until_ready();
        cluster
    }

    /// Waits until all nodes agree, and every replica has all of its primary.
    pub(crate) fn block_until_ready(&self) {
        let is_ready = |node| {
            let info = self.run(node, &["CLUSTER", "INFO"]);
            let nodes = self.run(node, &["CLUSTER", "NODES"]);
            let replicas = nodes.lines().filter(|line| line.contains("slave ")).count();
            let replication = self.run(node, &["INFO", "replication"]);
            info.contains("cluster_state:ok")
                && info.contains("cluster_slots_ok:16384")
                && !nodes.contains("fail")
                && replicas == PRIMARIES
                && (replication.contains("master_link_status:up") || replication.contains("state=online"))
        };
        block_until("the cluster is not ready", || (0..self.nodes.len()).all(is_ready));
    }

    /// The name of a node in the cluster.
    pub(crate) fn id(&self, node: usize) -> &str {
        &self.nodes[node].id
    }

    pub(crate) fn node(&self, node: usize) -> &Server {
        &self.nodes[node].server
    }

    /// Kills a node, like a crash.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].server.kill();
    }

    /// Starts a node again that was killed.
    pub(crate) fn start_again(&mut self, node: usize) {
        self.nodes[node].server.start_again();
    }

    /// Runs a command on a node and returns its reply as text.
    pub(crate) fn run(&self, node: usize, words: &[&str]) -> String {
        self.nodes[node].server.run(words)
    }

    /// With all primaries as seeds.
    pub(crate) fn url(&self) -> String {
        let mut url = format!("redis-cluster://{}", self.node(0).address());
        for node in 1..PRIMARIES {
            let separator = if node == 1 { '?' } else { '&' };
            write!(url, "{separator}node={}", self.node(node).address()).unwrap();
        }
        url
    }

    /// See [`options`].
    pub(crate) fn options(&self) -> RedisOptions {
        RedisOptions { command_timeout: COMMAND_TIMEOUT, ..options(self.url()) }
    }

    /// An empty bank.
    pub(crate) async fn store(&self) -> RedisStore {
        connect(&self.options()).await
    }

    /// The node that has a slot, as a node sees it.
    pub(crate) fn owner(&self, slot: u16, seen_by: usize) -> usize {
        let nodes = self.run(seen_by, &["CLUSTER", "NODES"]);
        let has_slot = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
        };
        let line = nodes.lines().find(|line| line.split(' ').skip(8).any(has_slot));
        let id = line.unwrap().split(' ').next().unwrap();
        self.nodes.iter().position(|node| node.id == id).unwrap()
    }

    pub(crate) fn is_primary(&self, node: usize) -> bool {
        self.run(node, &["ROLE"]).starts_with("master")
    }

    /// Makes a replica take over from its primary.
    pub(crate) fn fail_over(&self, replica: usize, how: &[&str]) {
        assert_eq!(self.run(replica, &[&["CLUSTER", "FAILOVER"], how].concat()), "OK");
    }

    /// Begins to move a slot the old way: from now on, it is on two nodes.
    pub(crate) fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let (from_id, to_id) = (self.id(from), self.id(to));
        assert_eq!(self.run(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", from_id]), "OK");
        assert_eq!(self.run(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", to_id]), "OK");
    }

    /// Moves up to so many keys of the slot. False if there were none.
    pub(crate) fn move_keys(&self, slot: u16, from: usize, to: usize, count: usize) -> bool {
        let keys = self.run(from, &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &count.to_string()]);
        let keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            return false;
        }
        let port = self.node(to).port().to_string();
        let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let moved = self.run(from, &[&words, keys.as_slice()].concat());
        assert!(matches!(moved.as_str(), "OK" | "NOKEY"), "{moved}");
        true
    }

    /// Ends a move whose keys have all moved.
    pub(crate) fn end_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let to_id = self.id(to);
        let others =
            (0..self.nodes.len()).filter(|node| ![to, from].contains(node) && self.is_primary(*node));
        for node in [to, from].into_iter().chain(others) {
            assert_eq!(self.run(node, &["CLUSTER", "SETSLOT", &slot, "NODE", to_id]), "OK");
        }
    }

    /// Moves a slot the old way, whole.
    pub(crate) fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        while self.move_keys(slot, from, to, 10) {}
        self.end_move(slot, from, to);
    }
}
