//! The memory store satisfies the contract, also behind injected faults.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bank_store::{
    MemoryStore, Outcome, Store,
    conformance::{Bank, FaultyStore, commands::*, differential, faults, seed_from_environment},
};

const RETENTION: Duration = Duration::from_hours(1);

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(RETENTION))
}

mod without_faults {
    use super::*;

    async fn on_memory(case: impl AsyncFnOnce(Arc<dyn Store>)) {
        case(memory()).await;
    }

    bank_store::conformance_tests!(on_memory);
}

mod with_faults {
    use super::*;

    async fn on_failing_memory(case: impl AsyncFnOnce(Arc<dyn Store>)) {
        case(Arc::new(FaultyStore::new(memory(), 0.05, seed_from_environment()))).await;
    }

    bank_store::conformance_tests!(on_failing_memory);
}

/// Returns `None` if the machine was too slow.
async fn a_record_expires() -> Option<()> {
    let retention = Duration::from_secs(1);
    let bank = Bank::new(Arc::new(MemoryStore::new(retention)));
    bank.open_with("1", 0).await;
    let request = || named("r", deposit("1", 5));
    tokio::time::sleep(retention * 2 / 3).await;
    let recorded_at = Instant::now();
    bank.apply(request()).await;
    for _ in 0..5 {
        tokio::time::sleep(retention / 6).await;
        let outcome = bank.submit(request()).await;
        (recorded_at.elapsed() < retention).then_some(())?;
        assert!(matches!(outcome, Outcome::Replayed(_)), "{outcome:?}");
    }
    tokio::time::sleep(retention * 2).await;
    assert_eq!(bank.submit(request()).await, Outcome::Applied);
    assert_eq!(bank.balance("1").await, 10);
    Some(())
}

#[tokio::test]
async fn request_records_are_kept_for_the_retention_time() {
    for _ in 0..10 {
        if a_record_expires().await.is_some() {
            return;
        }
    }
    panic!("the machine is too slow for this test");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_despite_faults() {
    for _ in 0..5 {
        faults::trial(memory(), seed_from_environment(), 200).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_commits_have_equal_answers() {
    for _ in 0..5 {
        differential::trial(memory(), memory(), seed_from_environment(), 400).await;
    }
}
