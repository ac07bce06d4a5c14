//! The contract of every store.

use std::{sync::Arc, time::Duration};

use bank_store::{
    MemoryStore, Store,
    conformance::{differential, seed_from_environment},
};

use super::server;

/// Enough for at least ten outcomes of each kind, in two or three seconds.
const DIFFERENTIAL_COMMITS: usize = 400;

async fn on_redis(case: impl AsyncFnOnce(Arc<dyn Store>)) {
    let server = server::shared().await;
    case(Arc::new(server.store().await)).await;
}

bank_store::conformance_tests!(on_redis);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gives_the_same_answers_as_the_memory_store() {
    let server = server::shared().await;
    let redis = Arc::new(server.store().await);
    let memory = MemoryStore::new(Duration::from_hours(24)).with_placement(redis.placement());
    differential::trial(Arc::new(memory), redis, seed_from_environment(), DIFFERENTIAL_COMMITS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_has_the_expected_version() {
    let server = server::shared().await;
    let (info, version) = (server.run(&["INFO", "server"]), super::SERVER.version);
    assert!(info.lines().any(|line| line.starts_with(version)), "{version} is not in {info}");
}
