//! The embedded store satisfies the contract in a real file.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod damage;
mod expiry;
mod opening;

use std::{sync::Arc, time::Duration};

use bank_store::{
    EmbeddedStore, MemoryStore, Store,
    conformance::{FaultyStore, differential, faults, seed_from_environment},
    embedded::EmbeddedOptions,
};
use tempfile::TempDir;

/// A file in a directory of its own.
fn options(directory: &TempDir) -> EmbeddedOptions {
    EmbeddedOptions { path: directory.path().join("bank.redb"), ..EmbeddedOptions::default() }
}

async fn open(options: &EmbeddedOptions) -> Arc<dyn Store> {
    Arc::new(EmbeddedStore::open(options.clone()).await.unwrap())
}

mod without_faults {
    use super::*;

    async fn on_a_file(case: impl AsyncFnOnce(Arc<dyn Store>)) {
        let directory = tempfile::tempdir().unwrap();
        case(open(&options(&directory)).await).await;
    }

    bank_store::conformance_tests!(on_a_file);
}

mod with_faults {
    use super::*;

    async fn on_a_failing_file(case: impl AsyncFnOnce(Arc<dyn Store>)) {
        let directory = tempfile::tempdir().unwrap();
        let file = open(&options(&directory)).await;
        case(Arc::new(FaultyStore::new(file, 0.05, seed_from_environment()))).await;
    }

    bank_store::conformance_tests!(on_a_failing_file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_like_the_memory_store() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Arc::new(MemoryStore::new(Duration::from_hours(24)));
    differential::trial(memory, open(&options(&directory)).await, seed_from_environment(), 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_despite_faults() {
    let directory = tempfile::tempdir().unwrap();
    faults::trial(open(&options(&directory)).await, seed_from_environment(), 100).await;
}
