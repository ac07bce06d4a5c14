//! Selections and properties of histories.

use bank_domain::{EntryId, Timestamp};

use crate::conformance::{
    prelude::*,
    random::{RandomCommits, Seed, seed_from_environment},
};

pub async fn entries_are_selected_by_time_and_position(bank: Bank) {
    bank.apply(open("1")).await;
    for offset in [10, 10, 10, 20, 40] {
        bank.later(offset).apply(deposit("1", offset)).await;
    }
    let history = bank.history("1").await;
    assert_eq!(history.len(), 6);
    let at = |offset: i64| Some(bank.later(offset).now());
    let times = [None, Some(Timestamp::MIN), at(0), at(10), at(11), at(40), Some(Timestamp::MAX)];
    let mut places: Vec<_> = history.iter().map(|entry| Some(entry.id())).collect();
    places.extend([
        None,
        Some(EntryId { time: Timestamp::MIN, sequence: 1 }),
        Some(EntryId { time: Timestamp::UNIX_EPOCH, sequence: 0 }),
        Some(EntryId { time: bank.later(15).now(), sequence: 4 }),
        Some(EntryId { time: Timestamp::MAX, sequence: u64::MAX }),
    ]);
    bank.assert_selections("1", &times, &places).await;
}

pub async fn a_random_history_is_sound(bank: Bank) {
    let seed = Seed(seed_from_environment());
    let mut random = RandomCommits::new(seed.0);
    let mut applied = 0;
    for _ in 0..100 {
        let committed = bank.commit(&random.next_on(&bank).await).await;
        applied += committed.outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count();
    }
    assert!(applied > 100, "{applied}");
}
