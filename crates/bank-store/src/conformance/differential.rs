//! Random commits on two stores, which must answer alike.

use std::sync::Arc;

use super::{
    bank::Bank,
    commands::id,
    random::{ACCOUNT_IDS, OWNERS, RandomCommits, Seed},
};
use crate::{Outcome, Store};

/// After how many commits all data is compared.
const COMMITS_PER_COMPARISON: usize = 50;

/// Sends the same random commits to two empty stores. Compares every answer, and all data now and then.
///
/// # Panics
/// If the stores differ.
pub async fn trial(reference: Arc<dyn Store>, subject: Arc<dyn Store>, seed: u64, commits: usize) {
    let seed = Seed(seed);
    let (reference, subject) = (Bank::new(reference), Bank::new(subject));
    let mut random = RandomCommits::new(seed.0);
    let mut counts = [0; 5];
    for number in 1..=commits {
        let proposals = random.next_on(&reference).await;
        let expected = reference.commit(&proposals).await;
        let found = subject.commit(&proposals).await;
        assert_eq!(found.outcomes, expected.outcomes, "commit {number}: {proposals:#?}");
        assert_eq!(found.current, expected.current, "commit {number}: {proposals:#?}");
        expected.outcomes.iter().for_each(|outcome| counts[kind_of(outcome)] += 1);
        if number % COMMITS_PER_COMPARISON == 0 || number == commits {
            compare(&reference, &subject, &mut random).await;
        }
    }
    reference.assert_sound().await;
    subject.assert_sound().await;
    assert!(commits < 200 || counts.iter().all(|count| *count > 5), "some outcomes are too rare: {counts:?}");
}

fn kind_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Applied => 0,
        Outcome::Conflict => 1,
        Outcome::Replayed(_) => 2,
        Outcome::RequestIdReused => 3,
        Outcome::Abandoned => 4,
        Outcome::Damaged(what) => panic!("{what}"),
    }
}

async fn compare(reference: &Bank, subject: &Bank, random: &mut RandomCommits) {
    let ids = ACCOUNT_IDS.map(id);
    assert_eq!(subject.load(&ids).await, reference.load(&ids).await);

    for account_id in ACCOUNT_IDS {
        let history = reference.history(account_id).await;
        assert_eq!(subject.history(account_id).await, history);
        let some = history.iter().step_by(1 + history.len() / 4).map(|entry| Some(entry.id()));
        let positions: Vec<_> = some.chain([None]).collect();
        subject.assert_selections(account_id, &[None, Some(random.instant(reference))], &positions).await;
    }

    for owner in OWNERS.map(Some).into_iter().chain([None, Some("nobody")]) {
        for page_size in [1, 3, 100] {
            let expected = reference.all_accounts(owner, page_size).await;
            assert_eq!(subject.all_accounts(owner, page_size).await, expected, "{owner:?}");
        }
    }
}
