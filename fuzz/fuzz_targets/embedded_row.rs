//! Rows of the embedded store: the first byte chooses the table. What is read is written as something that reads the same.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use bank_domain::{
    AccountId, AccountType, Command, Context, Currency, Entry, Labels, OpenAccount, Owner, Timestamp, decide,
};
use bank_store::{StoreError, fuzzing::embedded};
use libfuzzer_sys::fuzz_target;

static ID: LazyLock<AccountId> = LazyLock::new(|| "a".parse().expect("an id"));
static NEWEST: LazyLock<Entry> = LazyLock::new(|| {
    let now = Timestamp::try_from_unix_ms(1_700_000_000_000).expect("a time");
    let context = Context { now, ahead_max: Duration::MAX, request_id: None };
    let open = OpenAccount::try_new(
        ID.clone(),
        AccountType::Savings,
        Currency::USD,
        Owner::default(),
        Labels::default(),
        None,
    );
    let plan = decide(|_| None, &Command::OpenAccount(open.expect("valid")), &context).expect("opened");
    Entry::clone(&plan.primary.entry)
});

fuzz_target!(|data: &[u8]| {
    let [table, row @ ..] = data else { return };
    match table % 4 {
        0 => stable(row, |row| embedded::account(&ID, row, &NEWEST).map(|(_, row)| row)),
        1 => stable(row, embedded::entry),
        2 => stable(row, embedded::request),
        _ => {
            let Some((first, row)) = row.split_first_chunk() else { return };
            let first = u64::from_be_bytes(*first);
            if let Ok(entries) = embedded::log(first, row) {
                assert!((1..=row.len() / 2).contains(&entries.len()));
                assert!(entries.iter().zip(first..).all(|((position, _), expected)| *position == expected));
            }
        }
    }
});

fn stable(row: &[u8], read_and_write: impl Fn(&[u8]) -> Result<Vec<u8>, StoreError>) {
    match read_and_write(row) {
        Ok(written) => assert_eq!(read_and_write(&written), Ok(written.clone())),
        Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}"),
    }
}
