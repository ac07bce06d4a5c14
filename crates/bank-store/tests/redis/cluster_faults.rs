//! Failovers of a cluster, and nodes that are lost or frozen.

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
use futures::future::join_all;
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    cluster::{Cluster, block_until},
    cluster_load::{Load, OPENING, accounts_on_each_node, node_of, slot_of},
    server::{connect, final_connect_error},
};

async fn start(settings: &'static [&'static str]) -> Cluster {
    spawn_blocking(|| Cluster::start(settings)).await.unwrap()
}

/// Nothing is lost, and callers notice a pause at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_followed() {
    let cluster = start(&[]).await;
    let bank = Bank::new(Arc::new(cluster.store().await));
    let accounts = accounts_on_each_node(&cluster, &bank, 2).await;
    let load = Load::start(&bank, &accounts.concat());
    let failing_over = spawn_blocking(move || {
        // There, and back.
        for replica in [3, 0] {
            thread::sleep(Duration::from_millis(300));
            cluster.fail_over(replica, &[]);
            block_until("it has not taken over", || cluster.is_primary(replica));
            cluster.block_until_ready();
        }
        cluster
    });
    let _cluster = failing_over.await.unwrap();
    for (account, tally) in load.stop().await {
        // What was in flight on a connection that was closed is sent again.
        assert!(
            tally.errors.iter().all(|error| accounts[0].contains(&account) && error.is_retryable()),
            "{:?}",
            tally.errors
        );
        assert!(tally.gap_max < Duration::from_secs(2), "{account}: {:?}", tally.gap_max);
    }
}

/// The replica takes over at once, whatever it has. With `replicas = 1` it has all that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_failover_loses_nothing_that_a_replica_has_acknowledged() {
    let cluster = start(&[]).await;
    let bank = Bank::new(Arc::new(connect(&RedisOptions { replicas: 1, ..cluster.options() }).await));
    let accounts = accounts_on_each_node(&cluster, &bank, 2).await;
    let load = Load::start(&bank, &accounts.concat());
    let failing_over = spawn_blocking(move || {
        for replica in [3, 0, 3] {
            thread::sleep(Duration::from_millis(300));
            cluster.fail_over(replica, &["FORCE"]);
            block_until("it has not taken over", || cluster.is_primary(replica));
            cluster.block_until_ready();
        }
        cluster
    });
    let _cluster = failing_over.await.unwrap();
    let tallies = load.stop().await;
    for (account, tally) in tallies.iter().filter(|(account, _)| !accounts[0].contains(account)) {
        assert_eq!(tally.errors, [], "{account}");
    }
}

/// The cluster replaces a primary that has crashed. Nothing that was acknowledged is lost, and the other shards notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced() {
    let mut cluster = start(&[]).await;
    let bank = Bank::new(Arc::new(connect(&RedisOptions { replicas: 1, ..cluster.options() }).await));
    let accounts = accounts_on_each_node(&cluster, &bank, 2).await;
    let load = Load::start(&bank, &accounts.concat());
    let killing = spawn_blocking(move || {
        thread::sleep(Duration::from_millis(300));
        cluster.kill(0);
        block_until("nobody has taken over", || cluster.is_primary(3));
        // Until it is back as a replica, there is none that could have a commit.
        cluster.start_again(0);
        cluster.block_until_ready();
        thread::sleep(Duration::from_millis(500));
        cluster
    });
    let cluster = killing.await.unwrap();
    for (account, tally) in load.stop().await {
        if accounts[0].contains(&account) {
            assert!(tally.gap_max > Duration::from_secs(1), "{account}: {:?}", tally.gap_max);
        } else {
            assert_eq!(tally.errors, [], "{account}");
            assert!(tally.gap_max < Duration::from_secs(1), "{account}: {:?}", tally.gap_max);
        }
    }
    assert_eq!(node_of_first(&cluster, &bank, &accounts[0][0]), 3);
}

fn node_of_first(cluster: &Cluster, bank: &Bank, account: &str) -> usize {
    node_of(cluster, &**bank.store(), account)
}

/// A frozen primary stops its own shard only. What it says once it runs again, after it was replaced, is not believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_stops_its_own_shard_only() {
    let cluster = start(&[]).await;
    let bank = Bank::new(Arc::new(connect(&RedisOptions { replicas: 1, ..cluster.options() }).await));
    let accounts = accounts_on_each_node(&cluster, &bank, 2).await;
    let load = Load::start(&bank, &accounts.concat());
    let freezing = spawn_blocking(move || {
        thread::sleep(Duration::from_millis(300));
        cluster.node(0).freeze();
        block_until("nobody has taken over", || cluster.is_primary(3));
        thread::sleep(Duration::from_millis(500));
        cluster.node(0).thaw();
        cluster.block_until_ready();
        thread::sleep(Duration::from_millis(500));
        cluster
    });
    let _cluster = freezing.await.unwrap();
    for (account, tally) in load.stop().await {
        if accounts[0].contains(&account) {
            assert!(tally.gap_max > Duration::from_secs(1), "{account}: {:?}", tally.gap_max);
        } else {
            assert_eq!(tally.errors, [], "{account}");
            assert!(tally.gap_max < Duration::from_secs(1), "{account}: {:?}", tally.gap_max);
        }
    }
}

/// A primary that was frozen and replaced carries out what waits in its sockets, replies OK, and throws it away later. None of
/// that is believed, even without waiting for replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_of_a_replaced_primary_are_discarded() {
    let cluster = start(&[]).await;
    let bank = Bank::new(Arc::new(cluster.store().await));
    let accounts = accounts_on_each_node(&cluster, &bank, 2).await;
    // An unreplicated write would be lost with the primary.
    let sizes = [0, 3].map(|node| cluster.run(node, &["DBSIZE"]));
    assert_eq!(sizes[0], sizes[1]);
    cluster.node(0).freeze();
    let load = Load::start(&bank, &accounts[0]);
    let thawing = spawn_blocking(move || {
        block_until("nobody has taken over", || cluster.is_primary(3));
        cluster.node(0).thaw();
        block_until("it has not been demoted", || !cluster.is_primary(0));
        cluster.block_until_ready();
        thread::sleep(Duration::from_millis(500));
        cluster
    });
    let _cluster = thawing.await.unwrap();
    for (account, tally) in load.stop().await {
        assert!(tally.gap_max > Duration::from_secs(1), "{account}: {:?}", tally.gap_max);
    }
}

/// With `cluster-require-full-coverage yes`, one shard that is lost stops all others. They say so, and go on once it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_down_is_waited_for() {
    let mut cluster = start(&["--cluster-require-full-coverage", "yes", "--appendonly", "yes"]).await;
    let redirect_timeout = Duration::from_millis(300);
    let bank = Bank::new(Arc::new(connect(&RedisOptions { redirect_timeout, ..cluster.options() }).await));
    let accounts = accounts_on_each_node(&cluster, &bank, 1).await;
    cluster.kill(3);
    cluster.kill(0);
    let proposal = bank.propose(deposit(&accounts[1][0], 1)).await;
    block_until("it is not down", || cluster.run(1, &["CLUSTER", "INFO"]).contains("cluster_state:fail"));
    // It says CLUSTERDOWN, or that there is no connection: the client closes it after such a reply.
    let error = bank.store().commit(std::slice::from_ref(&proposal)).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let error = bank.store().load(&[id(&accounts[1][0])]).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let error = bank.store().health().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");

    cluster.start_again(0);
    cluster.start_again(3);
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    bank.apply(deposit(&accounts[0][0], 1)).await;
    cluster.block_until_ready();
    bank.store().health().await.unwrap();
    assert_eq!(bank.balance(&accounts[0][0]).await, OPENING + 1);
    assert_eq!(bank.balance(&accounts[1][0]).await, OPENING + 1);
    bank.assert_sound().await;
}

/// A slot that nobody has: the client gives the error `CLUSTERDOWN` to every command in flight, also to those that are carried
/// out. A payment that was made must not be reported as not done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_beside_a_slot_of_nobody_is_not_reported_as_not_done() {
    let cluster = start(&[]).await;
    let options = RedisOptions {
        redirect_timeout: Duration::ZERO,
        command_timeout: Duration::from_secs(1),
        // The map is not asked for meanwhile.
        watchdog_interval: Duration::from_secs(1),
        ..cluster.options()
    };
    let bank = Bank::new(Arc::new(connect(&options).await));
    let [accounts, ..] = accounts_on_each_node(&cluster, &bank, 5).await;
    let slot = slot_of(&cluster, &**bank.store(), &accounts[0]).to_string();
    let mut proposals = Vec::new();
    for account in &accounts {
        proposals.push([bank.propose(deposit(account, 1)).await]);
    }
    assert_eq!(cluster.run(0, &["CLUSTER", "DELSLOTS", &slot]), "OK");
    // All are in flight when the first reply comes.
    cluster.node(0).freeze();
    let commits = join_all(proposals.iter().map(|proposal| bank.store().commit(proposal)));
    let thaw = async {
        sleep(Duration::from_millis(200)).await;
        cluster.node(0).thaw();
    };
    let (results, ()) = tokio::join!(commits, thaw);
    assert_eq!(cluster.run(0, &["CLUSTER", "ADDSLOTS", &slot]), "OK");

    let error = results[0].as_ref().unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    for (account, result) in accounts.iter().zip(&results) {
        let balance = bank.balance(account).await;
        match result {
            Ok(_) => assert_eq!(balance, OPENING + 1, "{account}"),
            Err(error) if error.is_outcome_unknown() => {}
            Err(error) => assert_eq!(balance, OPENING, "{account}: {error:?}"),
        }
    }
    for (account, proposal) in accounts.iter().zip(&proposals) {
        assert_eq!(bank.commit(proposal).await.outcomes, [Outcome::Applied]);
        assert_eq!(bank.balance(account).await, OPENING + 1, "{account}");
    }
    bank.assert_sound().await;
}

/// A shard without a primary is named, and fails at once. The others take commits, also one that starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_without_a_primary_fails_at_once() {
    let mut cluster = start(&[]).await;
    let bank = Bank::new(Arc::new(cluster.store().await));
    let accounts = accounts_on_each_node(&cluster, &bank, 1).await;
    let address = cluster.node(0).address();
    cluster.kill(3);
    cluster.kill(0);
    let proposal = bank.propose(deposit(&accounts[1][0], 1)).await;
    let lost = [id(&accounts[0][0])];
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let asked_at = Instant::now();
        let error = bank.store().load(&lost).await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        // Once its connection is known to be lost.
        if error.to_string().contains(&address) && asked_at.elapsed() < Duration::from_millis(50) {
            break;
        }
        assert!(Instant::now() < deadline, "{error:?}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    bank.store().health().await.unwrap();
    assert_eq!(bank.balance(&accounts[1][0]).await, OPENING + 1);
}

/// A shard that does not meet the requirements refuses its own commits, says why, and goes on when it meets them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_falls_short_refuses_its_own_commits() {
    let cluster = start(&[]).await;
    let bank = Bank::new(Arc::new(cluster.store().await));
    let accounts = accounts_on_each_node(&cluster, &bank, 1).await;
    for (setting, wrong, right) in [
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("cluster-node-timeout", "2000", "2500"),
        ("cluster-allow-reads-when-down", "yes", "no"),
    ] {
        assert_eq!(cluster.run(1, &["CONFIG", "SET", setting, wrong]), "OK");
        let deadline = Instant::now() + Duration::from_secs(30);
        let reason = loop {
            let proposal = bank.propose(deposit(&accounts[1][0], 1)).await;
            match bank.store().commit(&[proposal]).await {
                Err(StoreError::Unfit(reason)) => break reason,
                other => assert!(other.is_ok() && Instant::now() < deadline, "{other:?}"),
            }
        };
        assert!(reason.contains(setting), "{reason}");
        bank.apply(deposit(&accounts[0][0], 1)).await;
        bank.apply(deposit(&accounts[2][0], 1)).await;
        bank.store().health().await.unwrap();
        assert_eq!(cluster.run(1, &["CONFIG", "SET", setting, right]), "OK");
        // Retried until it meets them.
        bank.apply(deposit(&accounts[1][0], 1)).await;
        // At the start, all shards have to.
        assert_eq!(cluster.run(1, &["CONFIG", "SET", setting, wrong]), "OK");
        let error = final_connect_error(&cluster.options()).await;
        let message = error.to_string();
        assert!(matches!(error, StoreError::Misconfigured(_)), "{error:?}");
        assert!(message.contains(setting) && message.contains(&cluster.node(1).address()), "{message}");
        assert_eq!(cluster.run(1, &["CONFIG", "SET", setting, right]), "OK");
    }
    bank.assert_sound().await;
}
