use std::collections::BTreeMap;

use bank_domain::{
    AccountType, Command, Context, Currency, Deposit, Description, Labels, OpenAccount, Owner, Timestamp,
    decide,
};

use super::*;

/// Files that were written must stay readable, and equal banks equal files.
#[test]
fn lines_are_as_they_have_always_been() {
    let context = |ms| Context {
        now: Timestamp::try_from_unix_ms(ms).unwrap(),
        ahead_max: std::time::Duration::MAX,
        request_id: "r 1".replace(' ', "-").parse().ok(),
    };
    let labels = Labels::try_from(BTreeMap::from([("branch".to_owned(), "\u{e9}\"".to_owned())]));
    let owner: Owner = "alice".parse().unwrap();
    let open = OpenAccount::try_new(
        "a:1".parse().unwrap(),
        AccountType::Checking,
        Currency::USD,
        owner,
        labels.unwrap(),
        Some(bank_domain::OverdraftLimit::try_new(None, 500).unwrap()),
    );
    let opened = decide(|_| None, &Command::OpenAccount(open.unwrap()), &context(1_000)).unwrap().primary;
    let deposit = Command::Deposit(Deposit {
        account_id: "a:1".parse().unwrap(),
        amount: bank_domain::Amount::try_new(None, i64::MAX).unwrap(),
        description: "all\\of it".parse::<Description>().unwrap(),
    });
    let paid = decide(|_| Some(&opened.account), &deposit, &context(2_000)).unwrap().primary;
    let key = RequestKey {
        account_id: "a:1".parse().unwrap(),
        request_id: "r-1".parse().unwrap(),
        caller: Caller::new("bob smith"),
    };
    let record = RequestRecord {
        fingerprint: Fingerprint::from_bits(0xab),
        attempt: Attempt(u64::MAX),
        outcome: RecordedOutcome::Entry(paid.entry.id()),
        recorded_at: 2,
    };
    let rejection = Rejection::AccountFrozen { account_id: "a:1".parse().unwrap() };
    let outcome = RecordedOutcome::Rejected(Box::new(rejection));
    let rejected = (key.clone(), RequestRecord { outcome, ..record.clone() });
    let request = (key, record);
    let lines = [
        Line::Backup(Header::of(Placement::default())),
        Line::Account(Box::new(Account::clone(&paid.account))),
        Line::Entry(Box::new(Entry::clone(&opened.entry))),
        Line::Entry(Box::new(Entry::clone(&paid.entry))),
        Line::Request(Box::new(request.clone().into())),
        Line::Request(Box::new(rejected.into())),
        Line::End(End { accounts: 1, entries: 2, requests: 2, sha256: "00".to_owned() }),
    ];
    let text: Vec<_> = lines.iter().map(|line| String::from_utf8(line.to_bytes()).unwrap()).collect();
    assert_eq!(text.concat(), include_str!("../sample.jsonl"));
    for (line, text) in lines.iter().zip(&text) {
        assert_eq!(Line::from_bytes(text.as_bytes()).as_ref(), Ok(line));
    }
    let Line::Request(read) = Line::from_bytes(text[4].as_bytes()).unwrap() else { panic!() };
    assert_eq!(<(RequestKey, RequestRecord)>::try_from(*read), Ok(request));
}

#[test]
fn other_spellings_are_refused() {
    let good = r#"{"end":{"accounts":1,"entries":2,"requests":3,"sha256":""}}"#;
    assert!(Line::from_bytes(format!("{good}\n").as_bytes()).is_ok());
    let spelling = "is not spelled as the bank writes it";
    for (bad, expected) in [
        (good.to_owned(), spelling),
        (format!("{good}\r\n"), spelling),
        (format!(" {good}\n"), spelling),
        (format!("{good}\n\n"), spelling),
        (format!("{}\n", good.replace("\"entries\":2", "\"entries\": 2")), spelling),
        (format!("{}\n", good.replace("\"entries\":2", "\"entries\":2,\"more\":1")), spelling),
        (
            format!("{}\n", good.replace("\"entries\":2", "\"entries\":2,\"entries\":2")),
            "duplicate field `entries`",
        ),
        (format!("{}\n", good.replace("\"entries\":2,", "")), "missing field `entries`"),
        (format!("{}\n", good.replace(":2", ":2.0")), "invalid type: floating point `2.0`"),
        (format!("{}\n", good.replace("end", "finish")), "unknown variant `finish`"),
    ] {
        let error = Line::from_bytes(bad.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{bad:?}: {error}");
    }
}
