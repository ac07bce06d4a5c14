//! Random work on two stores, which must answer alike.

use std::sync::Arc;

use bank_domain::{Entry, EntryId};

use super::{
    bank::Bank,
    commands::id,
    random::{ACCOUNT_IDS, OWNERS, RandomWork, Seed},
};
use crate::{EntriesQuery, Order, Outcome, Store};

/// After how many commits everything readable is compared.
const COMMITS_PER_COMPARISON: usize = 50;

/// Sends the same random commits to two empty stores, and compares every answer, and now and then
/// everything that can be read.
///
/// # Panics
/// Where the stores differ.
pub async fn trial(reference: Arc<dyn Store>, subject: Arc<dyn Store>, seed: u64, commits: usize) {
    let seed = Seed(seed);
    let (reference, subject) = (Bank::new(reference), Bank::new(subject));
    let mut work = RandomWork::new(seed.0);
    let mut met = Met::default();
    for number in 1..=commits {
        let proposals = work.next_on(&reference).await;
        let expected = reference.commit(&proposals).await;
        let found = subject.commit(&proposals).await;
        assert_eq!(found.outcomes, expected.outcomes, "commit {number}: {proposals:#?}");
        assert_eq!(found.current, expected.current, "commit {number}: {proposals:#?}");
        expected.outcomes.iter().for_each(|outcome| met.note(outcome));
        if number % COMMITS_PER_COMPARISON == 0 || number == commits {
            compare(&reference, &subject, &mut work).await;
        }
    }
    reference.assert_sound().await;
    subject.assert_sound().await;
    assert!(commits < 200 || met.everything(), "the work was too tame: {met:?}");
}

/// Which outcomes there have been.
#[derive(Debug, Default)]
struct Met {
    applied: usize,
    conflict: usize,
    replayed: usize,
    reused: usize,
    abandoned: usize,
}

impl Met {
    fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Applied => self.applied += 1,
            Outcome::Conflict => self.conflict += 1,
            Outcome::Replayed(_) => self.replayed += 1,
            Outcome::RequestIdReused => self.reused += 1,
            Outcome::Abandoned => self.abandoned += 1,
            Outcome::Damaged(what) => panic!("{what}"),
        }
    }

    fn everything(&self) -> bool {
        let Self { applied, conflict, replayed, reused, abandoned } = *self;
        [applied, conflict, replayed, reused, abandoned].iter().all(|count| *count > 5)
    }
}

async fn compare(reference: &Bank, subject: &Bank, work: &mut RandomWork) {
    let ids = ACCOUNT_IDS.map(id);
    assert_eq!(subject.load(&ids).await, reference.load(&ids).await);

    for account_id in &ids {
        let whole = EntriesQuery::all(account_id.clone());
        let history = reference.entries(&whole).await;
        assert_eq!(subject.entries(&whole).await, history);
        for query in queries(&whole, &history, reference, work) {
            assert_eq!(subject.entries(&query).await, reference.entries(&query).await, "{query:?}");
        }
    }

    for owner in OWNERS.map(Some).into_iter().chain([None, Some("stranger")]) {
        for page_size in [1, 3, 100] {
            let expected = reference.all_accounts(owner, page_size).await;
            assert_eq!(subject.all_accounts(owner, page_size).await, expected, "{owner:?}");
        }
    }
}

/// Stretches and pages of one history, in both orders.
fn queries(whole: &EntriesQuery, history: &[Entry], bank: &Bank, work: &mut RandomWork) -> Vec<EntriesQuery> {
    let mut places: Vec<Option<EntryId>> = vec![None];
    places.extend(history.iter().step_by(1 + history.len() / 4).map(|entry| Some(entry.id())));
    let mut queries = Vec::new();
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for &after in &places {
            let instants = work.instants(bank, 2);
            for (start, end) in [(None, None), (Some(instants[0]), None), (None, Some(instants[1]))] {
                for limit in [0, 3, usize::MAX] {
                    queries.push(EntriesQuery { start, end, after, order, limit, ..whole.clone() });
                }
            }
            let (start, end) = (Some(instants[0]), Some(instants[1]));
            queries.push(EntriesQuery { start, end, after, order, ..whole.clone() });
        }
    }
    queries
}
