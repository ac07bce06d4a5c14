//! How long request records are kept, and that expired ones take no space.

use std::{fs, time::Duration};

use bank_store::{
    Outcome,
    clock::{Clock as _, SystemClock},
    conformance::{Bank, commands::*},
    embedded::EmbeddedOptions,
};
use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};
use tokio::time::sleep;

use crate::{open, options};

/// Long enough for a slow machine.
const RETENTION: Duration = Duration::from_secs(2);
const RETENTION_MS: u64 = 2_000;
const REQUESTS: TableDefinition<(u64, &str, &str, &str), &[u8]> = TableDefinition::new("requests");

fn now_ms() -> u64 {
    u64::try_from(SystemClock.wall().unix_ms()).unwrap()
}

async fn sleep_until(unix_ms: u64) {
    sleep(Duration::from_millis(unix_ms.saturating_sub(now_ms()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_records_are_kept_for_the_retention_time() {
    for _ in 0..10 {
        if a_record_expires().await.is_some() {
            return;
        }
    }
    panic!("the machine is too slow for this test");
}

/// Returns `None` if the machine was too slow.
async fn a_record_expires() -> Option<()> {
    let directory = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { request_retention: RETENTION, ..options(&directory) };
    let bank = Bank::new(open(&options).await);
    bank.open_with("1", 0).await;
    // Just before a window ends, so that almost all of the retention time is in the next one.
    let window_end = (now_ms() / RETENTION_MS + 2) * RETENTION_MS;
    sleep_until(window_end - 300).await;
    let request = || named("r", deposit("1", 5));
    let proposal = bank.propose(request()).await;
    let written_at = now_ms();
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    (now_ms() < window_end).then_some(())?;

    for unix_ms in [window_end + 20, written_at + RETENTION_MS / 2, written_at + RETENTION_MS - 300] {
        sleep_until(unix_ms).await;
        let outcome = bank.submit(request()).await;
        let age_ms = now_ms() - written_at;
        (age_ms < RETENTION_MS).then_some(())?;
        assert!(matches!(outcome, Outcome::Replayed(_)), "{outcome:?} after {age_ms} ms");
    }

    // After two windows it has expired, whenever in its window it was written.
    sleep_until(window_end + RETENTION_MS + 1_020).await;
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Conflict, "the account has changed since");
    assert_eq!(bank.submit(request()).await, Outcome::Applied);
    assert_eq!(bank.balance("1").await, 10);
    Some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_records_are_removed_gradually() {
    let directory = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { request_retention: Duration::from_secs(1), ..options(&directory) };
    let store = open(&options).await;
    let bank = Bank::new(store);
    bank.open_with("1", 0).await;
    let commit = async |count: usize| {
        let mut view = bank.view(&["1"]).await;
        let proposals: Vec<_> = (0..count).map(|_| view.propose(deposit("1", 1))).collect();
        bank.commit(&proposals).await;
    };
    commit(1_000).await;
    sleep(Duration::from_secs(3)).await;
    // Each commit removes some dozens.
    for _ in 0..20 {
        commit(1).await;
    }
    drop(bank);
    let database = Database::open(&options.path).unwrap();
    let requests = database.begin_read().unwrap().open_table(REQUESTS).unwrap().len().unwrap();
    assert!((20..60).contains(&requests), "{requests} are left");
    drop(database);
    assert!(fs::metadata(&options.path).unwrap().len() < 4 << 20);
}
