//! Pages and properties of histories.

use bank_domain::{EntryId, Timestamp};

use crate::conformance::{
    bank::all_pages,
    prelude::*,
    random::{RandomCommits, Seed, seed_from_environment},
};

/// The entries that a query selects, found in the obvious way.
fn expected(history: &[Entry], query: &EntriesQuery) -> Vec<Entry> {
    let wanted = |entry: &&Entry| {
        query.start.is_none_or(|start| entry.time >= start)
            && query.end.is_none_or(|end| entry.time <= end)
            && query.after.is_none_or(|after| match query.order {
                Order::OldestFirst => entry.id() > after,
                Order::NewestFirst => entry.id() < after,
            })
    };
    let stretch = history.iter().filter(wanted).cloned();
    match query.order {
        Order::OldestFirst => stretch.take(query.limit).collect(),
        Order::NewestFirst => stretch.rev().take(query.limit).collect(),
    }
}

/// Entries at 0, 10, 10, 10, 20, 40 ms after the epoch of the case.
async fn with_history(bank: &Bank) -> Vec<Entry> {
    bank.apply(open("1")).await;
    for offset in [10, 10, 10, 20, 40] {
        bank.later(offset).apply(deposit("1", offset)).await;
    }
    let history = bank.history("1").await;
    assert_eq!(history.len(), 6);
    history
}

pub async fn entries_are_selected_by_time_and_position(bank: Bank) {
    let history = with_history(&bank).await;
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
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for (start, end) in times.iter().flat_map(|start| times.map(|end| (*start, end))) {
            for &after in &places {
                for limit in [2, usize::MAX] {
                    let query = EntriesQuery { account_id: id("1"), start, end, after, order, limit };
                    assert_eq!(bank.entries(&query).await, expected(&history, &query), "{query:?}");
                }
            }
        }
        let nothing = EntriesQuery { order, limit: 0, ..EntriesQuery::all(id("1")) };
        assert_eq!(bank.entries(&nothing).await, []);
    }
}

pub async fn a_history_is_read_in_pages(bank: Bank) {
    let history = with_history(&bank).await;
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for limit in 1..=7 {
            let query = EntriesQuery { order, limit, ..EntriesQuery::all(id("1")) };
            let mut read = in_pages(&bank, query).await;
            if order == Order::NewestFirst {
                read.reverse();
            }
            assert_eq!(read, history);
        }
    }

    // New entries do not change the following pages.
    let query = EntriesQuery { order: Order::NewestFirst, limit: 2, ..EntriesQuery::all(id("1")) };
    let newest = bank.entries(&query).await;
    bank.later(100).apply(deposit("1", 1)).await;
    let rest = in_pages(&bank, EntriesQuery { after: Some(newest[1].id()), ..query }).await;
    let read: Vec<_> = newest.into_iter().chain(rest).rev().collect();
    assert_eq!(read, history);
}

async fn in_pages(bank: &Bank, query: EntriesQuery) -> Vec<Entry> {
    let page = async |after: Option<EntryId>| {
        let after = after.or(query.after);
        bank.entries(&EntriesQuery { after, ..query.clone() }).await
    };
    all_pages(query.limit, Entry::id, page).await
}

pub async fn a_history_is_a_chain(bank: Bank) {
    bank.open_with("2", 50).await;
    let opening = open("1").checking(10).owned_by("alice").labelled("branch", "1").labelled("a", "");
    let mut written = vec![bank.apply(named("r0", opening)).await];
    for number in 1..=20_i64 {
        let bank = bank.later(number / 3);
        let command = match number % 4 {
            0 => transfer("1", "2", 1),
            1 => described(deposit("1", number), &format!("number {number}")),
            2 => transfer("2", "1", 2),
            _ => limit("1", number),
        };
        bank.apply(named(&format!("r{number}"), command)).await;
        written.push(bank.newest("1").await);
        assert_eq!(bank.account("1").await.head, written[written.len() - 1].hash);
    }
    // Each hash follows from the one before it, and the first from the account.
    let history = bank.history("1").await;
    assert_eq!(history, written);
    let mut previous = bank.account("1").await.genesis();
    for entry in &history {
        assert_eq!(entry.hash, entry.chained_to(&previous), "{entry:?}");
        previous = entry.hash;
    }

    // A replay has the hash of the original entry, however long the history has become.
    let Outcome::Replayed(RecordedOutcome::Entry(entry)) =
        bank.submit(named("r1", described(deposit("1", 1), "number 1"))).await
    else {
        panic!("the request has no record");
    };
    assert_eq!(*entry, history[1]);
}

pub async fn time_never_decreases(bank: Bank) {
    bank.later(1_000).open_with("ahead", 100).await;
    bank.open_with("behind", 100).await;
    let ahead = bank.account("ahead").await.updated_at;

    // If the clock is behind, an entry has the time of the previous one.
    assert_eq!(bank.apply(deposit("ahead", 1)).await.time, ahead);
    // Both sides of a transfer have the same time, whichever account is ahead.
    assert_eq!(bank.apply(transfer("behind", "ahead", 1)).await.time, ahead);
    assert_eq!(bank.account("behind").await.updated_at, ahead);
    assert_eq!(bank.apply(transfer("ahead", "behind", 1)).await.time, ahead);
    assert_eq!(bank.apply(freeze("behind")).await.time, ahead);
    let later = bank.later(2_000).apply(deposit("ahead", 1)).await;
    assert!(later.time > ahead);
    assert_eq!(bank.newest("ahead").await, later);
}

pub async fn times_at_the_limits_are_read_back(bank: Bank) {
    for (account_id, time) in [("first", Timestamp::UNIX_EPOCH), ("last", Timestamp::MAX)] {
        let bank = bank.at(time.unix_ms());
        bank.open_with(account_id, 5).await;
        let account = bank.account(account_id).await;
        assert_eq!((account.opened_at, account.updated_at), (time, time));
        let history = bank.history(account_id).await;
        assert_eq!(history.iter().map(|entry| entry.time).collect::<Vec<_>>(), [time, time]);
        let query = EntriesQuery { start: Some(time), end: Some(time), ..EntriesQuery::all(id(account_id)) };
        assert_eq!(bank.entries(&query).await, history);
    }
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
