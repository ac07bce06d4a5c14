//! Concurrent commits and reads.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bank_domain::Command;
use tokio::task::JoinSet;

use crate::conformance::prelude::*;

/// The number of concurrent tasks.
const RACERS: usize = 8;

pub async fn racing_commits_apply_once_for_each_version(bank: Bank) {
    const ROUNDS: u8 = 20;
    bank.open_with("1", 0).await;
    let mut racers = JoinSet::new();
    for _ in 0..RACERS {
        let bank = bank.clone();
        racers.spawn(async move {
            for _ in 0..ROUNDS {
                submit_until_applied(&bank, deposit("1", 1)).await;
            }
        });
    }
    racers.join_all().await;
    let account = bank.account("1").await;
    let applied = u8::try_from(RACERS).unwrap() * ROUNDS;
    assert_eq!(account.balance.minor_units, i64::from(applied));
    assert_eq!(account.version, 1 + u64::from(applied));

    // Of proposals that were decided on the same head, one is applied.
    let mut proposals = Vec::new();
    for _ in 0..RACERS {
        proposals.push(bank.propose(deposit("1", 1)).await);
    }
    let outcomes = race(&bank, proposals).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Conflict).count(), RACERS - 1);
    assert_eq!(bank.account("1").await.version, account.version + 1);
}

pub async fn racing_openings_open_once(bank: Bank) {
    let mut proposals = Vec::new();
    for number in 0..RACERS {
        proposals.push(bank.propose(open("1").owned_by(&format!("owner-{number}"))).await);
    }
    let outcomes = race(&bank, proposals).await;
    let winner = outcomes.iter().position(|outcome| *outcome == Outcome::Applied).unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Conflict).count(), RACERS - 1);
    let account = bank.account("1").await;
    assert_eq!(account.owner, owner(&format!("owner-{winner}")));
    assert_eq!(bank.history("1").await.len(), 1);
    for number in 0..RACERS {
        let listed = bank.all_accounts(Some(&format!("owner-{number}")), 10).await;
        assert_eq!(listed.len(), usize::from(number == winner));
    }
}

pub async fn racing_sends_of_one_request_apply_once(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    let mut proposals = Vec::new();
    for _ in 0..RACERS {
        proposals.push(bank.propose(named("r", transfer("1", "2", 60))).await);
    }
    let outcomes = race(&bank, proposals).await;
    let applied = outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count();
    let replayed = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Replayed(_))).count();
    assert_eq!((applied, replayed), (1, RACERS - 1));
    assert_eq!((bank.balance("1").await, bank.balance("2").await), (40, 60));
}

/// Decides a command again after each conflict.
async fn submit_until_applied(bank: &Bank, command: Command) {
    loop {
        match bank.submit(command.clone()).await {
            Outcome::Applied => return,
            Outcome::Conflict => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn race(bank: &Bank, proposals: Vec<Proposal>) -> Vec<Outcome> {
    let racers = proposals.into_iter().map(|proposal| {
        let bank = bank.clone();
        async move { bank.commit_one(&proposal).await }
    });
    let racers: Vec<_> = racers.map(tokio::spawn).collect();
    let mut outcomes = Vec::new();
    for racer in racers {
        outcomes.push(racer.await.unwrap());
    }
    outcomes
}

pub async fn readers_never_see_half_a_transfer(bank: Bank) {
    bank.open_with("1", 1_000).await;
    bank.open_with("2", 0).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = [("1", "2"), ("2", "1")]
        .map(|(near, far)| tokio::spawn(watch_transfers(bank.clone(), near, far, Arc::clone(&is_done))))
        .into();
    for _ in 0..100 {
        bank.apply(transfer("1", "2", 1)).await;
        bank.apply(transfer("2", "1", 1)).await;
    }
    is_done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

/// A reader who sees one side of a transfer finds the other side as well.
async fn watch_transfers(bank: Bank, near: &str, far: &str, is_done: Arc<AtomicBool>) {
    loop {
        let was_done = is_done.load(Ordering::Relaxed);
        let seen = bank.newest(near).await;
        if seen.kind.counterparty().is_some() {
            let query = EntriesQuery { start: Some(seen.time), ..EntriesQuery::all(id(far)) };
            let other_side = bank.entries(&query).await;
            assert!(
                other_side.iter().any(|entry| entry.transaction_id == seen.transaction_id),
                "{} is on {near} but not on {far}",
                seen.transaction_id
            );
        }
        if was_done {
            return;
        }
    }
}

pub async fn readers_never_see_an_account_without_its_entries(bank: Bank) {
    bank.open_with("1", 0).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (bank, is_done) = (bank.clone(), Arc::clone(&is_done));
        async move {
            while !is_done.load(Ordering::Relaxed) {
                let account = bank.account("1").await;
                let newest = bank.newest("1").await;
                // The entry may be newer, but never older.
                assert!(newest.sequence >= account.version);
                if newest.sequence == account.version {
                    assert_eq!((newest.balance_after, newest.time), (account.balance, account.updated_at));
                }
                let account = bank.account("1").await;
                assert!(account.version >= newest.sequence);
            }
        }
    });
    for milliseconds in 0..200 {
        bank.later(milliseconds).apply(deposit("1", 1)).await;
    }
    is_done.store(true, Ordering::Relaxed);
    reader.await.unwrap();
}

/// Money that is moved while accounts are listed is counted once.
pub async fn a_list_of_accounts_shows_one_instant(bank: Bank) {
    const ACCOUNTS: usize = 12;
    let names: Vec<_> = (0..ACCOUNTS).map(|number| format!("account-{number}")).collect();
    for name in &names {
        bank.apply(open(name).owned_by("alice")).await;
        bank.apply(deposit(name, 100)).await;
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for owned_by in [None, None, Some("alice")] {
        let (bank, is_done) = (bank.clone(), Arc::clone(&is_done));
        readers.spawn(async move {
            let query = AccountsQuery { owner: owned_by.map(owner), after: None, limit: ACCOUNTS + 1 };
            while !is_done.load(Ordering::Relaxed) {
                let accounts = bank.accounts(&query).await;
                let total: i64 = accounts.iter().map(|account| account.balance.minor_units).sum();
                assert_eq!(total, 1_200, "{accounts:?}");
                // A store that never waits would not let the tellers run.
                tokio::task::yield_now().await;
            }
        });
    }
    let mut tellers = JoinSet::new();
    for teller in 0..RACERS / 2 {
        let (bank, names) = (bank.clone(), names.clone());
        tellers.spawn(async move {
            for (number, amount) in (0..150).zip([1, 8, 15, 50, 33].into_iter().cycle()) {
                let source = &names[(teller + number) % ACCOUNTS];
                let destination = &names[(teller + number * 5 + 1) % ACCOUNTS];
                if source != destination {
                    submit_until_applied(&bank, transfer(source, destination, amount)).await;
                }
            }
        });
    }
    tellers.join_all().await;
    is_done.store(true, Ordering::Relaxed);
    readers.join_all().await;
    let accounts = bank.all_accounts(None, ACCOUNTS).await;
    assert!(accounts.iter().all(|account| account.balance.minor_units >= 0));
}
