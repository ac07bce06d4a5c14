//! Compare and set: what is written, what is not, and what a commit of many proposals means.

use bank_domain::{EntryKind, Rejection};

use crate::{
    Outcome, RecordedOutcome,
    conformance::{
        Bank,
        commands::{
            deposit, described, freeze, id, limit, named, open, owner, request_id, transfer, withdraw,
        },
    },
};
use Outcome::{Applied, Conflict};

pub async fn an_empty_commit_does_nothing(bank: Bank) {
    let committed = bank.commit(&[]).await;
    assert!(committed.outcomes.is_empty() && committed.current.is_empty());
}

pub async fn a_stale_decision_conflicts_and_leaves_no_trace(bank: Bank) {
    bank.open_with("1", 100).await;
    let stale = bank.propose(named("r", withdraw("1", 100))).await;
    bank.apply(withdraw("1", 60)).await;
    let before = (bank.account("1").await, bank.history("1").await);

    let committed = bank.commit(std::slice::from_ref(&stale)).await;
    assert_eq!(committed.outcomes, [Conflict]);
    // The answer has what the next decision needs.
    assert_eq!(committed.current[&id("1")].as_ref(), Some(&before.0));
    assert_eq!((bank.account("1").await, bank.history("1").await), before);

    // It conflicts for as long as it is sent, and its request is as if it had never been made.
    assert_eq!(bank.commit_one(&stale).await, Conflict);
    let rejection = bank.submit(named("r", withdraw("1", 100))).await;
    assert_eq!(rejection, Applied, "the rejection of a fresh decision is an outcome that is written");
    assert_eq!((bank.account("1").await, bank.history("1").await), before);
}

pub async fn a_stale_rejection_conflicts(bank: Bank) {
    bank.open_with("1", 10).await;
    let stale = bank.propose(named("r", withdraw("1", 100))).await;
    assert!(matches!(stale.decision, Err(Rejection::InsufficientFunds { .. })));
    bank.apply(deposit("1", 90)).await;

    assert_eq!(bank.commit_one(&stale).await, Conflict);
    // The money is there now, and nothing remembers the rejection.
    assert_eq!(bank.submit(named("r", withdraw("1", 100))).await, Applied);
    assert_eq!(bank.balance("1").await, 0);
}

pub async fn an_opening_that_came_second_conflicts(bank: Bank) {
    let second = bank.propose(open("1").owned_by("bob")).await;
    bank.apply(open("1").owned_by("alice")).await;
    let committed = bank.commit(std::slice::from_ref(&second)).await;
    assert_eq!(committed.outcomes, [Conflict]);
    assert_eq!(committed.current[&id("1")], Some(bank.account("1").await));
    assert_eq!(bank.account("1").await.owner, owner("alice"));
    assert_eq!(bank.history("1").await.len(), 1);
    assert_eq!(bank.all_accounts(Some("bob"), 10).await, []);
}

pub async fn a_decision_on_an_account_that_is_not_there_conflicts(bank: Bank) {
    // As after a store was emptied under a server that remembers.
    let mut view = bank.view(&[]).await;
    view.propose(open("1"));
    let committed = bank.commit(&[view.propose(deposit("1", 5))]).await;
    assert_eq!(committed.outcomes, [Conflict]);
    assert_eq!(committed.current[&id("1")], None);
    assert_eq!(bank.load(&[id("1")]).await, [None]);
    assert_eq!(bank.history("1").await, []);
    assert_eq!(bank.all_accounts(None, 10).await, []);
}

pub async fn a_transfer_conflicts_whole(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    for moved in ["1", "2"] {
        let stale = bank.propose(transfer("1", "2", 100)).await;
        bank.apply(deposit(moved, 1)).await;
        let before = bank.load(&[id("1"), id("2")]).await;
        let committed = bank.commit(std::slice::from_ref(&stale)).await;
        assert_eq!(committed.outcomes, [Conflict]);
        // Both sides are answered, the one that has not moved too.
        assert_eq!(committed.current[&id("1")], before[0]);
        assert_eq!(committed.current[&id("2")], before[1]);
        assert_eq!(bank.load(&[id("1"), id("2")]).await, before);
    }
    let kinds = [bank.history("1").await, bank.history("2").await].concat();
    assert!(kinds.iter().all(|entry| entry.kind.counterparty().is_none()));
}

pub async fn proposals_of_one_commit_build_on_each_other(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    let mut view = bank.view(&["1", "2"]).await;
    let proposals = [
        view.propose(withdraw("1", 40)),
        view.propose(transfer("1", "2", 60)),
        view.propose(withdraw("1", 1)),
        view.propose(withdraw("2", 10)),
        view.propose(transfer("2", "1", 50)),
        view.propose(deposit("1", 7)),
    ];
    // A rejection is decided on what is before it, too.
    assert!(matches!(proposals[2].decision, Err(Rejection::InsufficientFunds { .. })));
    let committed = bank.commit(&proposals).await;
    assert_eq!(committed.outcomes, vec![Applied; 6]);
    assert!(committed.current.is_empty());
    for account_id in ["1", "2"] {
        assert_eq!(Some(&bank.account(account_id).await), view.account(account_id));
    }
    let amounts = async |account_id: &str| -> Vec<i64> {
        bank.history(account_id).await.iter().map(|entry| entry.amount.minor_units).collect()
    };
    assert_eq!(amounts("1").await, [0, 100, -40, -60, 50, 7]);
    assert_eq!(amounts("2").await, [0, 60, -10, -50]);
}

pub async fn an_account_is_opened_and_used_in_one_commit(bank: Bank) {
    bank.open_with("1", 100).await;
    let mut view = bank.view(&["1"]).await;
    let proposals = [
        view.propose(open("new").checking(5).owned_by("alice").labelled("branch", "1")),
        view.propose(transfer("1", "new", 100)),
        view.propose(limit("new", 9)),
        view.propose(withdraw("new", 100)),
        view.propose(freeze("new")),
        view.propose(open("new")),
    ];
    assert!(matches!(proposals[5].decision, Err(Rejection::AccountAlreadyExists { .. })));
    assert_eq!(bank.commit(&proposals).await.outcomes, vec![Applied; 6]);
    assert_eq!(Some(&bank.account("new").await), view.account("new"));
    assert_eq!(bank.history("new").await.len(), 5);
    assert_eq!(bank.all_accounts(Some("alice"), 10).await, [bank.account("new").await]);
}

pub async fn what_builds_on_a_conflict_conflicts(bank: Bank) {
    bank.open_with("1", 100).await;
    let mut stale = bank.view(&["1"]).await;
    bank.apply(deposit("1", 1)).await;
    let proposals =
        [stale.propose(deposit("1", 2)), stale.propose(deposit("1", 3)), stale.propose(withdraw("1", 1_000))];
    assert!(proposals[2].decision.is_err());
    let committed = bank.commit(&proposals).await;
    assert_eq!(committed.outcomes, vec![Conflict; 3]);
    assert_eq!(committed.current[&id("1")], Some(bank.account("1").await));
    assert_eq!(bank.balance("1").await, 101);
}

pub async fn a_conflict_taints_the_other_side_of_a_transfer(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    bank.open_with("3", 0).await;
    let mut stale = bank.view(&["1", "2", "3"]).await;
    bank.apply(deposit("1", 1)).await;
    let committed = bank
        .commit(&[
            stale.propose(transfer("1", "2", 50)),
            // It would spend what has not come.
            stale.propose(transfer("2", "3", 50)),
            // It does not, but its account has been through the one before.
            stale.propose(deposit("3", 1)),
        ])
        .await;
    assert_eq!(committed.outcomes, vec![Conflict; 3]);
    assert_eq!(committed.current.len(), 3);
    assert_eq!((bank.balance("2").await, bank.balance("3").await), (0, 0));
}

pub async fn a_version_that_matches_by_accident_conflicts(bank: Bank) {
    bank.open_with("1", 100).await;
    let mut stale = bank.view(&["1"]).await;
    let first = stale.propose(withdraw("1", 60));
    let second = stale.propose(withdraw("1", 40));
    // Another server takes the version that the second was decided on.
    bank.apply(withdraw("1", 100)).await;

    let committed = bank.commit(&[first, second]).await;
    assert_eq!(committed.outcomes, [Conflict, Conflict]);
    assert_eq!(bank.balance("1").await, 0);
}

pub async fn a_state_that_matches_by_accident_conflicts(bank: Bank) {
    bank.open_with("1", 100).await;
    let mut stale = bank.view(&["1"]).await;
    stale.propose(described(deposit("1", 5), "lost"));
    let next = stale.propose(withdraw("1", 105));
    // Version, time and balance are those that it was decided on; the history is another.
    bank.apply(described(deposit("1", 5), "kept")).await;
    let (found, known) = (bank.account("1").await, stale.account("1").unwrap());
    assert_eq!((found.version + 1, found.updated_at), (known.version, known.updated_at));

    assert_eq!(bank.commit_one(&next).await, Conflict);
    assert_eq!(bank.balance("1").await, 105);
}

pub async fn a_conflict_leaves_the_rest_of_its_commit_alone(bank: Bank) {
    for account_id in ["1", "2", "3", "4"] {
        bank.open_with(account_id, 10).await;
    }
    let mut view = bank.view(&["1", "2", "3", "4"]).await;
    bank.apply(deposit("2", 1)).await;
    let proposals = [
        view.propose(deposit("1", 5)),
        view.propose(deposit("2", 5)),
        view.propose(transfer("3", "4", 5)),
        view.propose(transfer("1", "2", 5)),
        view.propose(deposit("4", 5)),
    ];
    let committed = bank.commit(&proposals).await;
    assert_eq!(committed.outcomes, [Applied, Conflict, Applied, Conflict, Applied]);
    // What is answered is what is so after the commit.
    assert_eq!(committed.current[&id("1")], Some(bank.account("1").await));
    assert_eq!(committed.current[&id("2")], Some(bank.account("2").await));
    for (account_id, balance) in [("1", 15), ("2", 11), ("3", 5), ("4", 20)] {
        assert_eq!(bank.balance(account_id).await, balance, "{account_id}");
    }
}

pub async fn what_builds_on_a_replay_conflicts(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    let entry = bank.apply(named("r", transfer("1", "2", 10))).await;
    let mut view = bank.view(&["1", "2"]).await;
    let again = view.propose(named("r", transfer("1", "2", 10)));
    let on_it = view.propose(withdraw("2", 20));
    let committed = bank.commit(&[again, on_it]).await;
    assert_eq!(committed.outcomes, [Outcome::Replayed(RecordedOutcome::Entry(entry.into())), Conflict]);
    assert_eq!(committed.current[&id("1")], Some(bank.account("1").await));
    assert_eq!(committed.current[&id("2")], Some(bank.account("2").await));
    assert_eq!((bank.balance("1").await, bank.balance("2").await), (90, 10));
}

pub async fn a_large_commit_is_applied_whole(bank: Bank) {
    const COUNT: usize = 5_000;
    bank.open_with("1", 0).await;
    let mut view = bank.view(&["1"]).await;
    let proposals: Vec<_> =
        (0..COUNT).map(|number| view.propose(named(&format!("r{number}"), deposit("1", 1)))).collect();
    for _ in 0..2 {
        assert_eq!(bank.commit(&proposals).await.outcomes, vec![Applied; COUNT]);
        assert_eq!(bank.balance("1").await, 5_000);
        assert_eq!(bank.account("1").await.version, 5_001);
    }
    let history = bank.history("1").await;
    assert_eq!(history.len(), 5_001);
    assert_eq!(history[5_000].request_id, Some(request_id("r4999")));
}

pub async fn a_commit_of_many_accounts_is_applied_whole(bank: Bank) {
    const COUNT: usize = 300;
    let names: Vec<_> = (0..COUNT).map(|number| format!("account-{number}")).collect();
    let mut view = bank.view(&[]).await;
    let mut proposals: Vec<_> = names.iter().map(|name| view.propose(open(name).owned_by("alice"))).collect();
    proposals.extend(names.iter().map(|name| view.propose(deposit(name, 10))));
    proposals.extend(names.windows(2).map(|pair| view.propose(transfer(&pair[0], &pair[1], 3))));
    let committed = bank.commit(&proposals).await;
    assert!(committed.outcomes.iter().all(|outcome| *outcome == Applied));

    let accounts = bank.all_accounts(None, 100).await;
    assert_eq!(accounts.len(), COUNT);
    let total: i64 = accounts.iter().map(|account| account.balance.minor_units).sum();
    assert_eq!(total, 3_000);
    assert_eq!(bank.all_accounts(Some("alice"), 70).await.len(), COUNT);
    assert_eq!(bank.newest("account-7").await.kind, EntryKind::TransferOut { destination: id("account-8") });
}
