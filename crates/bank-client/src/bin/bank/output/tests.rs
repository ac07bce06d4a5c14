//! Recorded output for answers of the bank.

use std::{cell::RefCell, rc::Rc, time::Duration};

use bank_client::{
    Account, AccountState, AccountType, AuditBooks, AuditFinding, AuditFindingKind, AuditNews, AuditProgress,
    AuditSummary, Compounding, Currency, DayCount, Durability, DurabilityLevel, Entry, EntryHash, EntryKind,
    Error, InterestBreakdown, InterestReceipt, InterestTerms, LostWrites, Money, MoneySum, Receipt,
    Rejection, RoundingMode, ServerInfo, ServerLimits, StoreInfo, StreamExt as _, Timestamp, Transaction,
};
use futures::stream;

use super::*;
use crate::audit;

/// What was written, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.take()).unwrap()
    }
}

/// An output, its results and its notes.
pub(crate) fn record(format: Format) -> (Output, Written, Written) {
    let (results, notes) = (Written::default(), Written::default());
    let output =
        Output { format, results: Box::new(results.clone()), notes: Box::new(notes.clone()), lost: None };
    (output, results, notes)
}

pub(crate) fn usd(minor_units: i64) -> Money {
    Money { currency: Currency::USD, minor_units }
}

pub(crate) fn time(second: i64) -> Timestamp {
    Timestamp::try_from_unix_ms(1_767_225_600_000 + second * 1_000).unwrap()
}

pub(crate) fn entry(sequence: u64, kind: EntryKind, amount: i64, balance_after: i64) -> Entry {
    let second = i64::try_from(sequence).unwrap();
    Entry {
        transaction_id: format!("123/{}-{sequence}", time(second).unix_ms()).into(),
        account_id: "123".parse().unwrap(),
        sequence,
        kind,
        amount: usd(amount),
        balance_after: usd(balance_after),
        created_at: time(second),
        counterparty: None,
        request_id: Some(format!("r-{sequence}").parse().unwrap()),
        description: String::new(),
        interest_terms: None,
        overdraft_limit: None,
        entry_hash: EntryHash::from_bytes([0xe5; 32]),
    }
}

fn history() -> Vec<Entry> {
    let mut transfer = entry(3, EntryKind::TransferOut, -2_500, 97_500);
    transfer.counterparty = Some("456".parse().unwrap());
    transfer.description = "rent for Zürich".into();
    vec![transfer, entry(2, EntryKind::Deposit, 100_000, 100_000), entry(1, EntryKind::AccountOpened, 0, 0)]
}

pub(crate) fn account(account_id: &str, currency: &str, balance: i64) -> Account {
    let currency: Currency = currency.parse().unwrap();
    Account {
        account_id: account_id.parse().unwrap(),
        account_type: AccountType::Checking,
        currency,
        owner: "alice".into(),
        state: AccountState::Active,
        balance: Money { currency, minor_units: balance },
        overdraft_limit: Money { currency, minor_units: 50_000 },
        version: 3,
        created_at: time(1),
        updated_at: time(3),
        labels: [("branch".to_owned(), "north".to_owned())].into(),
        head_hash: EntryHash::from_bytes([0xa5; 32]),
    }
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        account_id: "123".parse().unwrap(),
        message: "Successfully deposited $1000.00".into(),
        balance: usd(100_000),
        entry: entry(2, EntryKind::Deposit, 100_000, 100_000),
        replayed: false,
    }
}

pub(crate) fn parsed<A: clap::Args>(arguments: &[&str]) -> A {
    let command = A::augment_args(clap::Command::new("test").no_binary_name(true));
    A::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
}

pub(crate) async fn list<T: Row + Json + Send + 'static>(
    format: Format,
    items: Vec<T>,
    limit: &[&str],
) -> (String, String) {
    let (mut output, results, notes) = record(format);
    let items = stream::iter(items.into_iter().map(Ok)).boxed();
    output.list(items, &parsed(limit)).await.unwrap();
    (results.text(), notes.text())
}

#[tokio::test]
async fn a_history_is_a_table() {
    let (results, notes) = list(Format::Text, history(), &[]).await;
    assert_eq!(notes, "");
    assert_eq!(
        results,
        "\
TIME                  TRANSACTION          KIND              AMOUNT   BALANCE  COUNTERPARTY  DESCRIPTION
2026-01-01T00:00:03Z  123/1767225603000-3  transfer_out     -$25.00   $975.00  456           rent for Zürich
2026-01-01T00:00:02Z  123/1767225602000-2  deposit         $1000.00  $1000.00
2026-01-01T00:00:01Z  123/1767225601000-1  account_opened     $0.00     $0.00
"
    );
}

#[tokio::test]
async fn accounts_are_a_table() {
    let items = vec![account("123", "USD", 97_500), account("tokyo", "JPY", -20), account("x", "CHF", 5)];
    let (results, _) = list(Format::Text, items, &[]).await;
    assert_eq!(
        results,
        "\
ACCOUNT  TYPE      STATE    BALANCE   OVERDRAFT  OWNER  UPDATED
123      checking  active   $975.00     $500.00  alice  2026-01-01T00:00:03Z
tokyo    checking  active      -¥20      ¥50000  alice  2026-01-01T00:00:03Z
x        checking  active  0.05 CHF  500.00 CHF  alice  2026-01-01T00:00:03Z
"
    );
}

#[tokio::test]
async fn a_truncated_or_empty_list_has_a_note() {
    let (results, notes) = list(Format::Text, history(), &["--limit", "1"]).await;
    assert_eq!(results.lines().count(), 2);
    assert_eq!(notes, "note: there are more; raise --limit, or use --all\n");
    let (results, notes) = list(Format::Text, history(), &["--limit", "3"]).await;
    assert_eq!((results.lines().count(), &*notes), (4, ""));
    let (results, notes) = list::<Account>(Format::Text, vec![], &[]).await;
    assert_eq!((&*results, &*notes), ("", "note: none found\n"));
}

#[tokio::test]
async fn json_is_a_line_for_each_result() {
    let (results, notes) = list(Format::Json, history(), &["--limit", "1"]).await;
    assert_eq!(notes, "");
    assert_eq!(
        results,
        concat!(
            r#"{"transaction_id":"123/1767225603000-3","account_id":"123","sequence":3,"#,
            r#""kind":"transfer_out","#,
            r#""amount":{"currency_code":"USD","minor_units":-2500,"amount":"-25.00"},"#,
            r#""balance_after":{"currency_code":"USD","minor_units":97500,"amount":"975.00"},"#,
            r#""create_time":"2026-01-01T00:00:03Z","counterparty_account_id":"456","#,
            r#""request_id":"r-3","description":"rent for Zürich","#,
            r#""interest_terms":null,"overdraft_limit":null,"#,
            r#""entry_hash":"e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5"}"#,
            "\n"
        )
    );
    let (results, _) = list(Format::Json, vec![account("123", "USD", 97_500)], &[]).await;
    assert_eq!(
        results,
        concat!(
            r#"{"account_id":"123","account_type":"checking","currency_code":"USD","owner":"alice","#,
            r#""state":"active","#,
            r#""balance":{"currency_code":"USD","minor_units":97500,"amount":"975.00"},"#,
            r#""overdraft_limit":{"currency_code":"USD","minor_units":50000,"amount":"500.00"},"#,
            r#""version":3,"create_time":"2026-01-01T00:00:01Z","update_time":"2026-01-01T00:00:03Z","#,
            r#""labels":{"branch":"north"},"#,
            r#""head_hash":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"}"#,
            "\n"
        )
    );
}

#[test]
fn an_answer_is_the_message_of_the_bank() {
    let answered = |format, replayed, arguments: &[&str]| {
        let (mut output, results, notes) = record(format);
        let receipt = Receipt { replayed, ..receipt() };
        output.answer(receipt.json(), &receipt.message, replayed, &parsed(arguments));
        output.flush();
        (results.text(), notes.text())
    };
    let message = "Successfully deposited $1000.00\n";
    assert_eq!(answered(Format::Text, false, &[]), (message.to_owned(), String::new()));
    let (results, notes) = answered(Format::Text, true, &[]);
    assert_eq!(results, message);
    assert_eq!(notes, "note: this request was carried out before; this is its original answer\n");
    let (results, notes) = answered(Format::Text, false, &["--dry-run"]);
    assert_eq!((&*results, &*notes), (message, "note: dry run: nothing was changed\n"));

    let (results, notes) = answered(Format::Json, true, &[]);
    assert_eq!(notes, "");
    let json: serde_json::Value = serde_json::from_str(&results).unwrap();
    assert_eq!(json["message"], "Successfully deposited $1000.00");
    assert_eq!(json["balance"]["amount"], "1000.00");
    assert_eq!(json["entry"]["sequence"], 2);
    assert_eq!(json["replayed"], true);
    assert!(json.get("interest").is_none());
}

pub(crate) fn server_info() -> ServerInfo {
    let second = Duration::from_secs(1);
    ServerInfo {
        version: "0.1.0".into(),
        started_at: time(1),
        uptime: 90 * second,
        store: StoreInfo {
            kind: "redis".into(),
            name: "redis at h:1".into(),
            bank_id: "b".into(),
            durability: Durability {
                level: DurabilityLevel::EverySecond,
                replicas: 2,
                description: "somewhat".into(),
            },
            problem: Some("it is unavailable".into()),
        },
        limits: ServerLimits {
            message_bytes_max: 1,
            reply_bytes_max: 2,
            header_bytes_max: 3,
            concurrent_streams_max: 4,
            page_size_default: 5,
            page_size_max: 6,
            queue_commands_max: 7,
            batch_commands_max: 8,
            request_timeout_max: 9 * second,
            outcome_timeout: second / 2,
            request_retention: 11 * second,
            batch_operations_max: 12,
            batch_bytes_max: 13,
            stream_batches_max: 14,
            calls_per_second_max: Some(15),
            calls_burst_max: Some(16),
            calls_in_flight_max: Some(17),
            concurrent_batches_max: None,
            amount_minor_units_max: Some(19),
        },
        lost_writes: LostWrites { accounts: 1, entries_min: 3, found_at: Some(time(2)) },
    }
}

#[test]
fn a_server_that_has_lost_writes_says_so() {
    let info = server_info();
    let (mut output, results, _) = record(Format::Text);
    output.result(info.json(), table::server_info(&info));
    assert_eq!(
        results.text(),
        "\
Version           0.1.0
Started           2026-01-01T00:00:01Z
Uptime            90 s
Bank              b
Store             redis at h:1
Durability        everysec
Replicas          2
Guarantee         somewhat
Problem           it is unavailable
Lost writes       at least 3 entries of 1 accounts, found 2026-01-01T00:00:02Z; see the server's log
Request limit     1 bytes, 9 s
Batch limit       12 operations, 13 bytes, 14 in flight on a stream
Caller limit      15 calls per second, 16 burst, 17 in flight
Amount limit      19 minor units
Page size         5 items, at most 6
Queue limit       7 commands, 8 per commit
Outcome timeout   0.5 s
Request ids kept  11 s
"
    );

    let (mut output, results, _) = record(Format::Json);
    output.result(info.json(), "");
    let shown: serde_json::Value = serde_json::from_str(&results.text()).unwrap();
    assert_eq!(shown["store"]["durability"]["level"], "everysec");
    assert_eq!(shown["store"]["problem"], "it is unavailable");
    assert_eq!(shown["limits"]["outcome_timeout_ms"], 500);
    assert_eq!(shown["limits"]["batch_operations_max"], 12);
    assert_eq!(shown["lost_writes"]["found_time"], "2026-01-01T00:00:02Z");
}

#[test]
fn interest_is_explained() {
    let terms = InterestTerms {
        annual_interest_rate: "2.5".into(),
        period: Some("2026-01-01".into().."2026-07-01".into()),
        day_count: DayCount::Act365Fixed,
        compounding: Compounding::Simple,
        rounding_mode: RoundingMode::HalfEven,
    };
    let receipt = InterestReceipt {
        account_id: "123".parse().unwrap(),
        message: "Applied".into(),
        interest: usd(620),
        breakdown: InterestBreakdown {
            terms: terms.clone(),
            principal: usd(50_000),
            days: 181,
            year_fraction: "181/365".into(),
            compounding_periods: 1,
            growth_factor: "1.012397260273972602".into(),
            exact_interest: "6.198630136986301369".into(),
            interest: usd(620),
        },
        balance: usd(50_620),
        entry: Entry { interest_terms: Some(terms), ..entry(4, EntryKind::Interest, 620, 50_620) },
        replayed: false,
    };
    assert_eq!(
        table::breakdown(&receipt.breakdown).to_string(),
        "\
Principal       $500.00
Rate            2.5 % a year
Period          2026-01-01 to 2026-07-01, exclusive (181 days)
Day count       act_365_fixed
Years           181/365
Compounding     simple
Growth factor   1.012397260273972602
Exact interest  6.198630136986301369
Rounding        half_even
Interest        $6.20"
    );
    let json = serde_json::to_value(receipt.json()).unwrap();
    assert_eq!(json["interest"]["minor_units"], 620);
    assert_eq!(json["breakdown"]["terms"]["start_date"], "2026-01-01");
    assert_eq!(json["entry"]["interest_terms"]["day_count"], "act_365_fixed");
}

#[test]
fn an_account_is_a_list_of_facts() {
    let account = Account { owner: String::new(), ..account("123", "USD", 97_500) };
    assert_eq!(
        table::account(&account).to_string(),
        "\
Account          123
Type             checking
State            active
Currency         USD
Balance          $975.00
Overdraft limit  $500.00
Labels           branch=north
Entries          3
Created          2026-01-01T00:00:01Z
Updated          2026-01-01T00:00:03Z
Head hash        a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"
    );
}

#[test]
fn a_transaction_is_one_document() {
    let transaction =
        Transaction { transaction_id: "123/7-3".to_owned().into(), created_at: time(3), entries: history() };
    let json = serde_json::to_value(transaction.json()).unwrap();
    assert_eq!(json["transaction_id"], "123/7-3");
    assert_eq!(json["entries"].as_array().unwrap().len(), 3);
}

#[test]
fn a_failure_says_what_to_do() {
    let failure = || {
        Failure::from(Error::Rejected {
            rejection: Rejection::InsufficientFunds {
                account_id: "123".parse().unwrap(),
                requested: usd(50_000),
                available: usd(1_250),
                balance: usd(1_250),
            },
            replayed: false,
        })
    };
    let (output, results, notes) = record(Format::Text);
    assert_eq!(output.finish(Err(failure())), ExitCode::from(3));
    assert_eq!(results.text(), "");
    assert_eq!(notes.text(), "error: account 123 has $12.50 available, $500.00 requested\n");

    let not_found = Error::Rejected {
        rejection: Rejection::AccountNotFound { account_id: "9".parse().unwrap() },
        replayed: false,
    };
    let (output, _, notes) = record(Format::Text);
    assert_eq!(output.finish(Err(not_found.into())), ExitCode::from(4));
    assert_eq!(
        notes.text(),
        "error: account 9 does not exist\n  hint: list accounts with `bank accounts`, or open this one with `bank create 9`\n"
    );

    let (output, _, notes) = record(Format::Json);
    output.finish(Err(failure()));
    assert_eq!(
        notes.text(),
        concat!(
            r#"{"error":{"exit_code":3,"hint":null,"#,
            r#""message":"account 123 has $12.50 available, $500.00 requested","#,
            r#""reason":"INSUFFICIENT_FUNDS","replayed":false,"request_id":null}}"#,
            "\n"
        )
    );
}

/// Takes so many bytes, and none after that.
struct Full(usize, io::ErrorKind);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(self.1.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_command_whose_results_are_lost_keeps_its_exit_code_and_does_not_succeed() {
    let lost = |format, kind, ended| {
        let (mut output, _, notes) = record(format);
        output.results = Box::new(Full(7, kind));
        output.text("first");
        assert!(output.ensure_written().is_ok());
        output.text("second");
        output.text("third");
        let written = output.ensure_written();
        assert_eq!(written.as_ref().unwrap_err().reason, failure::OUTPUT);
        let ended = match ended {
            Some(failure) => Err(failure),
            None => written,
        };
        (output.finish(ended), notes.text())
    };
    let findings = || Failure::new(Exit::AuditFindings, "AUDIT_FINDINGS", "the audit has 2 findings");
    let full = "error: cannot write the results: no storage space\n";
    assert_eq!(lost(Format::Text, io::ErrorKind::StorageFull, None), (ExitCode::from(1), full.into()));
    let gone = "error: cannot write the results: the reader has closed the pipe\n";
    assert_eq!(lost(Format::Text, io::ErrorKind::BrokenPipe, None), (ExitCode::from(1), gone.into()));

    let (exit, notes) = lost(Format::Text, io::ErrorKind::StorageFull, Some(findings()));
    assert_eq!(exit, ExitCode::from(9));
    assert_eq!(notes, format!("{full}error: the audit has 2 findings\n"));

    let (exit, notes) = lost(Format::Json, io::ErrorKind::StorageFull, Some(findings()));
    assert_eq!(exit, ExitCode::from(9));
    let errors: Vec<serde_json::Value> =
        notes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reasons: Vec<_> = errors.iter().map(|error| &error["error"]["reason"]).collect();
    assert_eq!(reasons, ["OUTPUT", "AUDIT_FINDINGS"]);
    assert!(errors.iter().all(|error| error["error"]["exit_code"] == 9), "{notes}");
}

fn summary(findings: u64) -> AuditSummary {
    let sum = |minor_units| MoneySum { currency: Currency::USD, minor_units };
    AuditSummary {
        accounts_checked: 2,
        entries_checked: 9,
        findings,
        books: vec![AuditBooks {
            money_in: sum(i128::from(i64::MAX) * 2),
            money_out: sum(500),
            interest: sum(-5),
            transferred: sum(0),
            held: sum(97_500),
            balanced: findings == 0,
        }],
    }
}

/// What is printed of an audit, and how the command ends.
async fn audited(format: Format, findings: Vec<AuditFinding>) -> (String, Result<(), Failure>) {
    let (mut output, results, _) = record(format);
    let count = findings.len() as u64;
    let progress = AuditProgress { accounts_checked: 1, accounts_total: Some(2), entries_checked: 3 };
    let news = [AuditNews::Progress(progress)]
        .into_iter()
        .chain(findings.into_iter().map(AuditNews::Finding))
        .chain([AuditNews::Summary(summary(count))]);
    let ended = audit::report(stream::iter(news.map(Ok)), &mut output).await;
    output.flush();
    (results.text(), ended)
}

#[tokio::test]
async fn an_audit_without_findings_is_a_summary() {
    let (results, ended) = audited(Format::Text, vec![]).await;
    assert!(ended.is_ok());
    assert_eq!(
        results,
        "\
Accounts  2
Entries   9
Findings  0
CURRENCY                      IN    OUT  INTEREST  TRANSFERRED     HELD  BALANCED
USD       $184467440737095516.14  $5.00    -$0.05        $0.00  $975.00  yes
"
    );
}

#[tokio::test]
async fn the_findings_of_an_audit_are_lines_and_an_exit_code() {
    let findings = || {
        vec![
            AuditFinding {
                kind: AuditFindingKind::EntryChanged,
                account_id: "123".parse().ok(),
                sequence: Some(4),
                message: "entry 4 was changed".into(),
            },
            AuditFinding {
                kind: AuditFindingKind::MoneyUnbalanced,
                account_id: None,
                sequence: None,
                message: "$1.00 too much".into(),
            },
        ]
    };
    let (results, ended) = audited(Format::Text, findings()).await;
    let lines: Vec<_> = results.lines().collect();
    assert_eq!(lines[0], "entry_changed: account 123: entry 4 was changed");
    assert_eq!(lines[1], "money_unbalanced: $1.00 too much");
    assert_eq!(lines[4], "Findings  2");
    let failure = ended.unwrap_err();
    assert_eq!(failure.to_string(), "the audit has 2 findings");
    assert_eq!((failure.exit as u8, failure.reason), (9, "AUDIT_FINDINGS"));

    let (results, ended) = audited(Format::Json, findings()).await;
    assert!(ended.is_err());
    let lines: Vec<_> = results.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"finding":{"kind":"entry_changed","account_id":"123","sequence":4,"message":"entry 4 was changed"}}"#
    );
    assert_eq!(
        lines[1],
        r#"{"finding":{"kind":"money_unbalanced","account_id":null,"sequence":null,"message":"$1.00 too much"}}"#
    );
    assert_eq!(
        lines[2],
        concat!(
            r#"{"summary":{"accounts_checked":2,"entries_checked":9,"findings":2,"books":[{"#,
            r#""currency_code":"USD","#,
            r#""money_in":{"minor_units":"18446744073709551614","amount":"184467440737095516.14"},"#,
            r#""money_out":{"minor_units":"500","amount":"5.00"},"#,
            r#""interest":{"minor_units":"-5","amount":"-0.05"},"#,
            r#""transferred":{"minor_units":"0","amount":"0.00"},"#,
            r#""held":{"minor_units":"97500","amount":"975.00"},"balanced":false}]}}"#
        )
    );
}

#[test]
fn a_watch_is_rows_as_they_come_or_a_line_with_its_token() {
    let mut entries = history();
    entries.reverse();
    let news = WatchNews { entries, resume_token: "t-1".into() };
    let (mut output, results, _) = record(Format::Text);
    output.text(table::watch_titles());
    output.watched(&news);
    assert_eq!(
        results.text(),
        "\
TIME                      ACCOUNT           KIND                         AMOUNT         BALANCE  COUNTERPARTY      DESCRIPTION
2026-01-01T00:00:01Z      123               account_opened                $0.00           $0.00
2026-01-01T00:00:02Z      123               deposit                    $1000.00        $1000.00
2026-01-01T00:00:03Z      123               transfer_out                -$25.00         $975.00  456               rent for Zürich
"
    );

    let (mut output, results, _) = record(Format::Json);
    output.watched(&news);
    let line: serde_json::Value = serde_json::from_str(&results.text()).unwrap();
    assert_eq!((&line["resume_token"], &line["entries"][2]["kind"]), (&json!("t-1"), &json!("transfer_out")));
    output.watched(&WatchNews { entries: Vec::new(), ..news });
    assert_eq!(results.text(), "{\"entries\":[],\"resume_token\":\"t-1\"}\n");
}
