//! Hostile text from servers and files: it stays on its line, and hidden characters are shown.

use bank_client::{
    Account, AuditFinding, AuditFindingKind, Compounding, DayCount, Entry, EntryKind, Error, FieldViolation,
    InterestBreakdown, InterestTerms, Receipt, RequestId, RoundingMode, Transaction, WatchNews,
    json::Json as _,
};
use bank_domain::visible;

use crate::{
    args::Format,
    failure::Failure,
    output::{
        Output,
        tests::{account, entry, list, parsed, receipt, record, server_info, time, usd},
    },
    table,
};

/// Starts a new line, clears the screen, reverses what follows, ends a line for some terminals, and hides a letter.
const HOSTILE: &str = "x\nerror: y\r\u{1b}[2J\u{202e}\u{85}\u{2028}\u{e0041}z";
const SHOWN: &str = r"x\nerror: y\r\u{1b}[2J\u{202e}\u{85}\u{2028}\u{e0041}z";

fn hostile() -> String {
    HOSTILE.to_owned()
}

/// Text must show the hostile text so many times on so many lines. JSON must contain it without hidden characters.
fn check(lines: usize, times: usize, print: impl Fn(&mut Output)) {
    let printed = |format| {
        let (mut output, results, notes) = record(format);
        print(&mut output);
        let printed = results.text() + &notes.text();
        assert!(
            printed.chars().all(|character| character == '\n' || !visible::is_hidden(character)),
            "{printed}"
        );
        printed
    };
    let text = printed(Format::Text);
    assert_eq!((text.lines().count(), text.matches(SHOWN).count()), (lines, times), "{text}");
    for line in printed(Format::Json).lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(document.to_string().contains(&serde_json::to_string(HOSTILE).unwrap()), "{line}");
    }
}

fn entry_with(text: &str) -> Entry {
    Entry {
        transaction_id: text.to_owned().into(),
        description: text.to_owned(),
        ..entry(2, EntryKind::Deposit, 1, 1)
    }
}

#[test]
fn in_results() {
    let entry = || entry_with(HOSTILE);
    let account =
        || Account { owner: hostile(), labels: [(hostile(), hostile())].into(), ..account("123", "USD", 1) };
    check(12, 3, |output| output.result(account().json(), table::account(&account())));
    check(1, 1, |output| {
        let receipt = Receipt { message: hostile(), entry: entry(), ..receipt() };
        output.answer(receipt.json(), &receipt.message, false, &parsed(&[]));
    });
    let transaction = Transaction {
        transaction_id: hostile().into(),
        created_at: time(3),
        entries: vec![entry(), entry()],
    };
    check(3, 2, |output| output.result(transaction.json(), table::transaction(&transaction)));
    let news = WatchNews { entries: vec![entry()], resume_token: HOSTILE.to_owned() };
    check(1, 1, |output| output.watched(&news));
    let finding = AuditFinding {
        kind: AuditFindingKind::Unreadable,
        account_id: None,
        sequence: None,
        message: hostile(),
    };
    check(1, 1, |output| output.result(finding.json(), table::finding(&finding)));
}

#[tokio::test]
async fn in_lists() {
    for format in [Format::Text, Format::Json] {
        let (results, _) = list(format, vec![entry_with(HOSTILE), entry_with(HOSTILE)], &[]).await;
        let hidden = results.chars().any(|character| character != '\n' && visible::is_hidden(character));
        assert!(!hidden, "{results}");
        assert_eq!(results.lines().count(), if format == Format::Text { 3 } else { 2 }, "{results}");
    }
}

#[test]
fn in_an_explanation_of_interest() {
    let terms = InterestTerms {
        annual_interest_rate: hostile(),
        period: Some(hostile()..hostile()),
        day_count: DayCount::Act365Fixed,
        compounding: Compounding::Simple,
        rounding_mode: RoundingMode::HalfEven,
    };
    let breakdown = InterestBreakdown {
        terms,
        principal: usd(1),
        days: 1,
        year_fraction: hostile(),
        compounding_periods: 1,
        growth_factor: hostile(),
        exact_interest: hostile(),
        interest: usd(1),
    };
    let text = table::breakdown(&breakdown).to_string();
    assert_eq!((text.lines().count(), text.matches(SHOWN).count()), (10, 6), "{text}");
}

#[test]
fn in_server_info() {
    let mut info = server_info();
    info.version = hostile();
    info.store.name = hostile();
    info.store.bank_id = hostile();
    info.store.problem = Some(hostile());
    info.store.durability.description = hostile();
    check(18, 5, |output| output.result(info.json(), table::server_info(&info)));
}

#[test]
fn in_failures() {
    let account_id = || "123".parse().unwrap();
    let request_id = || "r".parse::<RequestId>().unwrap();
    let violation = || FieldViolation { field: hostile(), description: hostile() };
    check_failure(1, 1, || Error::Internal(hostile()));
    check_failure(2, 1, || Error::Unavailable { message: hostile(), retry_after: None });
    check_failure(2, 1, || Error::OutcomeUnknown { request_id: request_id(), message: hostile() });
    check_failure(2, 2, || Error::InvalidArgument { message: String::new(), violations: vec![violation()] });
    check_failure(2, 1, || Error::EntriesLost { account_id: account_id(), sequence: 1, message: hostile() });
    check_failure(2, 1, || Error::TransactionNotFound(hostile().into()));
}

fn check_failure(lines: usize, times: usize, error: impl Fn() -> Error) {
    for format in [Format::Text, Format::Json] {
        let (output, results, notes) = record(format);
        output.finish(Err(Failure::from(error())));
        let printed = notes.text();
        assert_eq!(results.text(), "");
        let hidden = printed.chars().any(|character| character != '\n' && visible::is_hidden(character));
        assert!(!hidden, "{printed}");
        if format == Format::Text {
            assert_eq!(
                (printed.lines().count(), printed.matches(SHOWN).count()),
                (lines, times),
                "{printed}"
            );
        } else {
            let error: serde_json::Value = serde_json::from_str(&printed).unwrap();
            assert!(error["error"]["message"].as_str().unwrap().contains(HOSTILE), "{printed}");
        }
    }
}

#[test]
fn in_notes() {
    let (mut output, _, notes) = record(Format::Text);
    output.note(HOSTILE);
    assert_eq!(notes.text(), format!("note: {SHOWN}\n"));
}
