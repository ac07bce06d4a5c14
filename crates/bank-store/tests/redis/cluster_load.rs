//! Tellers that pay into accounts on every shard of a cluster while something happens to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bank_store::{
    Outcome, Store, StoreError,
    conformance::{Bank, commands::*},
};
use tokio::{task::JoinHandle, time::sleep};

use super::cluster::Cluster;

/// What every account has at first.
pub(crate) const OPENING: i64 = 100;

/// One teller for each account, each with one payment at a time.
pub(crate) struct Load {
    bank: Bank,
    is_done: Arc<AtomicBool>,
    tellers: Vec<(String, JoinHandle<Tally>)>,
}

/// What a teller has seen.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: i64,
    pub(crate) errors: Vec<StoreError>,
    /// The longest time between two payments that were acknowledged.
    pub(crate) gap_max: Duration,
}

impl Load {
    pub(crate) fn start(bank: &Bank, accounts: &[String]) -> Self {
        let is_done = Arc::new(AtomicBool::new(false));
        let tellers = accounts.iter().map(|account| {
            let teller = pay(bank.clone(), account.clone(), Arc::clone(&is_done));
            (account.clone(), tokio::spawn(teller))
        });
        Self { bank: bank.clone(), tellers: tellers.collect(), is_done }
    }

    /// Stops, and compares each account with what was acknowledged: nothing is lost, and nothing was done twice.
    pub(crate) async fn stop(self) -> Vec<(String, Tally)> {
        self.is_done.store(true, Ordering::SeqCst);
        let mut tallies = Vec::new();
        for (account, teller) in self.tellers {
            let tally = teller.await.unwrap();
            assert!(tally.acknowledged > 0, "{account}");
            assert_eq!(self.bank.balance(&account).await, OPENING + tally.acknowledged, "{account}");
            tallies.push((account, tally));
        }
        self.bank.assert_sound().await;
        tallies
    }
}

/// Each payment is sent until its outcome is known, as the ledger does.
async fn pay(bank: Bank, account: String, is_done: Arc<AtomicBool>) -> Tally {
    let (mut tally, mut acknowledged_at) = (Tally::default(), Instant::now());
    while !is_done.load(Ordering::SeqCst) {
        let proposal = bank.propose(deposit(&account, 1)).await;
        loop {
            match bank.store().commit(std::slice::from_ref(&proposal)).await {
                Ok(committed) => {
                    assert_eq!(committed.outcomes, [Outcome::Applied], "{account}");
                    break;
                }
                Err(error) => {
                    assert!(error.is_retryable(), "{error:?}");
                    tally.errors.push(error);
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
        tally.acknowledged += 1;
        tally.gap_max = tally.gap_max.max(acknowledged_at.elapsed());
        acknowledged_at = Instant::now();
    }
    tally
}

/// The slot of an account.
pub(crate) fn slot_of(cluster: &Cluster, store: &dyn Store, account: &str) -> u16 {
    let partition = store.placement().of(&id(account));
    cluster.run(0, &["CLUSTER", "KEYSLOT", &format!("{{{partition}}}")]).parse().unwrap()
}

/// The node that has an account.
pub(crate) fn node_of(cluster: &Cluster, store: &dyn Store, account: &str) -> usize {
    cluster.owner(slot_of(cluster, store, account), 0)
}

/// Opens accounts until there are so many on each of the first three nodes, in slots of their own, and returns those of each.
pub(crate) async fn accounts_on_each_node(cluster: &Cluster, bank: &Bank, count: usize) -> [Vec<String>; 3] {
    let mut accounts: [Vec<String>; 3] = Default::default();
    let mut slots = Vec::new();
    for number in 0..1_000 {
        let account = format!("a{number}");
        let slot = slot_of(cluster, &**bank.store(), &account);
        let node = cluster.owner(slot, 0);
        if slots.contains(&slot) || accounts[node].len() >= count {
            continue;
        }
        bank.open_with(&account, OPENING).await;
        slots.push(slot);
        accounts[node].push(account);
        if accounts.iter().all(|accounts| accounts.len() >= count) {
            break;
        }
    }
    accounts
}
