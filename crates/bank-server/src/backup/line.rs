//! The lines of a file.
//!
//! ```text
//! {"backup":{"version":1,"partitions":256}}
//! {"account":{"id":"123",...}}
//! {"entry":{"transaction_id":"123/1767225600000-1","account_id":"123","sequence":1,...}}
//! {"request":{"account_id":"123","request_id":"...","caller":"",...}}
//! {"end":{"accounts":1,"entries":1,"requests":1,"sha256":"..."}}
//! ```
//!
//! * Accounts are in the order of their partition, then of their id; each is followed by its entries,
//!   oldest first, and these by the records of the requests that name it first, in the order of request
//!   id and caller. Where there is no account, records stand where it would be.
//! * Money is whole minor units, times of accounts and entries are milliseconds since 1970, those of
//!   records seconds. All numbers are exact: some are beyond what a 64-bit float holds.
//! * `sha256` is over all bytes before the last line. Every line ends with a line feed, and has no
//!   blanks but those within texts.
//!
//! The id of the bank is not in it: a bank that is filled from a file has an id of its own, so nobody
//! takes a copy for the original.

use bank_domain::{Account, AccountId, Entry, EntryId, Fingerprint, Rejection, RequestId};
use bank_store::{Attempt, Caller, RecordedOutcome, RequestKey, RequestRecord};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What files are written as, and the only version that is read.
pub const VERSION: u32 = 1;

/// The longest line, in bytes: more than twice what an account with all its labels takes.
pub const LINE_BYTES_MAX: usize = 32 * 1024;

/// The checksum of lines, as 64 hexadecimal digits.
pub(super) fn checksum(lines: Sha256) -> String {
    lines.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first.
    Backup(Header),
    /// An account as it was when it was read.
    Account(Box<Account>),
    /// An entry of the account before.
    Entry(Box<Entry>),
    /// The outcome of a request.
    Request(Box<Request>),
    /// The last.
    End(End),
}

/// What the file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub version: u32,
    /// How many partitions the bank has, which the order of the accounts depends on.
    pub partitions: u32,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The account that it names first.
    pub account_id: AccountId,
    /// What its caller called it.
    pub request_id: RequestId,
    /// Who made it; empty for anybody.
    pub caller: String,
    /// What it meant, as 16 hexadecimal digits.
    pub fingerprint: String,
    /// Which try at it this is the outcome of, as 16 hexadecimal digits.
    pub attempt: String,
    /// When it was recorded, in seconds since 1970.
    pub recorded_at: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was carried out: the id of the entry, `<unix ms>-<sequence>`.
    Entry(String),
    /// It was refused.
    #[serde(rename = "refused")]
    Rejected(Box<Rejection>),
}

/// What the file must have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many accounts.
    pub accounts: u64,
    /// How many entries.
    pub entries: u64,
    /// How many records of requests.
    pub requests: u64,
    /// Of all bytes before this line, as 64 hexadecimal digits.
    pub sha256: String,
}

impl Line {
    /// The line as it is written, with the line feed at its end.
    pub fn to_bytes(&self) -> Vec<u8> {
        // No map here has keys that are not text, and memory does not fail: there is no error.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// A line from its bytes, with the line feed.
    ///
    /// # Errors
    /// What is wrong with it, also if it is only spelled in another way.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("is none that the bank writes: {}", without_place(&error)))?;
        if line.to_bytes() == bytes {
            return Ok(line);
        }
        Err("is not spelled as the bank writes it".to_owned())
    }
}

/// Where in the line is of little use beside which line it is.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or_else(|| text.clone(), |(what, _)| what.to_owned())
}

impl From<(RequestKey, RequestRecord)> for Request {
    fn from((key, record): (RequestKey, RequestRecord)) -> Self {
        let RequestRecord { fingerprint, attempt, outcome, recorded_at } = record;
        Self {
            account_id: key.account_id,
            request_id: key.request_id,
            caller: key.caller.as_str().to_owned(),
            fingerprint: fingerprint.to_string(),
            attempt: attempt.to_string(),
            recorded_at,
            outcome: match outcome {
                RecordedOutcome::Entry(id) => Outcome::Entry(id.to_string()),
                RecordedOutcome::Rejected(rejection) => Outcome::Rejected(rejection),
            },
        }
    }
}

impl TryFrom<Request> for (RequestKey, RequestRecord) {
    type Error = String;

    fn try_from(request: Request) -> Result<Self, String> {
        let Request { account_id, request_id, caller, fingerprint, attempt, recorded_at, outcome } = request;
        let key = RequestKey { account_id, request_id, caller: Caller::new(&caller) };
        let outcome = match outcome {
            Outcome::Rejected(rejection) => RecordedOutcome::Rejected(rejection),
            Outcome::Entry(id) => {
                let id = id.parse::<EntryId>();
                RecordedOutcome::Entry(id.map_err(|_| "names an entry by what is no id of one".to_owned())?)
            }
        };
        let fingerprint = Fingerprint::from_bits(bits("fingerprint", &fingerprint)?);
        let attempt = Attempt(bits("attempt", &attempt)?);
        Ok((key, RequestRecord { fingerprint, attempt, outcome, recorded_at }))
    }
}

fn bits(field: &str, text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16)
        .ok()
        .filter(|bits| format!("{bits:016x}") == text)
        .ok_or_else(|| format!("has a {field} that is not 16 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
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
            Line::Backup(Header { version: VERSION, partitions: 256 }),
            Line::Account(Box::new(Account::clone(&paid.account))),
            Line::Entry(Box::new(Entry::clone(&opened.entry))),
            Line::Entry(Box::new(Entry::clone(&paid.entry))),
            Line::Request(Box::new(request.clone().into())),
            Line::Request(Box::new(rejected.into())),
            Line::End(End { accounts: 1, entries: 2, requests: 2, sha256: "00".to_owned() }),
        ];
        let text: Vec<_> = lines.iter().map(|line| String::from_utf8(line.to_bytes()).unwrap()).collect();
        assert_eq!(text.concat(), include_str!("sample.jsonl"));
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
        for bad in [
            good.to_owned(),
            format!("{good}\r\n"),
            format!(" {good}\n"),
            format!("{good}\n\n"),
            format!("{}\n", good.replace("\"entries\":2", "\"entries\": 2")),
            format!("{}\n", good.replace("\"entries\":2", "\"entries\":2,\"more\":1")),
            format!("{}\n", good.replace("\"entries\":2", "\"entries\":2,\"entries\":2")),
            format!("{}\n", good.replace("\"entries\":2,", "")),
            format!("{}\n", good.replace(":2", ":2.0")),
            format!("{}\n", good.replace("end", "finish")),
        ] {
            assert!(Line::from_bytes(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
