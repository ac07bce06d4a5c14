//! The Redis store keeps the contract on a real Redis, and through whatever happens to it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod damage;
mod durability;
mod expiry;
mod identity;
mod layout;
mod outages;
mod proxy;
mod refusals;
mod sentinel;
mod server;
mod setup;

use std::{sync::Arc, time::Duration};

use bank_store::{
    MemoryStore, Store,
    conformance::{FaultRates, FaultyStore, differential, faults, seed_from_environment},
};

/// Some ten outcomes of each kind, and more of most, in two or three seconds.
const DIFFERENTIAL_COMMITS: usize = 400;

mod as_it_is {
    use super::*;

    async fn on_redis(case: impl AsyncFnOnce(Arc<dyn Store>)) {
        let server = server::shared().await;
        case(Arc::new(server.store().await)).await;
    }

    bank_store::conformance_tests!(on_redis);
}

mod while_it_fails {
    use super::*;

    async fn on_failing_redis(case: impl AsyncFnOnce(Arc<dyn Store>)) {
        let server = server::shared().await;
        let redis = Arc::new(server.store().await);
        case(Arc::new(FaultyStore::new(redis, FaultRates::all(0.05), seed_from_environment()))).await;
    }

    bank_store::conformance_tests!(on_failing_redis);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_as_memory_does() {
    let server = server::shared().await;
    let memory = Arc::new(MemoryStore::new(Duration::from_hours(24)));
    let redis = Arc::new(server.store().await);
    differential::trial(memory, redis, seed_from_environment(), DIFFERENTIAL_COMMITS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_while_it_fails() {
    let server = server::shared().await;
    faults::trial(Arc::new(server.store().await), seed_from_environment(), 100).await;
}
