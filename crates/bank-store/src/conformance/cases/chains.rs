//! Proposals that are linked: all of a chain, or nothing.

use bank_domain::Rejection;

use crate::{
    Outcome, Proposal, RecordedOutcome,
    conformance::{
        Bank,
        bank::{Request, View, fresh_attempt},
        commands::{deposit, id, named, transfer, withdraw},
    },
};
use Outcome::{Abandoned, Applied, Conflict, Replayed, RequestIdReused};

/// Moves 60 from `1` to `2`, and takes from there what is asked for.
fn pay_and_take(view: &mut View, taken: i64) -> Vec<Proposal> {
    view.propose_chain([
        named("pay", transfer("1", "2", 60)),
        named("take", withdraw("2", taken)),
        named("thank", deposit("1", 5)),
    ])
}

/// The same requests, decided anew by somebody who does not know what became of the first.
fn repeated(chain: &[Proposal]) -> Vec<Proposal> {
    chain.iter().map(|proposal| Proposal { attempt: fresh_attempt(), ..proposal.clone() }).collect()
}

async fn two_accounts(bank: &Bank) -> View {
    bank.open_with("1", 100).await;
    bank.open_with("2", 0).await;
    bank.view(&["1", "2"]).await
}

async fn assert_nothing_moved(bank: &Bank) {
    assert_eq!((bank.balance("1").await, bank.balance("2").await), (100, 0));
    assert_eq!((bank.history("1").await.len(), bank.history("2").await.len()), (2, 1));
}

pub async fn a_chain_is_applied_whole(bank: Bank) {
    let mut view = two_accounts(&bank).await;
    let chain = pay_and_take(&mut view, 50);
    let committed = bank.commit(&chain).await;
    assert_eq!(committed.outcomes, [Applied, Applied, Applied]);
    for account_id in ["1", "2"] {
        assert_eq!(Some(&bank.account(account_id).await), view.account(account_id));
    }
    assert_eq!((bank.balance("1").await, bank.balance("2").await), (45, 10));
}

pub async fn a_chain_that_is_refused_leaves_the_record_of_one(bank: Bank) {
    let mut view = two_accounts(&bank).await;
    let chain = pay_and_take(&mut view, 61);
    assert!(matches!(chain[1].decision, Err(Rejection::InsufficientFunds { .. })));
    assert_eq!(bank.commit(&chain).await.outcomes, [Abandoned, Applied, Abandoned]);
    assert_nothing_moved(&bank).await;

    // The rejection is the outcome of its request; the other requests are as if they had not been made.
    let refused = RecordedOutcome::Rejected(chain[1].decision.clone().unwrap_err().into());
    assert_eq!(bank.submit(named("take", withdraw("2", 61))).await, Replayed(refused));
    assert_eq!(bank.submit(named("pay", withdraw("1", 1))).await, Applied);
    assert_eq!(bank.submit(named("thank", withdraw("1", 2))).await, Applied);
}

pub async fn a_chain_conflicts_whole(bank: Bank) {
    let view = two_accounts(&bank).await;
    for moved in ["1", "2"] {
        let chain = pay_and_take(&mut view.clone(), 50);
        bank.apply(deposit(moved, 1)).await;
        let before = (bank.history("1").await, bank.history("2").await);
        let committed = bank.commit(&chain).await;
        assert_eq!(committed.outcomes, [Conflict, Abandoned, Abandoned]);
        assert_eq!(committed.current[&id("1")], Some(bank.account("1").await));
        assert_eq!(committed.current[&id("2")], Some(bank.account("2").await));
        assert_eq!((bank.history("1").await, bank.history("2").await), before);
    }
}

pub async fn what_builds_on_a_chain_shares_its_fate(bank: Bank) {
    let mut view = two_accounts(&bank).await;
    let mut commit = pay_and_take(&mut view, 50);
    commit.push(view.propose(withdraw("2", 10)));
    assert_eq!(bank.commit(&commit).await.outcomes, vec![Applied; 4]);
    assert_eq!(bank.balance("2").await, 0);

    let mut view = bank.view(&["1", "2"]).await;
    bank.apply(deposit("1", 1)).await;
    let mut commit = view.propose_chain([deposit("1", 1).into(), deposit("2", 1).into()]);
    commit.push(view.propose(withdraw("2", 1)));
    assert_eq!(bank.commit(&commit).await.outcomes, [Conflict, Abandoned, Conflict]);
    assert_eq!(bank.balance("2").await, 0);
}

pub async fn what_follows_a_refused_chain_builds_on_what_was_before(bank: Bank) {
    let mut view = two_accounts(&bank).await;
    let mut commit = pay_and_take(&mut view, 61);
    commit.push(view.propose(withdraw("1", 100)));
    assert_eq!(bank.commit(&commit).await.outcomes, [Abandoned, Applied, Abandoned, Applied]);
    assert_eq!(bank.balance("1").await, 0);
}

pub async fn a_repeated_chain_is_replayed(bank: Bank) {
    let mut view = two_accounts(&bank).await;
    let chain = pay_and_take(&mut view, 50);
    bank.commit(&chain).await;
    let entries: Vec<_> = chain.iter().map(|it| it.decision.clone().unwrap().primary.entry).collect();
    let replayed: Vec<_> = entries.into_iter().map(|it| Replayed(RecordedOutcome::Entry(it))).collect();
    assert_eq!(bank.commit(&repeated(&chain)).await.outcomes, replayed);
    // However it would be decided today.
    let chain = pay_and_take(&mut bank.view(&["1", "2"]).await, 50);
    assert!(chain[0].decision.is_err());
    assert_eq!(bank.commit(&chain).await.outcomes, replayed);
}

pub async fn a_repeated_refused_chain_is_refused_by_its_record(bank: Bank) {
    let mut view = two_accounts(&bank).await;
    let chain = pay_and_take(&mut view, 61);
    bank.commit(&chain).await;
    bank.apply(deposit("2", 1)).await;
    let refused = RecordedOutcome::Rejected(chain[1].decision.clone().unwrap_err().into());
    let chain = pay_and_take(&mut bank.view(&["1", "2"]).await, 61);
    assert!(chain.iter().all(|proposal| proposal.decision.is_ok()));
    assert_eq!(bank.commit(&chain).await.outcomes, [Abandoned, Replayed(refused), Abandoned]);
    assert_eq!((bank.balance("1").await, bank.balance("2").await), (100, 1));
}

pub async fn a_chain_of_known_and_new_requests_does_nothing(bank: Bank) {
    two_accounts(&bank).await;
    let known = bank.apply(named("known", deposit("2", 7))).await;
    bank.apply(named("other", deposit("2", 8))).await;
    let mut view = bank.view(&["1", "2"]).await;
    let requests: [Request; 3] = [
        named("new", transfer("1", "2", 1)),
        named("known", deposit("2", 7)),
        named("other", deposit("2", 9)),
    ];
    let chain = view.propose_chain(requests);
    let replayed = Replayed(RecordedOutcome::Entry(known.into()));
    assert_eq!(bank.commit(&chain).await.outcomes, [Abandoned, replayed, RequestIdReused]);
    assert_eq!((bank.balance("1").await, bank.balance("2").await), (100, 15));
}

pub async fn a_chain_sent_again_answers_the_same(bank: Bank) {
    let mut view = two_accounts(&bank).await;
    for (taken, expected) in
        [(61, [Abandoned, Applied, Abandoned]), (50, [Abandoned, RequestIdReused, Abandoned])]
    {
        let chain = pay_and_take(&mut view, taken);
        for _ in 0..3 {
            assert_eq!(bank.commit(&chain).await.outcomes, expected);
        }
    }
    assert_nothing_moved(&bank).await;
    let mut view = bank.view(&["1", "2"]).await;
    let chain = view.propose_chain([transfer("1", "2", 60).into(), withdraw("2", 60).into()]);
    for _ in 0..3 {
        assert_eq!(bank.commit(&chain).await.outcomes, [Applied, Applied]);
    }
    assert_eq!((bank.balance("1").await, bank.balance("2").await), (40, 0));
}
