//! One outcome for each request.

use bank_domain::{
    Command, Entry, Plan,
    interest::{Period, Terms},
};

use crate::{
    Outcome, Proposal, RecordedOutcome,
    conformance::{
        Bank, Request,
        bank::fresh_attempt,
        commands::{
            close, deposit, described, freeze, id, interest, limit, named, open, request_id, transfer,
            unfreeze, unrecorded, withdraw,
        },
    },
};
use Outcome::{Applied, Conflict, Replayed, RequestIdReused};

fn replayed_entry(entry: &Entry) -> Outcome {
    Replayed(RecordedOutcome::Entry(entry.clone().into()))
}

fn entry_of(proposal: &Proposal) -> &Entry {
    let Plan { primary, .. } = proposal.decision.as_ref().unwrap();
    &primary.entry
}

pub async fn a_commit_sent_again_answers_the_same(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 100).await;
    let mut view = bank.view(&["1", "2"]).await;
    bank.apply(deposit("2", 1)).await;
    let proposals = [
        view.propose(deposit("1", 1)),
        view.propose(withdraw("1", 1_000)),
        view.propose(open("3")),
        view.propose(transfer("1", "3", 7)),
        view.propose(deposit("2", 5)),
    ];
    let outcomes = [Applied, Applied, Applied, Applied, Conflict];
    assert_eq!(bank.commit(&proposals).await.outcomes, outcomes);
    let after = bank.load(&[id("1"), id("2"), id("3")]).await;
    assert_eq!(bank.commit(&proposals).await.outcomes, outcomes);
    assert_eq!(bank.load(&[id("1"), id("2"), id("3")]).await, after);

    // However much has happened since.
    bank.apply(deposit("1", 1)).await;
    bank.apply(deposit("3", 1)).await;
    let after = bank.load(&[id("1"), id("2"), id("3")]).await;
    assert_eq!(bank.commit(&proposals).await.outcomes, outcomes);
    assert_eq!(bank.load(&[id("1"), id("2"), id("3")]).await, after);
    assert_eq!(bank.history("1").await.len(), 5);
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
        assert_eq!(bank.commit(&proposals).await.outcomes, vec![Applied; 4]);
        assert_eq!((bank.balance("1").await, bank.balance("2").await), (71, 15));
    }
    assert_eq!((bank.history("1").await.len(), bank.history("2").await.len()), (5, 3));
}

pub async fn a_repeated_request_is_replayed(bank: Bank) {
    bank.open_with("1", 0).await;
    let deposit = || described(deposit("1", 5), "rent");
    let first = bank.apply(named("r", deposit())).await;
    // Other entries come after it; the reply stays what it was.
    bank.apply(withdraw("1", 5)).await;
    for _ in 0..2 {
        let proposal = bank.later(1_000).propose(named("r", deposit())).await;
        let committed = bank.commit(std::slice::from_ref(&proposal)).await;
        assert_eq!(committed.outcomes, [replayed_entry(&first)]);
        assert_eq!(committed.current[&id("1")], Some(bank.account("1").await));
    }
    assert_eq!((bank.balance("1").await, bank.account("1").await.version), (0, 3));
}

pub async fn a_repeated_transfer_and_opening_are_replayed(bank: Bank) {
    let opening = || named("open", open("1").checking(50).owned_by("alice"));
    let opened = bank.apply(opening()).await;
    bank.open_with("2", 0).await;
    let transfer = || named("pay", described(transfer("1", "2", 30), "for nothing"));
    let sent = bank.apply(transfer()).await;
    // The request is of the source: its entry is the one that comes back.
    assert_eq!(sent.account_id, id("1"));
    assert_eq!(bank.submit(transfer()).await, replayed_entry(&sent));
    // It comes back on an account that could not pay any more, and on one that is closed.
    bank.apply(withdraw("1", 20)).await;
    assert_eq!(bank.submit(transfer()).await, replayed_entry(&sent));
    bank.apply(deposit("1", 50)).await;
    bank.apply(close("1")).await;
    assert_eq!(bank.submit(transfer()).await, replayed_entry(&sent));
    assert_eq!(bank.submit(opening()).await, replayed_entry(&opened));
    assert_eq!(bank.balance("2").await, 30);
}

pub async fn a_repeated_request_is_found_before_versions_are_compared(bank: Bank) {
    bank.open_with("1", 0).await;
    bank.open_with("2", 0).await;
    let other_server = bank.propose(named("r", deposit("1", 5))).await;
    let entry = bank.apply(named("r", deposit("1", 5))).await;
    assert_eq!(bank.commit_one(&other_server).await, replayed_entry(&entry));

    // And before it is asked whether its account is tainted.
    let stale = bank.propose(withdraw("1", 1)).await;
    bank.apply(deposit("1", 1)).await;
    let committed = bank.commit(&[stale, other_server]).await;
    assert_eq!(committed.outcomes, [Conflict, replayed_entry(&entry)]);
    assert_eq!(bank.balance("1").await, 6);
}

pub async fn a_repeated_rejection_is_replayed(bank: Bank) {
    bank.open_with("1", 10).await;
    let request = || named("r", withdraw("1", 100));
    let proposal = bank.propose(request()).await;
    let rejection = proposal.decision.clone().unwrap_err();
    assert_eq!(bank.commit_one(&proposal).await, Applied);
    assert_eq!(bank.account("1").await.version, 2);

    // The money is there now, but the request has had its outcome.
    bank.apply(deposit("1", 1_000)).await;
    let again = bank.propose(request()).await;
    assert!(again.decision.is_ok());
    assert_eq!(bank.commit_one(&again).await, Replayed(RecordedOutcome::Rejected(rejection.into())));
    assert_eq!(bank.commit_one(&proposal).await, Applied);
    assert_eq!(bank.balance("1").await, 1_010);
}

pub async fn every_rejection_is_replayed_as_it_was(bank: Bank) {
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
    let mut reasons = Vec::new();
    for (number, command) in requests.into_iter().enumerate() {
        let request: Request = named(&format!("r{number}"), command);
        let proposal = bank.propose(request.clone()).await;
        let rejection = proposal.decision.clone().unwrap_err();
        reasons.push(std::mem::discriminant(&rejection));
        assert_eq!(bank.commit_one(&proposal).await, Applied, "{rejection}");
        assert_eq!(bank.submit(request).await, Replayed(RecordedOutcome::Rejected(rejection.into())));
    }
    reasons.dedup();
    let told_apart: std::collections::HashSet<_> = reasons.into_iter().collect();
    assert_eq!(told_apart.len(), 11, "there are eleven kinds of rejection");
}

pub async fn a_request_twice_in_one_commit_is_applied_once(bank: Bank) {
    bank.open_with("1", 0).await;
    let mut view = bank.view(&["1"]).await;
    let first = view.propose(named("r", deposit("1", 5)));
    let second = view.propose(named("r", deposit("1", 5)));
    let entry = entry_of(&first).clone();
    let third = view.propose(deposit("1", 100));
    let committed = bank.commit(&[first, second, third]).await;
    // The third was decided on what the second would have made.
    assert_eq!(committed.outcomes, [Applied, replayed_entry(&entry), Conflict]);
    assert_eq!(committed.current[&id("1")], Some(bank.account("1").await));
    assert_eq!(bank.balance("1").await, 5);
    assert_eq!(bank.history("1").await.len(), 2);

    // A rejection, too.
    let first = bank.propose(named("s", withdraw("1", 100))).await;
    let second = Proposal { attempt: fresh_attempt(), ..first.clone() };
    let rejection = first.decision.clone().unwrap_err();
    let committed = bank.commit(&[first, second]).await;
    assert_eq!(committed.outcomes, [Applied, Replayed(RecordedOutcome::Rejected(rejection.into()))]);
}

pub async fn a_proposal_twice_in_one_commit_is_applied_once(bank: Bank) {
    bank.open_with("1", 0).await;
    let proposal = bank.propose(deposit("1", 5)).await;
    let committed = bank.commit(&[proposal.clone(), proposal]).await;
    assert_eq!(committed.outcomes, [Applied, Applied]);
    assert_eq!((bank.balance("1").await, bank.history("1").await.len()), (5, 2));
}

pub async fn a_reused_request_id_is_told_apart(bank: Bank) {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    let entry = bank.apply(named("r", deposit("1", 5))).await;
    for other in [
        deposit("1", 6),
        withdraw("1", 5),
        described(deposit("1", 5), "rent"),
        transfer("1", "2", 5),
        freeze("1"),
        // It would be refused, if it came by another name.
        withdraw("1", 1_000),
    ] {
        let proposal = bank.propose(named("r", other)).await;
        let committed = bank.commit(std::slice::from_ref(&proposal)).await;
        assert_eq!(committed.outcomes, [RequestIdReused]);
        assert_eq!(committed.current[&id("1")], Some(bank.account("1").await));
    }
    assert_eq!(bank.submit(named("r", deposit("1", 5))).await, replayed_entry(&entry));
    assert_eq!(bank.balance("1").await, 105);

    // Within one commit, and after a rejection.
    let mut view = bank.view(&["1"]).await;
    let proposals = [
        view.propose(named("s", withdraw("1", 1_000))),
        view.propose(named("s", withdraw("1", 1_001))),
        view.propose(named("t", deposit("1", 1))),
    ];
    assert_eq!(bank.commit(&proposals).await.outcomes, [Applied, RequestIdReused, Conflict]);
}

pub async fn request_ids_mean_nothing_to_others(bank: Bank) {
    bank.open_with("1", 0).await;
    bank.open_with("2", 0).await;
    // Of callers, of accounts, and of the two sides of a transfer.
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
    assert_eq!(again, replayed_entry(&bank.history("1").await[2]));
}

pub async fn request_ids_of_every_character_are_told_apart(bank: Bank) {
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
        assert_eq!(bank.submit(named(name, deposit("1", 1))).await, replayed_entry(entry), "{name}");
    }
}

pub async fn an_unrecorded_rejection_leaves_no_record(bank: Bank) {
    bank.open_with("1", 10).await;
    let request = || unrecorded(named("r", withdraw("1", 100)));
    let refused = bank.propose(request()).await;
    assert!(refused.decision.is_err());
    // It is checked against the versions all the same.
    assert_eq!(bank.commit_one(&refused).await, Applied);
    bank.apply(deposit("1", 90)).await;
    assert_eq!(bank.commit_one(&refused).await, Conflict);
    // A plan leaves a record whatever is said of rejections: it may have to be sent again.
    let entry = bank.apply(request()).await;
    assert_eq!(bank.submit(request()).await, replayed_entry(&entry));
    assert_eq!(bank.balance("1").await, 0);
}
