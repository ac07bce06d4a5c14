//! Many at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::task::JoinSet;

use crate::{
    AccountsQuery, EntriesQuery, Outcome,
    conformance::{
        Bank,
        commands::{deposit, id, named, open, owner, transfer},
    },
};

/// How many tasks race.
const RACERS: usize = 8;

pub async fn racing_commits_apply_once_for_each_version(bank: Bank) {
    const ROUNDS: u8 = 20;
    bank.open_with("1", 0).await;
    let mut racers = JoinSet::new();
    for _ in 0..RACERS {
        let bank = bank.clone();
        racers.spawn(async move {
            let mut conflicts = 0;
            for _ in 0..ROUNDS {
                loop {
                    match bank.submit(deposit("1", 1)).await {
                        Outcome::Applied => break,
                        Outcome::Conflict => conflicts += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
            conflicts
        });
    }
    racers.join_all().await;
    let account = bank.account("1").await;
    let applied = u8::try_from(RACERS).unwrap() * ROUNDS;
    assert_eq!(account.balance.minor_units, i64::from(applied));
    assert_eq!(account.version, 1 + u64::from(applied));

    // All on one version: one wins.
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

async fn race(bank: &Bank, proposals: Vec<crate::Proposal>) -> Vec<Outcome> {
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

/// Whoever sees one side of a transfer and then looks at the other side finds it there.
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
                // The entry may be a later one, but never an earlier.
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

/// Money that is moved while accounts are listed is listed once, on one side or on the other.
pub async fn a_list_of_accounts_is_of_one_instant(bank: Bank) {
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
                // A store that never waits would leave the tellers no turn.
                tokio::task::yield_now().await;
            }
        });
    }
    let mut tellers = JoinSet::new();
    for teller in 0..RACERS / 2 {
        let (bank, names) = (bank.clone(), names.clone());
        tellers.spawn(async move {
            for number in 0..150 {
                let source = &names[(teller + number) % ACCOUNTS];
                let destination = &names[(teller + number * 5 + 1) % ACCOUNTS];
                if source != destination {
                    let transfer = transfer(source, destination, 1);
                    while bank.submit(transfer.clone()).await == Outcome::Conflict {}
                }
            }
        });
    }
    tellers.join_all().await;
    is_done.store(true, Ordering::Relaxed);
    readers.join_all().await;
}

pub async fn concurrent_transfers_keep_the_total(bank: Bank) {
    const ACCOUNTS: [&str; 5] = ["1", "2", "3", "4", "5"];
    const EACH: usize = 25;
    for account_id in ACCOUNTS {
        bank.open_with(account_id, 100).await;
    }
    let mut tellers = JoinSet::new();
    for teller in 0..RACERS {
        let bank = bank.clone();
        tellers.spawn(async move {
            for (number, amount) in (0..EACH).zip([1, 8, 15, 50, 33].into_iter().cycle()) {
                let source = ACCOUNTS[(teller + number) % ACCOUNTS.len()];
                let destination = ACCOUNTS[(teller * 2 + number * 3 + 1) % ACCOUNTS.len()];
                if source != destination {
                    let transfer = transfer(source, destination, amount);
                    while bank.submit(transfer.clone()).await == Outcome::Conflict {}
                }
            }
        });
    }
    tellers.join_all().await;
    let accounts = bank.all_accounts(None, 10).await;
    let total: i64 = accounts.iter().map(|account| account.balance.minor_units).sum();
    assert_eq!(total, 500);
    assert!(accounts.iter().all(|account| account.balance.minor_units >= 0));
}
