//! The contract of every store, on a cluster.
//!
//! Many cases commit across accounts that a bank of many partitions keeps apart, so the suite runs on a bank of one
//! partition, which a cluster keeps on one node. What needs several is tested here.

use std::{sync::Arc, time::Duration};

use bank_store::{
    MemoryStore, Store,
    conformance::{differential, seed_from_environment},
    redis::RedisOptions,
};

use super::{cluster, server::connect};

const DIFFERENTIAL_COMMITS: usize = 200;

async fn on_cluster(case: impl AsyncFnOnce(Arc<dyn Store>)) {
    let cluster = cluster::shared().await;
    let options = RedisOptions { partitions: 1, ..cluster.options() };
    case(Arc::new(connect(&options).await)).await;
}

bank_store::conformance_tests!(on_cluster);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gives_the_same_answers_as_the_memory_store() {
    let cluster = cluster::shared().await;
    let options = RedisOptions { partitions: 1, ..cluster.options() };
    let redis = Arc::new(connect(&options).await);
    let memory = MemoryStore::new(Duration::from_hours(24)).with_placement(redis.placement());
    differential::trial(Arc::new(memory), redis, seed_from_environment(), DIFFERENTIAL_COMMITS).await;
}
