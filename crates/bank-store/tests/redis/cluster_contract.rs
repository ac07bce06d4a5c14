//! The contract of every store, on a cluster.
//!
//! Many cases commit across accounts that a bank of many partitions keeps apart, so the suite runs on a bank of one
//! partition, which a cluster keeps on one node. What needs several is tested here.

use std::{sync::Arc, time::Duration};

use bank_store::{
    MemoryStore, Outcome, Store, StoreError,
    conformance::{Bank, commands::*, differential, seed_from_environment},
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

/// What needs no commits across accounts, on a bank of many partitions.
mod partitioned {
    use std::sync::Arc;

    use bank_store::Store;

    use super::super::cluster;

    async fn on_cluster(case: impl AsyncFnOnce(Arc<dyn Store>)) {
        let cluster = cluster::shared().await;
        case(Arc::new(cluster.store().await)).await;
    }

    bank_store::conformance_tests! { @cases on_cluster;
        a_missing_account_has_nothing
        accounts_are_loaded_in_the_given_order
        every_kind_of_interest_is_read_back
        texts_are_read_back_exactly
        the_store_is_healthy_and_describes_itself
        entries_are_selected_by_time_and_position
        accounts_are_listed_once_each
        accounts_opened_meanwhile_do_not_disturb_a_listing
        request_ids_of_every_character_are_distinguished
        racing_commits_apply_once_for_each_version
        racing_openings_open_once
        readers_never_see_an_account_without_its_entries
        request_records_are_read_in_order_and_in_pages
        a_history_is_imported_in_parts
        a_bank_is_unavailable_during_an_import
        a_bank_with_accounts_accepts_no_import
        an_import_replaces_an_interrupted_one
        an_abandoned_import_leaves_an_empty_bank
        a_record_of_a_missing_entry_is_not_imported
        expired_records_are_not_imported
    }
}

/// Two accounts of one route share a partition, and commit together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_of_one_route_commit_together() {
    let cluster = cluster::shared().await;
    let bank = Bank::new(Arc::new(cluster.store().await));
    assert!(!bank.store().properties().commits_span_partitions);
    bank.open_with("alice:checking", 100).await;
    bank.open_with("alice:savings", 0).await;
    bank.apply(transfer("alice:checking", "alice:savings", 40)).await;
    let mut view = bank.view(&["alice:checking", "alice:savings"]).await;
    let chain =
        view.propose_chain([withdraw("alice:checking", 10).into(), deposit("alice:savings", 10).into()]);
    assert_eq!(bank.commit(&chain).await.outcomes, [Outcome::Applied, Outcome::Applied]);
    assert_eq!(bank.balance("alice:checking").await, 50);
    assert_eq!(bank.balance("alice:savings").await, 50);
    bank.assert_sound().await;
}

/// Accounts of several partitions in one proposal or chain: nothing is done. The ledger has to know better.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_of_different_partitions_do_not_commit_together() {
    let cluster = cluster::shared().await;
    let bank = Bank::new(Arc::new(cluster.store().await));
    bank.open_with("alice", 100).await;
    bank.open_with("bob", 0).await;
    let transfer = bank.propose(transfer("alice", "bob", 40)).await;
    let mut view = bank.view(&["alice", "bob"]).await;
    let chain = view.propose_chain([withdraw("alice", 10).into(), deposit("bob", 10).into()]);
    for proposals in [vec![transfer], chain] {
        let error = bank.store().commit(&proposals).await.unwrap_err();
        assert!(matches!(&error, StoreError::Misconfigured(_)), "{error:?}");
        assert!(error.to_string().contains("alice") && error.to_string().contains("bob"), "{error}");
    }
    assert_eq!((bank.balance("alice").await, bank.balance("bob").await), (100, 0));
    // Not linked, they are two commits.
    let mut view = bank.view(&["alice", "bob"]).await;
    let proposals = [view.propose(withdraw("alice", 10)), view.propose(deposit("bob", 10))];
    assert_eq!(bank.commit(&proposals).await.outcomes, [Outcome::Applied, Outcome::Applied]);
    bank.assert_sound().await;
}

/// An owner's index is in another partition than most of the owner's accounts, and may name accounts that were never opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_listed_by_owner_wherever_they_are() {
    let cluster = cluster::shared().await;
    let options = cluster.options();
    let bank = Bank::new(Arc::new(connect(&options).await));
    let mut view = bank.view(&[]).await;
    let accounts: Vec<_> = (10..40).map(|number| number.to_string()).collect();
    let openings: Vec<_> = accounts.iter().map(|id| view.propose(open(id).owned_by("carol"))).collect();
    assert!(bank.commit(&openings).await.outcomes.iter().all(|outcome| *outcome == Outcome::Applied));
    bank.apply(open("other").owned_by("dave")).await;

    let partition = bank.store().placement().of(&id("carol"));
    let index = format!("{}:{{{partition}}}:owner:carol", options.key_prefix);
    let slot = cluster.run(0, &["CLUSTER", "KEYSLOT", &index]).parse().unwrap();
    for left in ["0", "never", "other"] {
        assert_eq!(cluster.run(cluster.owner(slot, 0), &["ZADD", &index, "0", left]), "1");
    }
    for page_size in [1, 7, 100] {
        let listed = bank.all_accounts(Some("carol"), page_size).await;
        let listed: Vec<_> = listed.iter().map(|account| account.id.to_string()).collect();
        assert_eq!(listed, accounts, "{page_size}");
    }
    bank.assert_sound().await;
}
