//! Commits of many proposals, and records of many requests.

use std::{collections::HashSet, mem};

use bank_domain::{
    Command,
    interest::{Period, Terms},
};

use crate::conformance::{commands::Request, prelude::*};

fn replayed(entry: &Entry) -> Outcome {
    Outcome::Replayed(RecordedOutcome::Entry(entry.clone().into()))
}

pub async fn an_empty_commit_does_nothing(bank: Bank) {
    let committed = bank.commit(&[]).await;
    assert!(committed.outcomes.is_empty() && committed.current.is_empty());
}

pub async fn a_large_commit_is_applied_completely(bank: Bank) {
    const COUNT: usize = 5_000;
    bank.open_with("1", 0).await;
    let mut view = bank.view(&["1"]).await;
    let proposals: Vec<_> =
        (0..COUNT).map(|number| view.propose(named(&format!("r{number}"), deposit("1", 1)))).collect();
    for _ in 0..2 {
        assert_eq!(bank.commit(&proposals).await.outcomes, vec![Outcome::Applied; COUNT]);
        assert_eq!(bank.balance("1").await, 5_000);
        assert_eq!(bank.account("1").await.version, 5_001);
    }
    let history = bank.history("1").await;
    assert_eq!(history.len(), 5_001);
    assert_eq!(history[5_000].request_id, Some(request_id("r4999")));
}

pub async fn a_commit_of_many_accounts_is_applied_completely(bank: Bank) {
    const COUNT: usize = 300;
    let names: Vec<_> = (0..COUNT).map(|number| format!("account-{number}")).collect();
    let mut view = bank.view(&[]).await;
    let mut proposals: Vec<_> = names.iter().map(|name| view.propose(open(name).owned_by("alice"))).collect();
    proposals.extend(names.iter().map(|name| view.propose(deposit(name, 10))));
    proposals.extend(names.windows(2).map(|pair| view.propose(transfer(&pair[0], &pair[1], 3))));
    let committed = bank.commit(&proposals).await;
    assert!(committed.outcomes.iter().all(|outcome| *outcome == Outcome::Applied));

    let accounts = bank.all_accounts(None, 100).await;
    assert_eq!(accounts.len(), COUNT);
    let total: i64 = accounts.iter().map(|account| account.balance.minor_units).sum();
    assert_eq!(total, 3_000);
    assert_eq!(bank.all_accounts(Some("alice"), 70).await.len(), COUNT);
    assert_eq!(bank.newest("account-7").await.kind, EntryKind::TransferOut { destination: id("account-8") });
}

pub async fn a_commit_that_half_arrived_is_completed(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    let mut view = bank.view(&["1", "2"]).await;
    let proposals = [
        view.propose(withdraw("1", 10)),
        view.propose(transfer("1", "2", 20)),
        view.propose(withdraw("2", 5)),
        view.propose(deposit("1", 1)),
    ];
    for arrived in 0..=proposals.len() {
        bank.commit(&proposals[..arrived]).await;
        assert_eq!(bank.commit(&proposals).await.outcomes, vec![Outcome::Applied; 4]);
        assert_eq!((bank.balance("1").await, bank.balance("2").await), (71, 15));
    }
    assert_eq!((bank.history("1").await.len(), bank.history("2").await.len()), (5, 3));
}

pub async fn every_rejection_is_replayed_unchanged(bank: Bank) {
    bank.open_with("a", i64::MAX).await;
    bank.open_with("b", 1).await;
    bank.apply(open("yen").in_currency("JPY").checking(50)).await;
    bank.apply(withdraw("yen", 7)).await;
    bank.open_with("frozen", 1).await;
    bank.apply(freeze("frozen")).await;
    bank.open_with("closed", 0).await;
    bank.apply(close("closed")).await;
    let minus_thousand = Terms::new("-1000".parse().unwrap());
    let requests: [Command; 14] = [
        deposit("absent", 1),
        transfer("a", "absent", 1),
        open("a").into(),
        deposit("closed", 1),
        transfer("a", "closed", 1),
        withdraw("frozen", 1),
        unfreeze("a"),
        transfer("a", "yen", 1),
        limit("a", 0),
        limit("yen", 6),
        close("b"),
        deposit("a", 1),
        withdraw("b", i64::MAX),
        interest("a", minus_thousand, Period::OneYear),
    ];
    let mut kinds = HashSet::new();
    for (number, command) in requests.into_iter().enumerate() {
        let request: Request = named(&format!("r{number}"), command);
        let proposal = bank.propose(request.clone()).await;
        let rejection = proposal.decision.clone().unwrap_err();
        kinds.insert(mem::discriminant(&rejection));
        assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied, "{rejection}");
        assert_eq!(
            bank.submit(request).await,
            Outcome::Replayed(RecordedOutcome::Rejected(rejection.into()))
        );
    }
    assert_eq!(kinds.len(), 11, "there are eleven kinds of rejection");
}

pub async fn request_ids_are_separate_for_callers_and_accounts(bank: Bank) {
    bank.open_with("1", 0).await;
    bank.open_with("2", 0).await;
    // For callers, for accounts, and for the two sides of a transfer.
    for (balance, caller) in
        (1..).zip(["", "alice", "bob", "alice ", " alice", "é", "r", "1", "\u{1f3e0} \"x\""])
    {
        bank.called_by(caller).apply(named("r", deposit("1", 1))).await;
        assert_eq!(bank.balance("1").await, balance, "{caller:?}");
    }
    bank.apply(named("r", deposit("2", 1))).await;
    bank.apply(named("s", transfer("1", "2", 1))).await;
    bank.apply(named("s", transfer("2", "1", 1))).await;
    let again = bank.called_by("alice").submit(named("r", deposit("1", 1))).await;
    assert_eq!(again, replayed(&bank.history("1").await[2]));
}

pub async fn request_ids_of_every_character_are_distinguished(bank: Bank) {
    bank.open_with("1", 0).await;
    let mut names: Vec<_> = ('!'..='~').map(String::from).collect();
    names.extend(["{}/\"\\", "r:1", "r-1", "nil", "false", "-1", "01"].map(String::from));
    names.extend(["a".repeat(64), "a".repeat(63)]);
    for name in &names {
        let entry = bank.apply(named(name, deposit("1", 1))).await;
        assert_eq!(bank.newest("1").await, entry);
        assert_eq!(entry.request_id, Some(request_id(name)));
    }
    assert_eq!(bank.balance("1").await, i64::try_from(names.len()).unwrap());
    let history = bank.history("1").await;
    for (name, entry) in names.iter().zip(&history[1..]) {
        assert_eq!(bank.submit(named(name, deposit("1", 1))).await, replayed(entry), "{name}");
    }
}
