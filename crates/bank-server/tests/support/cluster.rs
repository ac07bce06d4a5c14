//! A real Redis Cluster.

use super::{Redis, redis::free_port, until};

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

/// Three primaries without replicas, which end when this is dropped.
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Waits until it is ready. It keeps nothing on disk.
    pub async fn start() -> Self {
        let (mut nodes, mut buses) = (Vec::new(), Vec::new());
        for _ in 0..PRIMARIES {
            let bus = free_port().to_string();
            nodes.push(Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus], None).await);
            buses.push(bus);
        }
        for (number, node) in nodes.iter().enumerate() {
            let (first, end) = (number * SLOTS / PRIMARIES, (number + 1) * SLOTS / PRIMARIES);
            let (first, last) = (first.to_string(), (end - 1).to_string());
            assert_eq!(node.run(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]), "OK");
            assert_eq!(node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]), "OK");
            let port = node.port().to_string();
            assert_eq!(nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &port, &buses[number]]), "OK");
        }
        let cluster = Self { nodes };
        let is_ready = |node: &Redis| {
            let info = node.run(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
        };
        until("the cluster is ready", async || cluster.nodes.iter().all(is_ready)).await;
        cluster
    }

    /// The flags of a server that uses it, given the address of one node.
    pub fn flags(&self) -> Vec<String> {
        let url = format!("redis-cluster://{}", self.nodes[0].address());
        ["--redis-url", &url, "--set", "store.redis.durability=none"].map(str::to_owned).into()
    }

    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }
}
