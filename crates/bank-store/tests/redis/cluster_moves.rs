//! Slots that move from one node to another, while the bank works.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bank_store::{
    Outcome, StoreError,
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};
use tokio::task::spawn_blocking;

use super::{
    cluster::Cluster,
    cluster_load::{Load, accounts_on_each_node, slot_of},
    server::connect,
};

async fn start() -> Arc<Cluster> {
    spawn_blocking(|| Arc::new(Cluster::start(&[]))).await.unwrap()
}

/// `MOVED`: the bank learns where the slot is from the reply, and the caller does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_has_moved_is_found_at_once() {
    let cluster = start().await;
    let options = RedisOptions { watchdog_interval: Duration::from_millis(500), ..cluster.options() };
    let options = RedisOptions { command_timeout: Duration::from_secs(1), ..options };
    let bank = Bank::new(Arc::new(connect(&options).await));
    let [accounts, ..] = accounts_on_each_node(&cluster, &bank, 1).await;
    let slot = slot_of(&cluster, &**bank.store(), &accounts[0]);
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let proposal = bank.propose(deposit(&accounts[0], 1)).await;
        cluster.move_slot(slot, from, to);
        // Not yet known from the watchdog, as a rule.
        let committed = bank.store().commit(&[proposal]).await.unwrap();
        assert_eq!(committed.outcomes, [Outcome::Applied]);
        assert!(bank.store().load(&[id(&accounts[0])]).await.unwrap()[0].is_some());
    }
    assert_eq!(bank.balance(&accounts[0]).await, 103);
    bank.assert_sound().await;
}

/// `ASK` and `TRYAGAIN`, under load: slots move key by key, back and forth. No call fails, no payment is lost or made twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_key_by_key_under_load() {
    let cluster = start().await;
    let bank = Bank::new(Arc::new(cluster.store().await));
    let accounts = accounts_on_each_node(&cluster, &bank, 2).await;
    let load = Load::start(&bank, &accounts.concat());
    let slot = slot_of(&cluster, &**bank.store(), &accounts[0][0]);
    let moving = {
        let cluster = Arc::clone(&cluster);
        spawn_blocking(move || {
            for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2)] {
                thread::sleep(Duration::from_millis(200));
                cluster.begin_move(slot, from, to);
                // Long enough for payments in between.
                while cluster.move_keys(slot, from, to, 1) {
                    thread::sleep(Duration::from_millis(50));
                }
                cluster.end_move(slot, from, to);
            }
        })
    };
    // The account that moves can be read at every instant, wherever its keys are.
    let reading = Instant::now();
    let mut last = 0;
    while !moving.is_finished() || reading.elapsed() < Duration::from_millis(500) {
        let loaded = bank.store().load(&[id(&accounts[0][0])]).await.unwrap();
        let balance = loaded[0].as_ref().unwrap().balance.minor_units;
        assert!(balance >= last, "{balance} after {last}");
        last = balance;
    }
    moving.await.unwrap();
    for (account, tally) in load.stop().await {
        assert_eq!(tally.errors, [], "{account}");
        assert!(tally.gap_max < Duration::from_secs(5), "{account}: {:?}", tally.gap_max);
    }
}

/// A move that is stuck half-way blocks the commits of its slot only. They fail with a reason, and were certainly not done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_move_refuses_commits_of_its_slot_only() {
    let cluster = start().await;
    let options = RedisOptions { redirect_timeout: Duration::from_millis(300), ..cluster.options() };
    let bank = Bank::new(Arc::new(connect(&options).await));
    let [on_first, on_second, _] = accounts_on_each_node(&cluster, &bank, 1).await;
    let slot = slot_of(&cluster, &**bank.store(), &on_first[0]);
    cluster.begin_move(slot, 0, 1);
    assert!(cluster.move_keys(slot, 0, 1, 1));

    let proposal = bank.propose(deposit(&on_first[0], 1)).await;
    let error = bank.store().commit(std::slice::from_ref(&proposal)).await.unwrap_err();
    let StoreError::Unavailable(reason) = &error else { panic!("{error:?}") };
    assert!(reason.contains("TRYAGAIN") && reason.contains("127.0.0.1:"), "{reason}");
    bank.apply(deposit(&on_second[0], 1)).await;

    while cluster.move_keys(slot, 0, 1, 10) {}
    // All keys have moved, and are read where they are.
    assert_eq!(
        bank.store().load(&[id(&on_first[0])]).await.unwrap()[0].as_ref().unwrap().balance.minor_units,
        100
    );
    cluster.end_move(slot, 0, 1);
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    assert_eq!(bank.balance(&on_first[0]).await, 101);
    bank.assert_sound().await;
}

/// Nodes that do not name themselves: `MOVED 9842 :7001`, and an empty host in the map.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_a_name_are_found_where_they_were_asked() {
    let cluster = start().await;
    for node in 0..6 {
        let words = ["CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint"];
        assert_eq!(cluster.run(node, &words), "OK");
    }
    let bank = Bank::new(Arc::new(cluster.store().await));
    let [accounts, ..] = accounts_on_each_node(&cluster, &bank, 1).await;
    let slot = slot_of(&cluster, &**bank.store(), &accounts[0]);
    let proposal = bank.propose(deposit(&accounts[0], 1)).await;
    cluster.move_slot(slot, 0, 1);
    assert_eq!(bank.store().commit(&[proposal]).await.unwrap().outcomes, [Outcome::Applied]);
    assert_eq!(bank.balance(&accounts[0]).await, 101);
    bank.assert_sound().await;
}
