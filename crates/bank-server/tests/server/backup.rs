//! Exports and imports on real servers: what is rejected, what it leaves, and what a server that was
//! killed during an import does not serve.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, time::Duration};

use bank_client::{
    AuditNews, BankClient, Error, ExportNews, ExportSummary, ImportNews, ImportSummary, Money, Route,
    TryStreamExt as _,
};
use bank_proto::v1;
use bank_server::backup::line::{End, Line, Outcome};
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::support::{
    Bank, Redis,
    api::{checking, connect, deposit, failed, interest, savings, transfer, withdraw},
    health::{self, ServingStatus},
};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than one write of an import.
const DEPOSITS: i64 = 1_500;

async fn client(bank: &Bank) -> BankClient {
    BankClient::builder(bank.endpoint()).timeout(PATIENCE).connect().await.unwrap()
}

async fn export(client: &BankClient) -> (Vec<u8>, ExportSummary) {
    let mut news = client.export_bank();
    let mut file = Vec::new();
    loop {
        match news.try_next().await.unwrap().unwrap() {
            ExportNews::Data(data) => file.extend(data),
            ExportNews::Summary(summary) => {
                assert_eq!(news.try_next().await.unwrap(), None);
                return (file, summary);
            }
            _ => {}
        }
    }
}

async fn import(client: &BankClient, file: &[u8]) -> Result<ImportSummary, Error> {
    import_stream(client, stream::iter([file.to_vec()])).await
}

async fn import_stream(
    client: &BankClient,
    file: impl Stream<Item = Vec<u8>> + Send + 'static,
) -> Result<ImportSummary, Error> {
    let mut news = client.import_bank(file);
    while let Some(news) = news.try_next().await? {
        if let ImportNews::Summary(counts) = news {
            return Ok(counts);
        }
    }
    panic!("without a summary");
}

fn named(request_id: &str, request: v1::DepositRequest) -> v1::DepositRequest {
    v1::DepositRequest { request_id: request_id.to_owned(), ..request }
}

/// A few accounts that export every kind of line.
async fn fill(bank: &Bank) {
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.create_account(checking("b", 5_000)).await.unwrap();
    client.create_account(savings("c")).await.unwrap();
    client.deposit(named("pay-1", deposit("a", 10_000))).await.unwrap();
    client.deposit(named("pay-2", deposit("a", 20_000))).await.unwrap();
    let rent = v1::TransferRequest { request_id: "rent".to_owned(), ..transfer("a", "b", 700) };
    client.transfer(rent).await.unwrap();
    client.calculate_interest(interest("a", "2.5")).await.unwrap();
    let much = v1::WithdrawRequest { request_id: "much".to_owned(), ..withdraw("c", 1) };
    assert_eq!(failed(client.withdraw(much).await).reason, "INSUFFICIENT_FUNDS");
    let ghost = client.deposit(named("ghost", deposit("ghost", 1))).await;
    assert_eq!(failed(ghost).reason, "ACCOUNT_NOT_FOUND");
}

async fn fill_with_many_entries(bank: &Bank) {
    fill(bank).await;
    let mut client = connect(&bank.endpoint()).await;
    for number in 0..DEPOSITS {
        client.deposit(deposit("c", 1 + number)).await.unwrap();
    }
}

/// How many accounts a serving bank has.
async fn accounts(client: &BankClient) -> usize {
    client.accounts().stream().count().await
}

async fn findings(client: &BankClient) -> u64 {
    let news: Vec<_> = client.audit_accounts().stream().try_collect().await.unwrap();
    let Some(AuditNews::Summary(summary)) = news.last() else { panic!("{news:?}") };
    summary.findings
}

/// The lines of a file, without line feeds.
fn lines(file: &[u8]) -> Vec<String> {
    str::from_utf8(file).unwrap().lines().map(str::to_owned).collect()
}

fn file(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

/// The last line, recomputed for altered lines before it.
fn sealed(mut lines: Vec<String>) -> Vec<String> {
    let last = lines.pop().unwrap();
    let Line::End(end) = Line::from_bytes(format!("{last}\n").as_bytes()).unwrap() else { panic!("{last}") };
    let digest = Sha256::digest(file(&lines));
    let sha256 = digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let end = Line::End(End { sha256, ..end }).to_bytes();
    lines.push(String::from_utf8(end).unwrap().trim_end().to_owned());
    lines
}

/// The number of the line that has all of these texts, from 0.
fn place(lines: &[String], texts: &[&str]) -> usize {
    let has_all = |line: &String| texts.iter().all(|text| line.contains(text));
    lines.iter().position(has_all).unwrap_or_else(|| panic!("{texts:?} in {lines:#?}"))
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_rejected_and_leaves_an_empty_bank() {
    let original = Bank::memory().await;
    fill(&original).await;
    let good = lines(&export(&client(&original).await).await.0);
    let count = good.len();
    let (a, b) = (place(&good, &["\"account\":{\"id\":\"a\""]), place(&good, &["\"account\":{\"id\":\"b\""]));
    let pay = place(&good, &["\"entry\"", "\"account_id\":\"a\"", "\"sequence\":3"]);
    let (first_request, rent) =
        (place(&good, &["\"request\"", "\"pay-1\""]), place(&good, &["\"request\"", "\"rent\""]));
    let ghost = place(&good, &["\"request\"", "\"ghost\""]);
    let changed = |place: usize, from: &str, to: &str| {
        let mut lines = good.clone();
        assert!(lines[place].contains(from), "{from} in {}", lines[place]);
        lines[place] = lines[place].replacen(from, to, 1);
        lines
    };
    let swapped = |one: usize, other: usize| {
        let mut lines = good.clone();
        lines.swap(one, other);
        lines
    };
    let without = |place: usize| {
        let mut lines = good.clone();
        lines.remove(place);
        lines
    };
    // All of account b before a, or after it.
    let (first, second) = (a.min(b), a.max(b));
    let mut rotated = good.clone();
    rotated[first..count - 1].rotate_left(second - first);
    let not_as_written = "is not what the bank has written";
    let embedded = tempfile::tempdir().unwrap();
    let bank = Bank::on_file(&embedded.path().join("bank.redb")).await;
    let client = client(&bank).await;
    let last = count;
    for (damage, damaged, line, says) in [
        ("empty", vec![], 1, "is not the header"),
        ("its last line is gone", good[..count - 1].to_vec(), last, "the file is cut"),
        ("cut after an entry", good[..=pay].to_vec(), pay + 2, "the file is cut"),
        ("no header", without(0), 1, "is not the header"),
        ("two headers", [&good[..1], &good[..]].concat(), 2, "is a second header"),
        ("another version", changed(0, "\"version\":2", "\"version\":3"), 1, "this server reads 1 and 2"),
        ("another placement", changed(0, "\"route\"", "\"slot\""), 1, "is not a header"),
        ("no placement", changed(0, ",\"placement\":\"route\"", ""), 1, "is not a header"),
        ("no partitions", changed(0, ":1024,", ":0,"), 1, "is not a header"),
        (
            "an amount",
            changed(pay, "\"minor_units\":20000", "\"minor_units\":20001"),
            pay + 1,
            not_as_written,
        ),
        ("a hash", changed(pay, "\"hash\":\"", "\"hash\":\"0"), pay + 1, "is none that the bank writes"),
        ("no object", changed(pay, "{\"entry\"", "{\"entry"), pay + 1, "is none that the bank writes"),
        ("blanks", changed(pay, "\"sequence\":3", "\"sequence\": 3"), pay + 1, "is not spelled"),
        ("a balance, sealed", sealed(changed(a, "\"version\":5", "\"version\":6")), 0, not_as_written),
        ("an owner, sealed", sealed(changed(a, "\"owner\":\"\"", "\"owner\":\"eve\"")), 0, not_as_written),
        ("entries in another order", swapped(pay, pay + 1), pay + 1, not_as_written),
        ("an entry is gone", without(pay), pay + 1, not_as_written),
        ("an entry is of nobody", without(a), a + 1, "is an entry that no account is before"),
        ("accounts in another order", rotated, 0, "is not in its place"),
        ("records in another order", swapped(first_request, rent), 0, "is not in its place"),
        ("a record", changed(rent, "\"recorded_at\":1", "\"recorded_at\":2"), last, "has another checksum"),
        ("a record is gone", without(rent), last - 1, "says that there are"),
        ("a count", changed(count - 1, "\"accounts\":3", "\"accounts\":4"), last, "there are 3"),
        ("a checksum", changed(count - 1, "\"sha256\":\"", "\"sha256\":\"0"), last, "has another checksum"),
        ("more", [&good[..], &good[1..2]].concat(), last + 1, "comes after the last line"),
        (
            "a very long line",
            changed(pay, "\"description\":\"\"", &format!("{:?}:1", "x".repeat(99_999))),
            pay + 1,
            "longer than",
        ),
        (
            "a record of an entry that is not there, sealed",
            sealed(changed(rent, "-4\"", "-9\"")),
            0,
            "has no entry",
        ),
        (
            "a record of an account that is not there, sealed",
            {
                let mut lines = good.clone();
                let Line::Request(mut request) =
                    Line::from_bytes(format!("{}\n", good[ghost]).as_bytes()).unwrap()
                else {
                    panic!()
                };
                request.outcome = Outcome::Entry("1767225600000-1".to_owned());
                lines[ghost] =
                    String::from_utf8(Line::Request(request).to_bytes()).unwrap().trim_end().to_owned();
                sealed(lines)
            },
            ghost + 1,
            "of an account that is not before it",
        ),
    ] {
        match import(&client, &file(&damaged)).await {
            Err(Error::BackupDamaged { line: found, message }) => {
                assert!(message.contains(says), "{damage}: {message}");
                assert!(message.starts_with(&format!("line {found} of the file ")), "{damage}: {message}");
                assert!(line == 0 || found == line as u64, "{damage}: {message}, not {line}");
            }
            other => panic!("{damage}: {other:?}"),
        }
        assert_eq!(accounts(&client).await, 0, "{damage}");
    }
    // A file that ends in the middle of a line.
    let whole = file(&good);
    let error = import(&client, &whole[..whole.len() - 1]).await.unwrap_err();
    assert!(error.to_string().contains("ends in its middle"), "{error}");

    // The valid file is accepted in pieces of any size.
    let pieces: Vec<_> = whole.chunks(7).map(<[u8]>::to_vec).collect();
    let counts = import_stream(&client, stream::iter(pieces)).await.unwrap();
    assert_eq!(counts, ImportSummary { accounts: 3, entries: 8, requests: 9 });
    assert_eq!(export(&client).await.0, whole);
    assert_eq!(findings(&client).await, 0);
}

/// Version 1 of the file has another header, and accounts in the order of their whole ids' partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_the_former_version_is_imported() {
    let original = Bank::memory().await;
    fill(&original).await;
    let written = lines(&export(&client(&original).await).await.0);
    let mut former = written.clone();
    former[0] = written[0].replace("\"version\":2", "\"version\":1").replace(",\"placement\":\"route\"", "");
    assert_eq!(former[0], "{\"backup\":{\"version\":1,\"partitions\":1024}}");

    let bank = Bank::memory().await;
    let client = client(&bank).await;
    let counts = import(&client, &file(&sealed(former))).await.unwrap();
    assert_eq!(counts, ImportSummary { accounts: 3, entries: 8, requests: 9 });
    assert_eq!(lines(&export(&client).await.0), written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_an_import_into_a_bank_with_accounts_and_keeps_serving() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    fill(&bank).await;
    let client = client(&bank).await;
    let (file, summary) = export(&client).await;
    assert!(summary.of_one_instant);
    let error = import(&client, &file).await.unwrap_err();
    assert!(matches!(error, Error::BankNotEmpty { .. }), "{error:?}");
    assert_eq!(export(&client).await.0, file);
}

/// The first half of the file, and then nothing.
fn half(file: &[u8]) -> impl Stream<Item = Vec<u8>> + Send + 'static {
    stream::iter([file[..file.len() / 10 * 9].to_vec()]).chain(stream::pending())
}

/// Begins an import, and returns once some of it has been written.
async fn begin(client: &BankClient, file: &[u8]) -> BoxStream<'static, Result<ImportNews, Error>> {
    let mut news = client.import_bank(half(file));
    loop {
        match news.try_next().await.unwrap().unwrap() {
            ImportNews::Progress(progress) if progress.entries > 1_100 => return news,
            _ => {}
        }
    }
}

/// Every method is rejected for every caller.
async fn assert_serves_nobody(bank: &Bank) {
    let once = BankClient::builder(bank.endpoint())
        .retry(bank_client::RetryPolicy::never())
        .connect()
        .await
        .unwrap();
    let ten = Money { currency: bank_client::Currency::USD, minor_units: 10 };
    for error in [
        once.account("a").await.map(drop).unwrap_err(),
        once.accounts().await.map(drop).unwrap_err(),
        once.history("c").await.map(drop).unwrap_err(),
        once.deposit("a", ten).await.map(drop).unwrap_err(),
        once.transfer(Route { from: "a", to: "b" }, ten).await.map(drop).unwrap_err(),
        once.create_account("new", bank_client::AccountType::Savings).await.map(drop).unwrap_err(),
        once.audit_accounts().stream().try_collect::<Vec<_>>().await.map(drop).unwrap_err(),
        once.export_bank().try_collect::<Vec<_>>().await.map(drop).unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::Unavailable { message, .. } if message.contains("an import")),
            "{error:?}"
        );
    }
    let problem = once.server_info().await.unwrap().store.problem.unwrap();
    assert!(problem.contains("an import into this bank"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_imported_bank_is_never_served_even_after_a_kill() {
    let original = Bank::memory().await;
    fill_with_many_entries(&original).await;
    let whole = export(&client(&original).await).await.0;
    let (redis, directory) = (Redis::start_durable().await, tempfile::tempdir().unwrap());
    let on_file = Bank::on_file(&directory.path().join("bank.redb")).await;
    let on_redis = Bank::on_redis(&redis).await;
    let beside = Bank::on_redis(&redis).await;
    for mut bank in [on_file, on_redis] {
        let news = begin(&client(&bank).await, &whole).await;
        assert_serves_nobody(&bank).await;
        bank.kill();
        drop(news);
        bank.start_again().await;
        assert_serves_nobody(&bank).await;
        let client = client(&bank).await;
        health::becomes(&bank, ServingStatus::NotServing).await;
        // A rejected file ends the import.
        assert_eq!(import(&client, b"").await.unwrap_err().reason(), "BACKUP_DAMAGED");
        assert_eq!(accounts(&client).await, 0);

        drop(begin(&client, &whole).await);
        let counts = import(&client, &whole).await.unwrap();
        assert_eq!((counts.accounts, counts.entries), (3, 8 + DEPOSITS.unsigned_abs()));
        assert_eq!(export(&client).await.0, whole);
        assert_eq!(findings(&client).await, 0);
        health::becomes(&bank, ServingStatus::Serving).await;
    }
    // Another server finds the same bank.
    health::becomes(&beside, ServingStatus::Serving).await;
    assert_eq!(export(&client(&beside).await).await.0, whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_bank_in_use_can_be_imported() {
    const ACCOUNTS: usize = 5;
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut setup = connect(&bank.endpoint()).await;
    for number in 0..ACCOUNTS {
        setup.create_account(checking(&number.to_string(), 1_000_000)).await.unwrap();
    }
    let mut tellers = JoinSet::new();
    for teller in 0..4 {
        let mut caller = connect(&bank.endpoint()).await;
        tellers.spawn(async move {
            for step in 0.. {
                let (from, to) = ((teller + step) % ACCOUNTS, (teller + step + 1) % ACCOUNTS);
                let request_id = format!("{teller}-{step}");
                let request =
                    v1::TransferRequest { request_id, ..transfer(&from.to_string(), &to.to_string(), 3) };
                caller.transfer(request).await.unwrap();
            }
        });
    }
    let client = client(&bank).await;
    let mut files = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        files.push(export(&client).await);
    }
    tellers.shutdown().await;
    files.push(export(&client).await);
    assert!(files.last().unwrap().1.of_one_instant);
    for (file, summary) in files {
        // Each entry on the account that its request names first has a record, and no other has.
        let (mut entries, mut records) = (BTreeSet::new(), BTreeSet::new());
        for line in lines(&file) {
            match Line::from_bytes(format!("{line}\n").as_bytes()).unwrap() {
                Line::Entry(entry) if entry.transaction_id.account_id == entry.account_id => {
                    entries.insert((entry.account_id.to_string(), entry.id().to_string()));
                }
                Line::Request(request) => {
                    let Outcome::Entry(id) = request.outcome else { panic!("{line}") };
                    records.insert((request.account_id.to_string(), id));
                }
                _ => {}
            }
        }
        assert_eq!(entries, records);
        let copy = Bank::memory().await;
        let copy = self::client(&copy).await;
        let ExportSummary { accounts, entries, requests, .. } = summary;
        assert_eq!(import(&copy, &file).await.unwrap(), ImportSummary { accounts, entries, requests });
        if summary.of_one_instant {
            assert_eq!(findings(&copy).await, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_and_imports_end_when_the_server_drains() {
    let original = Bank::memory().await;
    fill_with_many_entries(&original).await;
    let whole = export(&client(&original).await).await.0;
    let bank = Bank::memory_with(&["--set", "server.shutdown_grace_ms=60000"]).await;
    let mut news = begin(&client(&bank).await, &whole).await;
    let ended = tokio::spawn(async move { bank.terminate().await });
    let error = loop {
        match news.next().await.unwrap() {
            Ok(ImportNews::Summary(_)) => panic!("as if it were done"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap().success());
}
