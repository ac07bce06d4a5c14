use bank_client::Timestamp;

use super::*;

pub(in crate::apply) fn sending(ids: &[&str], ms: i64) -> Record {
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

pub(in crate::apply) fn result(id: &str, status: Status) -> Record {
    Record::Result(StoredResult {
        line: 2,
        account_id: "a".parse().unwrap(),
        request_id: id.parse().unwrap(),
        status,
        error: None,
        applied: Some(serde_json::json!({"transaction_id": "t"})),
    })
}

pub(in crate::apply) fn run() -> Record {
    Record::Run(Run::new(Some("payroll".to_owned()), "payments.csv".to_owned(), "bank".to_owned()))
}

pub(in crate::apply) fn state<'a>(history: &'a History, id: &str) -> Option<&'a State> {
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
fn records_that_are_written_can_be_read() {
    let records = vec![
        run(),
        sending(&["1", "2", "3"], 5),
        result("1", Status::Applied),
        result("2", Status::Rejected),
    ];
    let bytes = written(records);
    let history = History::read(&*bytes).unwrap();
    assert_eq!(state(&history, "1"), Some(&State::Applied));
    assert_eq!(state(&history, "2"), Some(&State::Rejected(Cause::default())));
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
fn other_and_damaged_files_are_refused() {
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
        (second, "is not a results file of `bank apply`: it does not name its run first"),
        (&*format!("{first}\n{first}\n"), "is damaged at line 2: it names its run again"),
        (&*format!("{first}\n{{}}\n{second}"), "is damaged at line 2: missing field `record`"),
    ] {
        let said = History::read(contents.as_bytes()).unwrap_err();
        assert!(said.contains(what) && !said.contains("column"), "{contents:?}: {said}");
    }
}
