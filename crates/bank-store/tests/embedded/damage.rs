//! Damaged rows and pages.

use std::{fs, sync::Arc};

use bank_domain::Account;
use bank_store::{
    EmbeddedStore, EntriesQuery, Outcome, Store, StoreError,
    conformance::{Bank, commands::*},
    embedded::EmbeddedOptions,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};
use tempfile::TempDir;

use crate::{open, options};

const ACCOUNTS: TableDefinition<(u32, &str), &[u8]> = TableDefinition::new("accounts");
const HEADS: TableDefinition<u64, &[u8]> = TableDefinition::new("heads");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const MILESTONES: TableDefinition<(&str, i64, u64), u64> = TableDefinition::new("milestones");
const OWNERS: TableDefinition<(&str, &str), ()> = TableDefinition::new("owners");
const REQUESTS: TableDefinition<(u64, &str, &str, &str), &[u8]> = TableDefinition::new("requests");

/// A closed bank with the accounts `good`, `fine` and `bad`, of 100 each. The log has their entries
/// at 1 and 2, 3 and 4, 5 and 6, each in a row of its own, and their heads are in one row.
async fn scene() -> (TempDir, EmbeddedOptions) {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    let bank = Bank::new(open(&options).await);
    for account_id in ["good", "fine", "bad"] {
        bank.apply(named("opening", open_owned(account_id))).await;
        bank.apply(named("deposit", deposit(account_id, 100))).await;
    }
    (directory, options)
}

fn open_owned(account_id: &str) -> Opening {
    bank_store::conformance::commands::open(account_id).owned_by("alice")
}

fn tamper(options: &EmbeddedOptions, change: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(&options.path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

/// The key of the row of an account. Its partition is not known here.
fn account_key(transaction: &WriteTransaction, account_id: &str) -> (u32, String) {
    let accounts = transaction.open_table(ACCOUNTS).unwrap();
    let mut keys = accounts.iter().unwrap().map(|row| row.unwrap().0.value().0);
    let partition = keys.find(|partition| accounts.get((*partition, account_id)).unwrap().is_some()).unwrap();
    (partition, account_id.to_owned())
}

fn set_account(transaction: &WriteTransaction, account_id: &str, row: &[u8]) {
    let (partition, id) = account_key(transaction, account_id);
    transaction.open_table(ACCOUNTS).unwrap().insert((partition, id.as_str()), row).unwrap();
}

/// Changes the row of heads. The head of `bad` is the third.
fn set_heads(transaction: &WriteTransaction, change: impl FnOnce(&mut Vec<u8>)) {
    let mut heads = transaction.open_table(HEADS).unwrap();
    let mut row = heads.get(0).unwrap().unwrap().value().to_vec();
    assert_eq!(row.len(), 3 * 8);
    change(&mut row);
    heads.insert(0, row.as_slice()).unwrap();
}

async fn problems(options: &EmbeddedOptions) -> Vec<String> {
    let checked = EmbeddedStore::check(options.clone()).await.unwrap();
    assert_eq!(checked.problem_count, checked.problems.len() as u64);
    checked.problems
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_account_does_not_affect_the_others() {
    for damage in [
        (|transaction| set_account(transaction, "bad", b"what is this")) as fn(&WriteTransaction),
        |transaction| set_heads(transaction, |row| row.truncate(2 * 8)),
        |transaction| drop(transaction.open_table(LOG).unwrap().remove(6).unwrap()),
    ] {
        assert_only_one_is_damaged(damage).await;
    }
}

async fn assert_only_one_is_damaged(damage: fn(&WriteTransaction)) {
    let (_directory, options) = scene().await;
    let before = Bank::new(open(&options).await);
    let mut proposals = Vec::new();
    for command in [deposit("bad", 1), transfer("bad", "good", 1), transfer("good", "bad", 1)] {
        proposals.push(before.propose(command).await);
    }
    drop(before);
    tamper(&options, damage);

    let store = open(&options).await;
    let bank = Bank::new(Arc::clone(&store));
    let assert_corrupt = |error: StoreError| match error {
        StoreError::Corrupt(what) => assert!(what.contains("account bad"), "{what}"),
        error => panic!("{error:?}"),
    };
    assert_corrupt(store.load(&[id("good"), id("bad")]).await.unwrap_err());
    assert_corrupt(store.entries(&EntriesQuery::all(id("bad"))).await.unwrap_err());
    let listed = |accounts: &[Account]| accounts.iter().map(|it| it.id.to_string()).collect::<Vec<_>>();
    assert_eq!(listed(&bank.all_accounts(Some("alice"), 10).await), ["fine", "good"]);
    assert_eq!(bank.all_accounts(None, 10).await.len(), 2);

    for proposal in &proposals {
        let commit = [
            bank.propose(deposit("fine", 1)).await,
            proposal.clone(),
            bank.propose(withdraw("good", 200)).await,
        ];
        let committed = store.commit(&commit).await.unwrap();
        assert_eq!(committed.outcomes[0], Outcome::Applied);
        assert!(matches!(&committed.outcomes[1], Outcome::Damaged(_)), "{:?}", committed.outcomes);
        let touches_good = proposal.decided_on.iter().any(|(id, _)| id.as_str() == "good");
        assert_eq!(committed.outcomes[2] == Outcome::Conflict, touches_good, "{:?}", committed.outcomes);
        assert!(!committed.current.contains_key(&id("bad")));
    }
    assert_eq!((bank.balance("good").await, bank.balance("fine").await), (100, 103));
    let replayed = bank.submit(named("deposit", deposit("good", 100))).await;
    assert!(matches!(replayed, Outcome::Replayed(_)), "{replayed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_history_is_reported() {
    for (damage, expected) in [
        (
            (|transaction| drop(transaction.open_table(LOG).unwrap().remove(5).unwrap()))
                as fn(&WriteTransaction),
            "account bad: its entry 1 is not in the log",
        ),
        (
            |transaction| {
                let mut log = transaction.open_table(LOG).unwrap();
                let other = log.get(3).unwrap().unwrap().value().to_vec();
                log.insert(5, other.as_slice()).unwrap();
            },
            "account bad: in the place of its entry 1 the log has entry 1 of account fine",
        ),
        (
            |transaction| {
                transaction.open_table(LOG).unwrap().insert(5, &b"what is this"[..]).unwrap();
            },
            "entry 5 of the log: its row is malformed",
        ),
    ] {
        let (_directory, options) = scene().await;
        tamper(&options, damage);
        let store = open(&options).await;
        let error = store.entries(&EntriesQuery::all(id("bad"))).await.unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt(what) if what.contains(expected)), "{error}");
        // A replay reports it as well.
        let bank = Bank::new(Arc::clone(&store));
        let outcome = bank.submit(named("opening", open_owned("bad"))).await;
        assert!(matches!(&outcome, Outcome::Damaged(what) if what.contains(expected)), "{outcome:?}");
        assert_eq!(bank.history("good").await.len(), 2);
        drop((store, bank));
        let problems = problems(&options).await;
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{problems:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_tables_that_disagree() {
    let (_directory, options) = scene().await;
    let checked = EmbeddedStore::check(options.clone()).await.unwrap();
    assert_eq!(checked.problems, [""; 0]);
    assert_eq!((checked.accounts, checked.entries, checked.request_records), (3, 6, 6));

    for (damage, expected) in [
        (
            (|transaction| {
                let mut log = transaction.open_table(LOG).unwrap();
                let mut row = log.get(6).unwrap().unwrap().value().to_vec();
                // The amount and the balance with it, side by side.
                let place = row.windows(2).position(|pair| pair == [100, 100]).unwrap();
                row[place] = 99;
                log.insert(6, row.as_slice()).unwrap();
            }) as fn(&WriteTransaction),
            "account bad: entry 2 was changed",
        ),
        (
            |transaction| drop(transaction.open_table(OWNERS).unwrap().remove(("alice", "bad")).unwrap()),
            "account bad: the list of its owner does not have it",
        ),
        (
            |transaction| {
                transaction.open_table(OWNERS).unwrap().insert(("alice", "ghost"), ()).unwrap();
            },
            "there are 4 accounts of owners, and 3 belong to accounts",
        ),
        (
            |transaction| {
                transaction.open_table(MILESTONES).unwrap().insert(("bad", 7, 64), 6).unwrap();
            },
            "account bad: in the place of its entry 64 the log has entry 2 of account bad",
        ),
        (
            |transaction| {
                transaction.open_table(MILESTONES).unwrap().insert(("ghost", 7, 64), 6).unwrap();
            },
            "there are 1 milestones, and 0 belong to accounts",
        ),
        (
            |transaction| {
                transaction.open_table(LOG).unwrap().insert(7, &b"what is this"[..]).unwrap();
            },
            "entry 7 of the log: its row is malformed",
        ),
        (
            |transaction| set_heads(transaction, |row| row[2 * 8] = 5),
            "there are 6 entries, and 5 belong to accounts",
        ),
        (
            |transaction| {
                let row = &b"what is this"[..];
                transaction.open_table(REQUESTS).unwrap().insert((1, "r", "bad", ""), row).unwrap();
            },
            "a request record: its row is malformed",
        ),
        (
            |transaction| {
                let (partition, id) = account_key(transaction, "bad");
                let mut accounts = transaction.open_table(ACCOUNTS).unwrap();
                let row = accounts.remove((partition, id.as_str())).unwrap().unwrap().value().to_vec();
                accounts.insert((partition + 1, id.as_str()), row.as_slice()).unwrap();
            },
            "account bad: it is in the wrong partition",
        ),
    ] {
        let (_directory, options) = scene().await;
        tamper(&options, damage);
        let problems = problems(&options).await;
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
    }
}

/// All data of a store, or the error.
async fn everything(options: &EmbeddedOptions) -> Result<Vec<String>, StoreError> {
    let store = EmbeddedStore::open(options.clone()).await?;
    let query = bank_store::AccountsQuery { owner: None, after: None, limit: usize::MAX };
    let mut everything = Vec::new();
    for account in store.accounts(&query).await? {
        everything.push(format!("{account:?}"));
        for entry in store.entries(&EntriesQuery::all(account.id)).await? {
            everything.push(format!("{entry:?}"));
        }
    }
    Ok(everything)
}

/// Nothing panics, and if a check finds no damage, all data is intact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_bytes_are_found() {
    let (directory, options) = scene().await;
    let bank = Bank::new(open(&options).await);
    for number in 0..200 {
        bank.apply(deposit("good", number + 1)).await;
    }
    drop(bank);
    let sound = everything(&options).await.unwrap();
    let file = fs::read(&options.path).unwrap();
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut found, mut harmless) = (0, 0);
    for number in 0..60 {
        let mut damaged = file.clone();
        // Every other time in the header.
        let place = random.random_range(0..if number % 2 == 0 { 512 } else { file.len() });
        for byte in damaged.iter_mut().skip(place).take(random.random_range(1..64)) {
            *byte ^= random.random_range(1..=255);
        }
        let options = EmbeddedOptions { path: directory.path().join("damaged"), ..options.clone() };
        fs::write(&options.path, &damaged).unwrap();
        let as_it_is = everything(&options).await;
        fs::write(&options.path, &damaged).unwrap();
        match EmbeddedStore::check(options.clone()).await {
            Ok(checked) if checked.problem_count == 0 => {
                harmless += 1;
                assert_eq!(as_it_is.as_ref(), Ok(&sound));
                assert_eq!(everything(&options).await.as_ref(), Ok(&sound));
            }
            Ok(_) | Err(StoreError::Corrupt(_) | StoreError::Misconfigured(_)) => found += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(found > 5 && harmless > 5, "{found} found, {harmless} harmless");
}
