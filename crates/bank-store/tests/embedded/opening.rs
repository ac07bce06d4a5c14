//! Which files can be opened, and the errors of the others.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use bank_store::{
    EmbeddedStore, StoreError,
    conformance::{Bank, commands::*},
    embedded::EmbeddedOptions,
};
use redb::{Database, TableDefinition};
use tokio::task::JoinSet;

use crate::{open, options};

const META: TableDefinition<&str, &str> = TableDefinition::new("meta");

async fn opening_error(options: &EmbeddedOptions) -> StoreError {
    EmbeddedStore::open(options.clone()).await.err().unwrap()
}

fn assert_misconfigured(error: &StoreError, parts: &[&str]) {
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error:?}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reopened_bank_has_all_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { path: directory.path().join("a/b/bank.redb"), ..options(&directory) };
    for round in 1..=3 {
        let store = open(&options).await;
        let bank = Bank::new(Arc::clone(&store));
        if round == 1 {
            bank.open_with("1", 0).await;
        }
        let entry = bank.apply(named(&format!("r{round}"), deposit("1", 5))).await;
        assert_eq!((bank.balance("1").await, bank.newest("1").await), (5 * round, entry));
        for earlier in 1..=round {
            let again = bank.submit(named(&format!("r{earlier}"), deposit("1", 5))).await;
            assert!(matches!(again, bank_store::Outcome::Replayed(_)), "{again:?}");
        }
        bank.assert_sound().await;
        if round == 1 {
            // The other rounds only drop the store.
            store.close().await;
            assert!(matches!(store.load(&[id("1")]).await, Err(StoreError::Unavailable(_))));
            assert!(matches!(store.health().await, Err(StoreError::Unavailable(_))));
        }
    }
    assert_eq!(EmbeddedStore::check(options).await.unwrap().problems, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_at_a_time_can_open_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    // Of concurrent attempts to create the file, one succeeds.
    let mut openings = JoinSet::new();
    for _ in 0..8 {
        openings.spawn(EmbeddedStore::open(options.clone()));
    }
    let (opened, rejections): (Vec<_>, Vec<_>) =
        openings.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 1);
    for rejection in rejections {
        assert_misconfigured(&rejection.err().unwrap(), &["bank.redb is open in another bank-server"]);
    }
    assert_misconfigured(&opening_error(&options).await, &["another file with store.embedded.path"]);
    let error = EmbeddedStore::check(options.clone()).await.unwrap_err();
    assert_misconfigured(&error, &["is open in another bank-server"]);

    drop(opened);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["bank.redb"]);
    open(&options).await;
}

#[tokio::test]
async fn a_bank_with_other_fixed_settings_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    let hours_24 = Duration::from_hours(24);
    drop(open(&EmbeddedOptions { partitions: 16, request_retention: hours_24, ..options.clone() }).await);
    // The number of partitions is for new banks; this one keeps its own.
    assert_eq!(open(&options).await.placement().partitions(), 16);

    let long = EmbeddedOptions { request_retention: 32 * hours_24, ..options.clone() };
    assert_misconfigured(&opening_error(&long).await, &["windows of 86400 s", "2678400 at most"]);
    drop(open(&EmbeddedOptions { request_retention: 31 * hours_24, ..options.clone() }).await);

    let set = |field: &str, value: &str| {
        let database = Database::open(&options.path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(field, value).unwrap();
        transaction.commit().unwrap();
    };
    set("partitions", "sixteen");
    let error = opening_error(&options).await;
    assert!(matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("partitions"), "{error}");
    set("layout", "1");
    assert_misconfigured(
        &opening_error(&options).await,
        &["has layout \"1\", but this server needs \"2\" or \"3\""],
    );
    for partitions in [0, 16_385] {
        let error = opening_error(&EmbeddedOptions { partitions, ..options.clone() }).await;
        assert_misconfigured(&error, &["store.partitions must be from 1 to 16384"]);
    }
}

#[tokio::test]
async fn a_file_without_a_bank_is_refused_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    for content in [&b""[..], b"What is this?", &[0; 10_000]] {
        fs::write(&options.path, content).unwrap();
        assert_misconfigured(&opening_error(&options).await, &["bank.redb is not a file of a bank"]);
        assert_eq!(fs::read(&options.path).unwrap(), content);
    }
    fs::remove_file(&options.path).unwrap();
    drop(Database::create(&options.path).unwrap());
    assert_misconfigured(&opening_error(&options).await, &["is a database, but not of a bank"]);
}

#[tokio::test]
async fn an_unusable_path_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    // Not even root can write to /sys.
    for path in
        [PathBuf::from("/sys/bank.redb"), "/sys/bank/bank.redb".into(), file.join("bank.redb"), "/".into()]
    {
        let error = opening_error(&EmbeddedOptions { path, ..options(&directory) }).await;
        assert_misconfigured(&error, &["cannot be used: ", "choose another place with store.embedded.path"]);
    }
    let error = EmbeddedStore::check(options(&directory)).await.unwrap_err();
    assert_misconfigured(&error, &["bank.redb cannot be used: No such file"]);
    assert!(!options(&directory).path.exists());
}

#[tokio::test]
async fn writes_are_refused_before_the_disk_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    Bank::new(open(&options).await).open_with("1", 5).await;

    let bank = Bank::new(open(&EmbeddedOptions { free_bytes_min: u64::MAX, ..options }).await);
    let proposal = bank.propose(deposit("1", 5)).await;
    for error in
        [bank.store().commit(&[proposal]).await.unwrap_err(), bank.store().health().await.unwrap_err()]
    {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains("store.embedded.free_bytes_min"), "{error}");
    }
    assert_eq!(bank.balance("1").await, 5);
}

#[tokio::test]
async fn a_file_that_was_moved_away_accepts_no_writes() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    let bank = Bank::new(open(&options).await);
    bank.open_with("1", 5).await;
    let aside = directory.path().join("aside");
    fs::rename(&options.path, &aside).unwrap();
    let proposal = bank.propose(deposit("1", 5)).await;
    let commit = async || bank.store().commit(std::slice::from_ref(&proposal)).await;
    for replaced in [false, true] {
        if replaced {
            fs::copy(&aside, &options.path).unwrap();
        }
        let error = commit().await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains("is not the file any more that was opened"), "{error}");
        assert_eq!(bank.store().health().await, Err(error));
    }
    fs::rename(&aside, &options.path).unwrap();
    commit().await.unwrap();
    assert_eq!((bank.store().health().await, bank.balance("1").await), (Ok(()), 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_keeps_its_secret_and_gets_one_if_an_earlier_version_has_created_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    let secret = async || {
        let store = open(&options).await;
        let secret = store.secret().clone();
        store.close().await;
        secret
    };
    let first = secret().await;
    assert!(secret().await == first);

    let change = |value: Option<&str>| {
        let transaction = Database::open(&options.path).unwrap();
        let transaction = transaction.begin_write().unwrap();
        {
            let mut meta = transaction.open_table(META).unwrap();
            match value {
                Some(value) => meta.insert("secret", value).unwrap().map(drop),
                None => meta.remove("secret").unwrap().map(drop),
            };
        }
        transaction.commit().unwrap();
    };
    change(None);
    let second = secret().await;
    assert!(second != first && secret().await == second);
    change(Some("guess"));
    let error = opening_error(&options).await;
    assert!(matches!(&error, StoreError::Corrupt(reason) if reason.contains("secret")), "{error:?}");
}
