//! Export of request records, and imports.

use std::{sync::Arc, time::Duration};

use bank_domain::{AccountId, EntryId};

use crate::{
    Backup, HistoryPart, ImportBatch, ImportId, ImportStart, MemoryStore, RequestKey, RequestRecord,
    RequestsQuery, StoreError,
    conformance::{
        bank::{all_pages, is_unavailable},
        prelude::*,
    },
};

fn backup(bank: &Bank) -> &dyn Backup {
    bank.store().backup().unwrap()
}

async fn requests(bank: &Bank, query: &RequestsQuery) -> Vec<(RequestKey, RequestRecord)> {
    retry(|| backup(bank).requests(query)).await
}

async fn all_requests(bank: &Bank) -> Vec<(RequestKey, RequestRecord)> {
    requests(bank, &RequestsQuery { limit: usize::MAX, ..RequestsQuery::default() }).await
}

/// An import in progress.
struct Import<'a> {
    backup: &'a dyn Backup,
    id: ImportId,
}

impl<'a> Import<'a> {
    async fn begin(bank: &'a Bank) -> Self {
        let (backup, id) = (backup(bank), ImportId::random());
        // Again, as after a lost reply.
        for _ in 0..2 {
            assert_eq!(retry(|| backup.begin_import(&id)).await, ImportStart::Started);
        }
        Self { backup, id }
    }

    async fn write(&self, batch: &ImportBatch) {
        retry(|| self.backup.import(&self.id, batch)).await;
    }

    async fn finish(&self) {
        retry(|| self.backup.finish_import(&self.id)).await;
    }

    async fn abandon(&self) {
        retry(|| self.backup.abandon_import(&self.id)).await;
    }

    /// Checks that the bank is not marked with this import.
    async fn assert_unfit(&self, batch: &ImportBatch) {
        assert_unfit(|| self.backup.import(&self.id, batch)).await;
        assert_unfit(|| self.backup.finish_import(&self.id)).await;
        assert_unfit(|| self.backup.abandon_import(&self.id)).await;
    }
}

/// Checks that a call fails because of an import, however often the store fails before.
async fn assert_unfit<T, F: Future<Output = Result<T, StoreError>>>(call: impl Fn() -> F) {
    loop {
        match call().await {
            Err(StoreError::Unfit(_)) => return,
            Err(error) if is_unavailable(&error) => {}
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("the call succeeded"),
        }
    }
}

/// An empty bank in memory with the same placement.
fn memory_bank(like: &Bank) -> Bank {
    let memory = MemoryStore::new(Duration::from_hours(24));
    Bank::new(Arc::new(memory.with_placement(like.store().placement())))
}

/// A bank in memory with requests of two callers, some of them rejected.
async fn original(like: &Bank) -> Bank {
    let bank = memory_bank(like);
    for number in 0..20 {
        let account_id = format!("account-{number}");
        bank.apply(named("open", open(&account_id).checking(1_000).owned_by("alice"))).await;
        bank.later(number).apply(named("deposit", deposit(&account_id, 1_000 + number))).await;
    }
    bank.later(30).apply(named("rent", transfer("account-3", "account-4", 500))).await;
    bank.later(31).called_by("bob smith").apply(named("deposit", deposit("account-3", 1))).await;
    bank.submit(named("too-much", withdraw("account-3", 1_000_000))).await;
    bank.submit(named("nobody", deposit("nobody", 1))).await;
    bank.later(32).apply(freeze("account-6")).await;
    bank
}

/// Checks that two banks have the same data.
async fn assert_equal(bank: &Bank, original: &Bank) {
    for owner in [None, Some("alice"), Some("bob")] {
        assert_eq!(bank.all_accounts(owner, 1_000).await, original.all_accounts(owner, 1_000).await);
    }
    for account in original.all_accounts(None, 1_000).await {
        let query = EntriesQuery::all(account.id);
        assert_eq!(bank.entries(&query).await, original.entries(&query).await);
    }
    assert_eq!(all_requests(bank).await, all_requests(original).await);
}

/// All data of a bank, as one batch.
async fn everything(bank: &Bank) -> ImportBatch {
    let mut histories = Vec::new();
    for account in bank.all_accounts(None, 1_000).await {
        let entries = bank.entries(&EntriesQuery::all(account.id.clone())).await;
        histories.push(HistoryPart { account, entries });
    }
    ImportBatch { histories, requests: all_requests(bank).await }
}

pub async fn request_records_are_read_in_order_and_in_pages(bank: Bank) {
    for number in 0..12 {
        bank.apply(named("open", open(&format!("account-{number}")))).await;
    }
    for (caller, request) in [("", "b"), ("alice", "a"), ("bob smith", "a"), ("", "~"), ("", "c")] {
        bank.called_by(caller).apply(named(request, deposit("account-7", 1))).await;
    }
    bank.submit(named("much", withdraw("account-7", 1_000))).await;
    bank.submit(named("nobody", deposit("nobody", 1))).await;

    let all = all_requests(&bank).await;
    assert_eq!(all.len(), 12 + 5 + 2);
    let placement = bank.store().placement();
    assert!(all.is_sorted_by_key(|it| (placement.of(&it.0.account_id), it.0.clone())));
    let of = |name: &str| all.iter().filter(|it| it.0.account_id == id(name)).collect::<Vec<_>>();
    let names: Vec<_> =
        of("account-7").iter().map(|it| (it.0.request_id.as_str(), it.0.caller.as_str())).collect();
    let expected =
        [("a", "alice"), ("a", "bob smith"), ("b", ""), ("c", ""), ("much", ""), ("open", ""), ("~", "")];
    assert_eq!(names, expected);
    assert!(matches!(of("account-7")[4].1.outcome, RecordedOutcome::Rejected(_)));
    let opening = bank.history("account-7").await[0].id();
    assert_eq!(of("account-7")[5].1.outcome, RecordedOutcome::Entry(opening));
    assert!(matches!(of("nobody")[0].1.outcome, RecordedOutcome::Rejected(_)));

    for limit in [0, 1, 4, 19, 20] {
        let page =
            async |after| requests(&bank, &RequestsQuery { after, limit, ..RequestsQuery::default() }).await;
        let pages = all_pages(limit, |(key, _): &(RequestKey, RequestRecord)| key.clone(), page).await;
        assert_eq!(pages, if limit == 0 { vec![] } else { all.clone() }, "{limit}");
    }

    let place = |id: &AccountId| (placement.of(id), id.clone());
    // A range of accounts, whether or not those at its ends have records.
    for (after, through) in [("account-7", "account-2"), ("account-2", "account-7"), ("ghost", "account-7")] {
        let (lowest, highest) = (place(&id(after)), place(&id(through)));
        let (after_account, through_account) = (Some(id(after)), Some(id(through)));
        let query = RequestsQuery { after_account, through_account, after: None, limit: usize::MAX };
        let is_between = |place: &(u32, AccountId)| *place > lowest && *place <= highest;
        let expected = all.iter().filter(|it| is_between(&place(&it.0.account_id))).cloned();
        assert_eq!(requests(&bank, &query).await, expected.collect::<Vec<_>>(), "{after} {through}");
    }
}

pub async fn an_imported_bank_equals_the_original(bank: Bank) {
    let original = original(&bank).await;
    let batch = everything(&original).await;
    let import = Import::begin(&bank).await;
    import.write(&batch).await;
    import.finish().await;

    assert_equal(&bank, &original).await;
    assert!(bank.account_count().await.is_none_or(|count| count == 20));

    // Requests keep their outcomes, and new ones get theirs.
    for bank in [&bank, &original] {
        let again = bank.submit(named("rent", transfer("account-3", "account-4", 500))).await;
        assert!(matches!(again, Outcome::Replayed(_)), "{again:?}");
        let again = bank.submit(named("nobody", deposit("nobody", 1))).await;
        assert!(matches!(again, Outcome::Replayed(_)), "{again:?}");
        let other = bank.submit(named("rent", transfer("account-3", "account-4", 501))).await;
        assert_eq!(other, Outcome::RequestIdReused);
    }
    bank.later(99).apply(deposit("account-3", 7)).await;
    assert_eq!(bank.balance("account-3").await, 1_003 - 500 + 1 + 7);
    bank.apply(open("another")).await;
}

pub async fn a_history_is_imported_in_parts(bank: Bank) {
    let original = original(&bank).await;
    for number in 0..200 {
        original.later(100 + number).apply(named(&format!("n{number}"), deposit("account-1", 1))).await;
    }
    let ImportBatch { histories, requests } = everything(&original).await;
    let import = Import::begin(&bank).await;
    let mut batches = Vec::new();
    for HistoryPart { account, entries } in histories {
        batches.extend(entries.chunks(33).map(|part| ImportBatch {
            histories: vec![HistoryPart { account: account.clone(), entries: part.to_vec() }],
            requests: Vec::new(),
        }));
    }
    batches.extend(
        requests.chunks(20).map(|part| ImportBatch { histories: Vec::new(), requests: part.to_vec() }),
    );
    for batch in &batches {
        import.write(batch).await;
        // Again, as after a lost reply.
        import.write(batch).await;
    }
    import.finish().await;
    import.finish().await;
    assert_equal(&bank, &original).await;
    let again = bank.submit(named("n77", deposit("account-1", 1))).await;
    assert!(matches!(again, Outcome::Replayed(_)), "{again:?}");
}

pub async fn a_bank_is_unavailable_during_an_import(bank: Bank) {
    let original = original(&bank).await;
    let mut batch = everything(&original).await;
    let stale = bank.propose(open("other")).await;
    let import = Import::begin(&bank).await;
    for _ in 0..2 {
        import.write(&batch).await;
        batch = ImportBatch::default();
        let store = bank.store();
        let (proposals, ids) = ([stale.clone()], [id("account-1")]);
        assert_unfit(|| store.commit(&proposals)).await;
        assert_unfit(|| store.load(&ids)).await;
        let history = EntriesQuery::all(id("account-1"));
        assert_unfit(|| store.entries(&history)).await;
        let query = AccountsQuery { limit: 10, ..AccountsQuery::default() };
        assert_unfit(|| store.accounts(&query)).await;
        assert_unfit(|| store.account_ids(None, 10)).await;
        assert_unfit(|| store.account_count()).await;
        assert_unfit(|| store.health()).await;
        let query = RequestsQuery { limit: 10, ..RequestsQuery::default() };
        assert_unfit(|| backup(&bank).requests(&query)).await;
    }
    import.finish().await;
    bank.store().health().await.unwrap();
    assert_eq!(bank.all_accounts(None, 1_000).await.len(), 20);
}

pub async fn a_bank_with_accounts_accepts_no_import(bank: Bank) {
    bank.open_with("a", 100).await;
    let import = Import { backup: backup(&bank), id: ImportId::random() };
    assert_eq!(retry(|| import.backup.begin_import(&import.id)).await, ImportStart::NotEmpty);
    import.assert_unfit(&everything(&original(&bank).await).await).await;
    assert_eq!(bank.balance("a").await, 100);
    assert_eq!(bank.all_accounts(None, 10).await.len(), 1);
}

pub async fn an_import_replaces_an_interrupted_one(bank: Bank) {
    let interrupted = everything(&original(&bank).await).await;
    let first = Import::begin(&bank).await;
    first.write(&interrupted).await;

    let other = memory_bank(&bank);
    other.apply(named("open", open("account-3").owned_by("bob"))).await;
    let batch = everything(&other).await;
    let second = Import::begin(&bank).await;
    first.assert_unfit(&interrupted).await;
    second.write(&batch).await;
    second.finish().await;

    // Nothing is left of the first import.
    assert_equal(&bank, &other).await;
    assert_eq!(bank.history("account-4").await, []);
}

pub async fn an_abandoned_import_leaves_an_empty_bank(bank: Bank) {
    let batch = everything(&original(&bank).await).await;
    let import = Import::begin(&bank).await;
    import.write(&batch).await;
    import.abandon().await;
    import.abandon().await;
    assert_equal(&bank, &memory_bank(&bank)).await;
    assert_eq!(bank.history("account-3").await, []);
    bank.apply(open("account-3")).await;
}

pub async fn a_record_of_a_missing_entry_is_not_imported(bank: Bank) {
    let batch = everything(&original(&bank).await).await;
    let named_by =
        batch.requests.iter().position(|it| matches!(it.1.outcome, RecordedOutcome::Entry(_))).unwrap();
    let RecordedOutcome::Entry(entry) = batch.requests[named_by].1.outcome else { unreachable!() };
    let later = bank.later(1).now();
    for (place, account_id) in [
        (EntryId { sequence: 99, ..entry }, None),
        (EntryId { time: later, ..entry }, None),
        (EntryId { sequence: 0, ..entry }, None),
        (entry, Some("ghost")),
    ] {
        let mut batch = batch.clone();
        batch.requests[named_by].1.outcome = RecordedOutcome::Entry(place);
        if let Some(account_id) = account_id {
            batch.requests[named_by].0.account_id = id(account_id);
        }
        let import = Import::begin(&bank).await;
        let error = import.backup.import(&import.id, &batch).await.unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt(what) if what.contains("has no entry")), "{error}");
        import.abandon().await;
    }
    assert_eq!(bank.all_accounts(None, 1_000).await, []);
}

pub async fn expired_records_are_not_imported(bank: Bank) {
    let mut batch = everything(&original(&bank).await).await;
    batch.requests[1].1.recorded_at = 1_000;
    let import = Import::begin(&bank).await;
    import.write(&batch).await;
    import.finish().await;
    batch.requests.remove(1);
    assert_eq!(all_requests(&bank).await, batch.requests);
}
