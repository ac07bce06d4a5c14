//! Concurrent commits and reads.

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
    let outcomes = race(&bank, |_| deposit("1", 1).into()).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Conflict).count(), RACERS - 1);
    assert_eq!(bank.account("1").await.version, account.version + 1);
}

pub async fn racing_openings_open_once(bank: Bank) {
    let outcomes = race(&bank, |number| open("1").owned_by(&format!("owner-{number}")).into()).await;
    let winner = outcomes.iter().position(|outcome| *outcome == Outcome::Applied).unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Conflict).count(), RACERS - 1);
    assert_eq!(bank.account("1").await.owner, owner(&format!("owner-{winner}")));
    assert_eq!(bank.history("1").await.len(), 1);
    for number in 0..RACERS {
        let listed = bank.all_accounts(Some(&format!("owner-{number}")), 10).await;
        assert_eq!(listed.len(), usize::from(number == winner));
    }
}

pub async fn racing_sends_of_one_request_apply_once(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    let outcomes = race(&bank, |_| named("r", transfer("1", "2", 60))).await;
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

/// Decides requests on the same state, and commits them concurrently.
async fn race(bank: &Bank, request: impl Fn(usize) -> Request) -> Vec<Outcome> {
    let mut proposals = Vec::new();
    for number in 0..RACERS {
        proposals.push(bank.propose(request(number)).await);
    }
    let racers = proposals.into_iter().map(|proposal| {
        let bank = bank.clone();
        tokio::spawn(async move { bank.commit_one(&proposal).await })
    });
    let mut outcomes = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        outcomes.push(racer.await.unwrap());
    }
    outcomes
}

/// Reads again and again while others write, and once more.
async fn read_during(mut writers: JoinSet<()>, read: impl AsyncFn()) {
    loop {
        while let Some(writer) = writers.try_join_next() {
            writer.unwrap();
        }
        let is_last = writers.is_empty();
        read().await;
        if is_last {
            return;
        }
        // A store that never waits would not let the writers run.
        tokio::task::yield_now().await;
    }
}

/// A reader who sees one side of a transfer finds the other side as well.
pub async fn readers_never_see_half_a_transfer(bank: Bank) {
    bank.open_with("1", 1_000).await;
    bank.open_with("2", 0).await;
    let mut writer = JoinSet::new();
    let writing = bank.clone();
    writer.spawn(async move {
        for _ in 0..100 {
            writing.apply(transfer("1", "2", 1)).await;
            writing.apply(transfer("2", "1", 1)).await;
        }
    });
    read_during(writer, async || {
        for (near, far) in [("1", "2"), ("2", "1")] {
            let seen = bank.newest(near).await;
            let query = EntriesQuery { start: Some(seen.time), ..EntriesQuery::all(id(far)) };
            let other_side = bank.entries(&query).await;
            assert!(
                seen.kind.counterparty().is_none()
                    || other_side.iter().any(|entry| entry.transaction_id == seen.transaction_id),
                "{} is on {near} but not on {far}",
                seen.transaction_id
            );
        }
    })
    .await;
}

pub async fn readers_never_see_an_account_without_its_entries(bank: Bank) {
    bank.open_with("1", 0).await;
    let mut writer = JoinSet::new();
    let writing = bank.clone();
    writer.spawn(async move {
        for milliseconds in 0..200 {
            writing.later(milliseconds).apply(deposit("1", 1)).await;
        }
    });
    read_during(writer, async || {
        let account = bank.account("1").await;
        let newest = bank.newest("1").await;
        // The entry may be newer, but never older.
        assert!(newest.sequence >= account.version);
        if newest.sequence == account.version {
            assert_eq!((newest.balance_after, newest.time), (account.balance, account.updated_at));
        }
        assert!(bank.account("1").await.version >= newest.sequence);
    })
    .await;
}

/// Money that is moved while accounts are listed is counted once.
pub async fn a_list_of_accounts_shows_one_instant(bank: Bank) {
    const ACCOUNTS: usize = 12;
    let names: Vec<_> = (0..ACCOUNTS).map(|number| format!("account-{number}")).collect();
    for name in &names {
        bank.apply(open(name).owned_by("alice")).await;
        bank.apply(deposit(name, 100)).await;
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
    read_during(tellers, async || {
        for owner in [None, Some(owner("alice"))] {
            let accounts = bank.accounts(&AccountsQuery { owner, after: None, limit: ACCOUNTS + 1 }).await;
            assert!(accounts.iter().all(|account| account.balance.minor_units >= 0));
            let total: i64 = accounts.iter().map(|account| account.balance.minor_units).sum();
            assert_eq!(total, 1_200, "{accounts:?}");
        }
    })
    .await;
}
