//! Clocks that jump, run slow, or were wrong when an entry was written.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command as Shell, sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Command, Rejection, Timestamp};
use bank_server::{
    audit::{self, Problem},
    ledger::{Error, Executed, Ledger, LedgerOptions},
    metrics::Metrics,
};
use bank_store::{
    EmbeddedStore, EntriesQuery, MemoryStore, Store, StoreError,
    clock::{SimulatedClock, Timekeeper},
    embedded::EmbeddedOptions,
};
use tokio::sync::mpsc;
use tonic::Code;

use crate::{
    commands::{deadline, deposit, open, request, transfer},
    support::{
        Bank, Files, Process, Redis, admin,
        api::{balance as balance_of, connect, deposit as deposit_of, failed, savings},
        health::{ServingStatus, becomes},
    },
};

const OFFSET_MAX: Duration = Duration::from_millis(1_500);
const TEN_YEARS_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1_000;
const START_MS: i64 = 1_767_225_600_000;

fn at(unix_ms: i64) -> Timestamp {
    Timestamp::try_from_unix_ms(unix_ms).unwrap()
}

/// A clock with an offset in milliseconds, and a timekeeper on it.
fn clock(ms: i64) -> (Arc<SimulatedClock>, Timekeeper) {
    let clock = Arc::new(SimulatedClock::new(at(START_MS + ms)));
    (Arc::clone(&clock), Timekeeper::new(clock, OFFSET_MAX))
}

fn in_file(path: &Path, clock: Timekeeper) -> EmbeddedOptions {
    EmbeddedOptions { path: path.to_owned(), clock, ..EmbeddedOptions::default() }
}

fn start(store: Arc<dyn Store>) -> Ledger {
    let options = LedgerOptions {
        queue_commands_max: 1_000,
        batch_commands_max: 100,
        accounts_remembered_max: 1_000,
        outcome_timeout: Duration::from_mins(1),
        resend_pause: Duration::from_millis(1),
    };
    Ledger::start(store, Arc::new(Metrics::new().unwrap()), &options)
}

fn id(text: &str) -> AccountId {
    text.parse().unwrap()
}

async fn execute(ledger: &Ledger, command: Command, request_id: &str) -> Result<Executed, Error> {
    ledger.execute(request(command, request_id), deadline(), false).await
}

async fn account(ledger: &Ledger, account_id: &str) -> Account {
    ledger.store().load(&[id(account_id)]).await.unwrap().pop().flatten().unwrap()
}

async fn balance(ledger: &Ledger, account_id: &str) -> i64 {
    account(ledger, account_id).await.balance.minor_units
}

/// The balance after the newest entry up to a time.
async fn balance_at(ledger: &Ledger, account_id: &str, time: Timestamp) -> i64 {
    let query = EntriesQuery { end: Some(time), ..EntriesQuery::all(id(account_id)) };
    let entries = ledger.store().entries(&query).await.unwrap();
    entries.last().map_or(0, |entry| entry.balance_after.minor_units)
}

async fn findings(ledger: &Ledger) -> Vec<(String, Option<u64>, String)> {
    findings_since(ledger, ledger.clock().estimate()).await
}

/// The findings of an audit that began at this time.
async fn findings_since(ledger: &Ledger, began_at: Timestamp) -> Vec<(String, Option<u64>, String)> {
    let (sender, mut receiver) = mpsc::channel(1);
    let auditing = tokio::spawn(audit::run(Arc::clone(ledger.store()), None, began_at, sender));
    let mut findings = Vec::new();
    while let Some(news) = receiver.recv().await {
        if let audit::News::Finding(finding) = news {
            assert!(matches!(finding.problem, Problem::AheadOfClock { .. }), "{finding:?}");
            let account_id = finding.account_id.map(|id| id.to_string()).unwrap_or_default();
            findings.push((account_id, finding.sequence, finding.problem.to_string()));
        }
    }
    auditing.await.unwrap().unwrap();
    findings.sort();
    findings
}

/// The bug: an audit that took longer than clocks may differ reported what was written meanwhile as ahead of the clock.
#[tokio::test]
async fn a_slow_audit_does_not_report_concurrent_writes() {
    let (clock, timekeeper) = clock(0);
    let began_at = timekeeper.estimate();
    let store = MemoryStore::new(Duration::from_hours(1)).with_clock(timekeeper);
    let ledger = start(Arc::new(store));
    clock.advance(Duration::from_mins(1));
    execute(&ledger, open("a"), "1").await.unwrap();
    assert_eq!(findings_since(&ledger, began_at).await, []);
}

/// The bug: the entry was dated ten years ahead, and so was every later one on the account, and on each account that
/// got money from there. The balance was 102, and as of now 100.
#[tokio::test]
async fn a_clock_jump_during_a_commit_is_not_stored() {
    let files = tempfile::tempdir().unwrap();
    for is_durable in [false, true] {
        let (clock, keeper) = clock(0);
        let store: Arc<dyn Store> = if is_durable {
            Arc::new(EmbeddedStore::open(in_file(&files.path().join("bank"), keeper)).await.unwrap())
        } else {
            Arc::new(MemoryStore::new(Duration::from_hours(24)).with_clock(keeper))
        };
        let ledger = start(store);
        for command in [open("a"), open("b"), deposit("a", 100)] {
            execute(&ledger, command, "").await.unwrap();
        }

        clock.step(TEN_YEARS_MS);
        for command in [deposit("a", 1), transfer("a", "b", 1), open("c")] {
            let rejected = execute(&ledger, command.clone(), "").await.unwrap_err();
            assert!(
                matches!(rejected, Error::ClockOff(off) if off.offset_ms == TEN_YEARS_MS),
                "{rejected:?}"
            );
            let previewed = ledger.preview(request(command.clone(), ""), deadline()).await.unwrap_err();
            assert!(matches!(previewed, Error::ClockOff(_)), "{previewed:?}");
            let batch = ledger.execute_batch(vec![request(command, "")], true, deadline()).await;
            assert!(matches!(batch.unwrap_err(), Error::ClockOff(_)));
        }
        // Reads continue.
        assert_eq!((balance(&ledger, "a").await, balance(&ledger, "b").await), (100, 0));

        clock.step(-TEN_YEARS_MS);
        clock.advance(Duration::from_secs(1));
        execute(&ledger, deposit("a", 2), "").await.unwrap();
        execute(&ledger, transfer("a", "b", 5), "").await.unwrap();
        let now = ledger.clock().now().unwrap();
        for (account_id, expected) in [("a", 97), ("b", 5)] {
            assert_eq!(balance(&ledger, account_id).await, expected);
            assert_eq!(balance_at(&ledger, account_id, now).await, expected);
            assert!(account(&ledger, account_id).await.updated_at <= now);
        }
        assert_eq!(findings(&ledger).await, []);
    }
}

/// The bug: a jump expired all request records of the embedded store, and the retry paid again.
#[tokio::test]
async fn a_clock_jump_causes_no_request_to_be_executed_twice() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("bank");
    let (clock, keeper) = self::clock(0);
    let ledger = start(Arc::new(EmbeddedStore::open(in_file(&path, keeper)).await.unwrap()));
    execute(&ledger, open("a"), "open").await.unwrap();
    execute(&ledger, deposit("a", 100), "pay").await.unwrap();

    clock.step(TEN_YEARS_MS);
    let rejected = execute(&ledger, deposit("a", 100), "pay").await.unwrap_err();
    assert!(matches!(rejected, Error::ClockOff(_)), "{rejected:?}");
    clock.step(-TEN_YEARS_MS);
    assert!(execute(&ledger, deposit("a", 100), "pay").await.unwrap().replayed);
    ledger.drain().await;
    ledger.store().close().await;
    drop(ledger);

    // Started while the clock is wrong: that is not detected, but makes no record older.
    for jump_ms in [TEN_YEARS_MS, 2 * TEN_YEARS_MS] {
        let (clock, keeper) = self::clock(jump_ms);
        let ledger = start(Arc::new(EmbeddedStore::open(in_file(&path, keeper)).await.unwrap()));
        assert!(execute(&ledger, deposit("a", 100), "pay").await.unwrap().replayed);
        execute(&ledger, open(&format!("b{jump_ms}")), "").await.unwrap();
        clock.advance(Duration::from_hours(20));
        assert!(execute(&ledger, deposit("a", 100), "pay").await.unwrap().replayed);
        assert_eq!(balance(&ledger, "a").await, 100);
        // While the bank is open, records age and expire.
        if jump_ms > TEN_YEARS_MS {
            clock.advance(Duration::from_hours(3 * 24));
            assert!(!execute(&ledger, deposit("a", 100), "pay").await.unwrap().replayed);
        }
        ledger.drain().await;
        ledger.store().close().await;
    }
}

/// A bank that was used while the clock of its machine was ten years ahead.
#[tokio::test]
async fn an_entry_from_the_future_is_reported_and_changes_to_its_account_are_rejected() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("bank");
    let (_, keeper) = clock(0);
    let ledger = start(Arc::new(EmbeddedStore::open(in_file(&path, keeper)).await.unwrap()));
    for command in [open("a"), open("b"), open("c"), deposit("a", 100), deposit("b", 100), deposit("c", 100)]
    {
        execute(&ledger, command, "").await.unwrap();
    }
    ledger.drain().await;
    ledger.store().close().await;
    drop(ledger);
    let (_, wrong) = clock(TEN_YEARS_MS);
    let ledger = start(Arc::new(EmbeddedStore::open(in_file(&path, wrong)).await.unwrap()));
    execute(&ledger, transfer("a", "b", 1), "from the future".replace(' ', "-").as_str()).await.unwrap();
    ledger.drain().await;
    ledger.store().close().await;
    drop(ledger);

    let (clock, right) = clock(60_000);
    let options = in_file(&path, right);
    let refused = EmbeddedStore::open(options.clone()).await.err().unwrap();
    let StoreError::Misconfigured(text) = &refused else { panic!("{refused}") };
    for part in ["dated 2036-01-", "set the clock", "docs/clocks.md", "clock.entries_ahead_allowed = true"] {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
    let checked = EmbeddedStore::check(options.clone()).await.unwrap();
    assert_eq!(checked.problem_count, 2, "{checked:?}");
    for (problem, start) in
        checked.problems.iter().zip(["account a: entry 3 is dated 2036", "account b: entry 3"])
    {
        assert!(problem.starts_with(start), "{problem:?}");
    }

    let options = EmbeddedOptions { entries_ahead_allowed: true, ..options };
    let ledger = start(Arc::new(EmbeddedStore::open(options).await.unwrap()));
    let found = findings(&ledger).await;
    assert_eq!(
        found.iter().map(|(id, sequence, _)| (id.as_str(), *sequence)).collect::<Vec<_>>(),
        [("a", Some(3)), ("b", Some(3))]
    );
    let newest = account(&ledger, "a").await.updated_at;
    let rejected = |error: Error| match error {
        Error::Rejected {
            rejection: Rejection::AccountAheadOfClock { account_id, newest_at },
            replayed: false,
            ..
        } => (account_id.to_string(), newest_at),
        error => panic!("{error:?}"),
    };
    for command in [deposit("a", 1), transfer("a", "c", 1)] {
        let error = execute(&ledger, command, "again").await.unwrap_err();
        assert_eq!(rejected(error), ("a".to_owned(), Some(newest)));
    }
    // A payer learns nothing else about the destination.
    let error = execute(&ledger, transfer("c", "b", 1), "").await.unwrap_err();
    assert_eq!(rejected(error), ("b".to_owned(), None));
    // Other accounts can be used, and the applied request is still known.
    execute(&ledger, deposit("c", 1), "").await.unwrap();
    assert!(execute(&ledger, transfer("a", "b", 1), "from-the-future").await.unwrap().replayed);
    assert_eq!((balance(&ledger, "a").await, balance(&ledger, "b").await), (99, 101));

    // This rejection is not stored: once the time has come, the same request is executed.
    clock.advance(Duration::from_millis(u64::try_from(TEN_YEARS_MS).unwrap()));
    assert!(!execute(&ledger, deposit("a", 1), "again").await.unwrap().replayed);
    assert_eq!(findings(&ledger).await, []);
}

/// Runs a server whose wall clock has the offset in the file, such as `+45` seconds; its other clocks are real.
fn moved(file: &Path, flags: &[&str]) -> Process {
    let preload = Shell::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let preload = preload.expect("faketime must be installed (apt-get install faketime)").stdout;
    let preload = format!("LD_PRELOAD={}", String::from_utf8(preload).unwrap().trim());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", file.display());
    let words = ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    Process::start_by(&words, flags)
}

/// Short intervals, so that tests are quick.
const QUICK: [&str; 4] =
    ["--set", "health.poll_interval_ms=20", "--set", "store.redis.watchdog_interval_ms=50"];

/// Moves the clock of a server, and corrects it again.
async fn stops_and_goes_on(bank: &Bank, file: &Path, seconds: i32) {
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.deposit(deposit_of("a", 5)).await.unwrap();
    assert!(admin::value(&admin::metrics(bank).await, "bank_clock_offset_seconds").abs() < 1.5);

    fs::write(file, format!("{seconds:+}")).unwrap();
    becomes(bank, ServingStatus::NotServing).await;
    for _ in 0..20 {
        let error = failed(client.deposit(deposit_of("a", 7)).await);
        assert_eq!((error.code, &*error.reason), (Code::Unavailable, "CLOCK_OFF"));
        assert!(
            error.message.contains("nothing was done") && error.details.retry_info().is_some(),
            "{error:?}"
        );
        assert_eq!(balance_of(&mut client, "a").await, 5);
    }
    admin::becomes_ready(bank, 503).await;
    let metrics = admin::metrics(bank).await;
    assert_eq!(admin::value(&metrics, "bank_clock_right").to_bits(), 0_f64.to_bits());
    let offset = admin::value(&metrics, "bank_clock_offset_seconds");
    assert!((offset - f64::from(seconds)).abs() < 1.5, "{offset} is not about {seconds}");
    assert_eq!(admin::value(&metrics, "bank_store_up").to_bits(), 1_f64.to_bits());

    fs::write(file, "+0").unwrap();
    becomes(bank, ServingStatus::Serving).await;
    client.deposit(deposit_of("a", 7)).await.unwrap();
    assert_eq!(balance_of(&mut client, "a").await, 12);
    admin::becomes(bank, "bank_clock_right", 1).await;
    let said = |beginning: &str| {
        let lines = bank.lines().into_iter();
        lines.filter(|line| line["message"].as_str().unwrap().starts_with(beginning)).collect::<Vec<_>>()
    };
    let off = said("the clock of this server is off");
    assert_eq!(off.len(), 1, "{off:?}");
    assert_eq!(off[0]["level"], "ERROR");
    assert_eq!(said("the clock of this server is right again").len(), 1);
}

#[tokio::test]
async fn rejects_changes_while_its_clock_is_off() {
    let (files, redis) = (Files::new(), Redis::start_durable().await);
    files.write("embedded", "+0");
    files.write("redis", "+0");
    let data = files.path("bank.redb");
    let flags = [&["--data", data.to_str().unwrap()], &QUICK[..]].concat();
    let embedded = Bank::of(moved(&files.path("embedded"), &flags)).await;
    stops_and_goes_on(&embedded, &files.path("embedded"), 3_650 * 24 * 60 * 60).await;

    let own = redis.flags();
    let flags = [&own.iter().map(String::as_str).collect::<Vec<_>>(), &QUICK[..]].concat();
    let on_redis = Bank::of(moved(&files.path("redis"), &flags)).await;
    stops_and_goes_on(&on_redis, &files.path("redis"), -45).await;
}

/// The bug: a server that was 45 s slow started, and changed balances of the past.
#[tokio::test]
async fn does_not_start_until_a_slow_clock_is_right() {
    let (files, redis) = (Files::new(), Redis::start_durable().await);
    files.write("time", "-45");
    let own = redis.flags();
    let process = moved(&files.path("time"), &own.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(process.wait_exit().await.code(), Some(1));
    for part in ["behind that of Redis at", "1500 ms are allowed (clock.offset_ms_max)", "NTP"] {
        assert!(process.log().contains(part), "{part}: {}", process.log());
    }
    assert_eq!(redis.run(&["DBSIZE"]), "0");
}

/// The file of a bank that was used while the clock was ten years ahead.
#[tokio::test]
async fn opens_a_bank_with_later_timestamps_only_if_configured() {
    let files = Files::new();
    files.write("time", "+315360000");
    let data = files.path("bank.redb");
    let flags = ["--data", data.to_str().unwrap()];
    let bank = Bank::of(moved(&files.path("time"), &flags)).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    assert!(bank.terminate().await.success());

    let process = Process::start(&flags);
    assert_eq!(process.wait_exit().await.code(), Some(1));
    assert!(process.log().contains("clock.entries_ahead_allowed = true"), "{}", process.log());
    let check = Process::start(&[&flags[..], &["--check-store"]].concat());
    assert_eq!(check.wait_exit().await.code(), Some(1));
    assert!(check.log().contains("account a: entry 1 is dated 20"), "{}", check.log());

    let bank = Bank::start(&[&flags[..], &["--set", "clock.entries_ahead_allowed=true"]].concat()).await;
    let mut client = connect(&bank.endpoint()).await;
    let error = failed(client.deposit(deposit_of("a", 7)).await);
    assert_eq!((error.code, &*error.reason), (Code::FailedPrecondition, "ACCOUNT_AHEAD_OF_CLOCK"));
    client.create_account(savings("b")).await.unwrap();
    client.deposit(deposit_of("b", 7)).await.unwrap();
}
