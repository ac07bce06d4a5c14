//! The contract of every store.

use std::{sync::Arc, time::Duration};

use bank_store::{
    MemoryStore, Store,
    conformance::{differential, seed_from_environment},
};

use super::server;

/// Some ten outcomes of each kind, and more of most, in two or three seconds.
const DIFFERENTIAL_COMMITS: usize = 400;

async fn on_redis(case: impl AsyncFnOnce(Arc<dyn Store>)) {
    let server = server::shared().await;
    case(Arc::new(server.store().await)).await;
}

bank_store::conformance_tests!(on_redis);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_as_memory_does() {
    let server = server::shared().await;
    let memory = Arc::new(MemoryStore::new(Duration::from_hours(24)));
    let redis = Arc::new(server.store().await);
    differential::trial(memory, redis, seed_from_environment(), DIFFERENTIAL_COMMITS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_the_server_that_is_to_be_tested() {
    let server = server::shared().await;
    let (info, version) = (server.run(&["INFO", "server"]), super::SERVER.version);
    assert!(info.lines().any(|line| line.starts_with(version)), "{version} is not in {info}");
}
