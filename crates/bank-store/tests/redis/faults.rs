//! The contract while calls fail, before their effect or after it.

use std::sync::Arc;

use bank_store::{
    Store,
    conformance::{FaultyStore, faults, seed_from_environment},
};

use super::server;

async fn on_failing_redis(case: impl AsyncFnOnce(Arc<dyn Store>)) {
    let server = server::shared().await;
    let redis = Arc::new(server.store().await);
    case(Arc::new(FaultyStore::new(redis, 0.05, seed_from_environment()))).await;
}

bank_store::conformance_tests!(on_failing_redis);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_while_calls_fail() {
    let server = server::shared().await;
    faults::trial(Arc::new(server.store().await), seed_from_environment(), 100).await;
}
