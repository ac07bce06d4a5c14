//! Commits of many proposals, and records of many requests.

use crate::conformance::prelude::*;

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
        let replayed = Outcome::Replayed(RecordedOutcome::Entry(entry.clone().into()));
        assert_eq!(bank.submit(named(name, deposit("1", 1))).await, replayed, "{name}");
    }
}
