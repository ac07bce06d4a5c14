use std::fs;

use bank_client::Timestamp;
use tempfile::TempDir;

use super::*;

fn sending(ids: &[&str], ms: i64) -> Record {
    let time = Timestamp::try_from_unix_ms(ms).unwrap();
    let sent = Sent { time, bank_time: time, retention_seconds: 86_400, caller: None };
    let lines = ids.iter().map(|id| SentLine {
        line: 2,
        account_id: "a".parse().unwrap(),
        request_id: id.parse().unwrap(),
        operation: "deposit".to_owned(),
        content: None,
    });
    Record::Sending(Sending { sent, atomic: false, lines: lines.collect() })
}

fn result(id: &str, status: Status) -> Record {
    Record::Result(StoredResult {
        line: 2,
        account_id: "a".parse().unwrap(),
        request_id: id.parse().unwrap(),
        status,
        error: None,
        applied: Some(serde_json::json!({"transaction_id": "t"})),
    })
}

fn run() -> Record {
    Record::Run(Run::new(Some("payroll".to_owned()), "payments.csv".to_owned(), "bank".to_owned()))
}

fn state<'a>(history: &'a History, id: &str) -> Option<&'a State> {
    let key = ("a".parse().unwrap(), id.parse().unwrap());
    history.requests.get(&key).map(|request| &request.state)
}

fn written(records: Vec<Record>) -> Vec<u8> {
    struct Memory(Vec<u8>);
    impl Disk for Memory {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    let mut memory = Memory(Vec::new());
    History::default().append(&mut memory, records).unwrap();
    memory.0
}

#[test]
fn what_is_written_is_read() {
    let records = vec![
        run(),
        sending(&["1", "2", "3"], 5),
        result("1", Status::Applied),
        result("2", Status::Rejected),
    ];
    let bytes = written(records);
    let history = History::read(&*bytes).unwrap();
    assert_eq!(state(&history, "1"), Some(&State::Applied));
    assert_eq!(state(&history, "2"), Some(&State::Rejected(Rejection::default())));
    let Some(State::Pending(pending)) = state(&history, "3") else { panic!("{history:?}") };
    assert_eq!((pending.batch_lines, pending.sent.time.unix_ms()), (3, 5));
    assert_eq!(state(&history, "4"), None);
    assert_eq!(history.length, bytes.len() as u64);
    let first = String::from_utf8(bytes).unwrap();
    assert!(first.starts_with(
        r#"{"record":"run","version":1,"name":"payroll","input":"payments.csv","bank_id":"bank"}"#
    ));
}

/// The bank forgets an id so long after it was sent first, not after it was sent last.
#[test]
fn a_request_that_is_sent_again_keeps_the_time_of_its_first_sending_until_it_is_known() {
    let mut records = vec![run(), sending(&["1"], 5), sending(&["1"], 9)];
    let first = |records: &[Record]| {
        let history = History::read(&*written(records.to_vec())).unwrap();
        let Some(State::Pending(pending)) = state(&history, "1") else { panic!("{history:?}") };
        pending.sent.time.unix_ms()
    };
    assert_eq!(first(&records), 5);
    records.extend([result("1", Status::NotApplied), sending(&["1"], 12)]);
    assert_eq!(first(&records), 12);
}

#[test]
fn a_crash_may_cut_the_file_anywhere() {
    let bytes = written(vec![run(), sending(&["1"], 5), result("1", Status::Applied)]);
    for length in 0..=bytes.len() {
        let history = History::read(&bytes[..length]).unwrap();
        let whole = bytes[..length].iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        assert_eq!(history.length, whole as u64);
        assert_eq!(history.run.is_some(), whole > 0);
    }
}

#[test]
fn what_is_no_results_file_or_a_damaged_one_is_not_taken() {
    let good = String::from_utf8(written(vec![run(), sending(&["1"], 5)])).unwrap();
    let other = good.replacen("\"version\":1", "\"version\":2", 1);
    let zeros = format!("{good}\0\0\0\n");
    let (first, second) = good.split_once('\n').unwrap();
    for (contents, what) in [
        ("operation,account_id\n", "is not a results file"),
        ("operation", "is not a results file"),
        ("{\"line\":2}\n", "is not a results file"),
        (&*other, "it has version 2 of the format, not 1"),
        (&*zeros, "is damaged at line 3"),
        (second, "is damaged at line 1: it does not say which run"),
        (&*format!("{first}\n{first}\n"), "is damaged at line 2: it names its run again"),
        (&*format!("{first}\n{{}}\n{second}"), "is damaged at line 2: missing field `record`"),
    ] {
        let said = History::read(contents.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(what) && !said.contains("column"), "{contents:?}: {said}");
    }
}

#[test]
fn the_file_is_private_has_one_user_and_is_cut_to_its_last_whole_line() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("r.jsonl");
    let (mut file, mut history) = ResultsFile::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(ResultsFile::open(&path), Err(Unavailable::InUse)));
    assert!(matches!(ResultsFile::look(&path), Err(Unavailable::InUse)));
    history.append(&mut file, vec![run(), sending(&["1"], 5)]).unwrap();
    drop(file);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&*whole, b"{\"record\":\"res"].concat()).unwrap();
    assert!(state(&ResultsFile::look(&path).unwrap(), "1").is_some());
    let (mut file, mut history) = ResultsFile::open(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);
    history.append(&mut file, vec![result("1", Status::Applied)]).unwrap();
    drop(file);
    assert_eq!(state(&ResultsFile::look(&path).unwrap(), "1"), Some(&State::Applied));

    // Somebody else's file is left as it is.
    fs::write(&path, "notes").unwrap();
    assert!(matches!(ResultsFile::open(&path), Err(Unavailable::Unreadable(_))));
    assert_eq!(fs::read(&path).unwrap(), b"notes");
    assert!(ResultsFile::look(&directory.path().join("none")).unwrap().run.is_none());
}

#[test]
fn a_file_and_its_results_belong_together_by_where_they_are() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for month in ["may", "june"] {
        fs::create_dir(at(month)).unwrap();
        fs::write(at(month).join("p.csv"), "").unwrap();
    }
    let input = |file: &str, results: Option<&str>| {
        let results = results.map(&at);
        Place::of(&at(file), results.as_deref()).unwrap().unwrap().input
    };
    assert_eq!(input("may/p.csv", None), "p.csv");
    assert_eq!(input("june/../may/p.csv", None), "p.csv");
    assert_eq!(input("may/p.csv", Some("r.jsonl")), "may/p.csv");
    assert_eq!(input("june/p.csv", Some("may/r.jsonl")), "../june/p.csv");
    assert_eq!(Place::of("-".as_ref(), None).unwrap(), None);
    assert_eq!(Place::of("-".as_ref(), Some("r".as_ref())).unwrap().unwrap().input, "-");
}
