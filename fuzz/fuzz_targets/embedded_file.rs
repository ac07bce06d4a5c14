//! The file of the embedded store, damaged: a list of places, each with the bytes that are written there.
//!
//! A damaged file is an error, or is read as what it was, or as another bank. It is never a panic of the store. redb may
//! panic; the store reports such a file as damaged.

#![no_main]

use std::{
    fs, panic,
    sync::{Arc, LazyLock, Once},
};

use bank_domain::AccountId;
use bank_store::{
    AccountsQuery, EmbeddedStore, EntriesQuery, Store as _, StoreError,
    conformance::{Bank, commands},
    embedded::EmbeddedOptions,
};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Unit of damage: what is written begins at a multiple of it, so that fields are hit as a whole.
const PLACE_BYTES: usize = 4;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// A closed bank.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| RUNTIME.block_on(sound()));

/// Where the file has pages that are not empty: damage elsewhere is seldom noticed.
static USED: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let pages = SOUND.chunks(4096).enumerate();
    pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0)).map(|(number, _)| number * 4096).collect()
});

/// A directory in memory, where the system has one, and options for a file in it.
fn options() -> (TempDir, EmbeddedOptions) {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let path = directory.path().join("bank.redb");
    let options =
        EmbeddedOptions { path, cache_bytes_max: 1 << 20, free_bytes_min: 0, ..EmbeddedOptions::default() };
    (directory, options)
}

async fn sound() -> Vec<u8> {
    let (_directory, options) = options();
    let bank = Bank::new(Arc::new(EmbeddedStore::open(options.clone()).await.expect("a new bank")));
    for account_id in ["1", "2", "3"] {
        bank.open_with(account_id, 1_000).await;
        bank.apply(commands::named(account_id, commands::deposit(account_id, 7))).await;
    }
    bank.apply(commands::transfer("1", "2", 5)).await;
    bank.store().close().await;
    drop(bank);
    fs::read(options.path).expect("the file")
}

/// Aborts on a panic, unless redb is where it comes from.
fn abort_on_own_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let abort = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let file = info.location().map_or("", |location| location.file());
            if !file.contains("/redb-") {
                abort(info);
            } else if std::env::var_os("BANK_FUZZ_SHOW_REDB").is_some() {
                eprintln!("redb panicked: {info}");
            }
        }));
    });
}

fuzz_target!(|data: &[u8]| {
    abort_on_own_panics();
    let mut contents = SOUND.clone();
    let mut rest = data;
    while let Some(([page, place, place_low, length], more)) = rest.split_first_chunk() {
        let page = USED[usize::from(*page) % USED.len()];
        let start =
            page + usize::from(u16::from_be_bytes([*place, *place_low])) % (4096 / PLACE_BYTES) * PLACE_BYTES;
        let (bytes, more) = more.split_at(usize::from(*length).min(more.len()));
        let end = (start + bytes.len()).min(contents.len());
        contents[start..end].copy_from_slice(&bytes[..end - start]);
        rest = more;
    }
    RUNTIME.block_on(read(contents));
});

async fn read(contents: Vec<u8>) {
    let (_directory, options) = options();
    fs::write(&options.path, &contents).expect("a file");
    let checked = EmbeddedStore::check(options.clone()).await;
    // A check may repair the file.
    fs::write(&options.path, &contents).expect("a file");
    let store = match EmbeddedStore::open(options).await {
        Ok(store) => store,
        Err(error) => return assert!(is_of_the_file(&error), "{error:?}"),
    };
    let mut is_sound = true;
    for id in ["1", "2", "3"] {
        let id: AccountId = id.parse().expect("an id");
        is_sound &= expect_damage(store.load(&[id.clone()]).await);
        is_sound &= expect_damage(store.entries(&EntriesQuery::all(id)).await);
    }
    is_sound &= expect_damage(store.accounts(&AccountsQuery { owner: None, after: None, limit: 10 }).await);
    store.close().await;
    if checked.is_ok_and(|checked| checked.problem_count == 0) {
        assert!(is_sound, "the check found nothing wrong with a file that cannot be read");
    }
}

/// Whether it could be read; anything but damage is a fault.
fn expect_damage<T>(read: Result<T, StoreError>) -> bool {
    match read {
        Ok(_) => true,
        Err(StoreError::Corrupt(_)) => false,
        Err(error) => panic!("{error:?}"),
    }
}

fn is_of_the_file(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt(_) | StoreError::Misconfigured(_))
}
