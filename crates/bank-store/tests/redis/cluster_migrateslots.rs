//! Slots that move in one step, as Valkey 9 and later can.

use std::{sync::Arc, thread, time::Duration};

use bank_store::conformance::Bank;
use tokio::task::spawn_blocking;

use super::{
    cluster::{Cluster, block_until},
    cluster_load::{Load, accounts_on_each_node},
};

/// A sixth of all slots moves from node to node under load. No call fails, no payment is lost or made twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_in_one_step_under_load() {
    let cluster = spawn_blocking(|| Arc::new(Cluster::start(&[]))).await.unwrap();
    let bank = Bank::new(Arc::new(cluster.store().await));
    let accounts = accounts_on_each_node(&cluster, &bank, 2).await;
    let load = Load::start(&bank, &accounts.concat());
    let moving = spawn_blocking(move || {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            thread::sleep(Duration::from_millis(200));
            cluster.migrate_slots(0, 2_730, from, to);
        }
        cluster
    });
    let _cluster = moving.await.unwrap();
    for (account, tally) in load.stop().await {
        assert_eq!(tally.errors, [], "{account}");
        assert!(tally.gap_max < Duration::from_secs(2), "{account}: {:?}", tally.gap_max);
    }
}

impl Cluster {
    /// Moves slots in one step, as Valkey 9 and later can.
    fn migrate_slots(&self, first: u16, last: u16, from: usize, to: usize) {
        let range = [&*first.to_string(), &*last.to_string(), "NODE", self.id(to)];
        let words = [&["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE"], range.as_slice()].concat();
        assert_eq!(self.run(from, &words), "OK");
        block_until("the slots have not moved", || {
            let moves = self.run(from, &["CLUSTER", "GETSLOTMIGRATIONS"]);
            assert!(!moves.contains("failed"), "{moves}");
            (0..6).all(|node| self.owner(first, node) == to && self.owner(last, node) == to)
        });
    }
}
