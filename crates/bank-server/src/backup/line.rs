//! The lines of a backup file.
//!
//! ```text
//! {"backup":{"version":2,"partitions":1024,"placement":"route"}}
//! {"account":{"id":"123",...}}
//! {"entry":{"transaction_id":"123/1767225600000-1","account_id":"123","sequence":1,...}}
//! {"request":{"account_id":"123","request_id":"...","caller":"",...}}
//! {"end":{"accounts":1,"entries":1,"requests":1,"sha256":"..."}}
//! ```
//!
//! * Accounts are ordered by partition, then by id. Each is followed by its entries, oldest first, and then by the
//!   records of the requests that name it first, by request id and caller. Records without an account stand where it
//!   would be.
//! * Money is in minor units; times of accounts and entries are in milliseconds since 1970, those of records in seconds.
//!   Some numbers are beyond the precision of a 64-bit float.
//! * `sha256` covers all bytes before the last line. Every line ends with a line feed, and has no spaces outside strings.
//!
//! The id of the bank is not included: an imported bank gets a new id, so a copy cannot be mistaken for the original.

use bank_domain::{Account, AccountId, Entry, EntryId, Fingerprint, Rejection, RequestId};
use bank_store::{Attempt, Caller, Placement, PlacementRule, RecordedOutcome, RequestKey, RequestRecord};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The version of the format that is written.
pub const VERSION: u32 = 2;
/// The version of banks that placed accounts by their whole id. It is read.
pub const VERSION_BY_ACCOUNT_ID: u32 = 1;

/// The longest line, in bytes: more than twice the size of an account with all its labels.
pub const LINE_BYTES_MAX: usize = 32 * 1024;

/// The checksum of lines, as 64 hexadecimal digits.
pub(super) fn checksum(lines: Sha256) -> String {
    lines.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Backup(Header),
    /// An account.
    Account(Box<Account>),
    /// An entry of the preceding account.
    Entry(Box<Entry>),
    /// The outcome of a request.
    Request(Box<Request>),
    /// The last line.
    End(End),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub version: u32,
    /// The partitions of the bank, which determine the order of accounts.
    pub partitions: u32,
    /// What determines the partition of an account: `route` or `account_id`. Absent in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
}

impl Header {
    /// The header of the file of a bank.
    pub fn of(placement: Placement) -> Self {
        let rule = placement.rule().as_str().to_owned();
        Self { version: VERSION, partitions: placement.partitions(), placement: Some(rule) }
    }

    /// The placement of the bank that was exported; `None` if the header is wrong.
    pub fn placement(&self) -> Option<Placement> {
        let rule = match (self.version, &self.placement) {
            (VERSION, Some(name)) => PlacementRule::from_name(name)?,
            (VERSION_BY_ACCOUNT_ID, None) => PlacementRule::AccountId,
            _ => return None,
        };
        Some(Placement::try_new(self.partitions).ok()?.with_rule(rule))
    }
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The account that the request names first.
    pub account_id: AccountId,
    /// The request id.
    pub request_id: RequestId,
    /// The caller; empty without authentication.
    pub caller: String,
    /// The hash of its content, as 16 hexadecimal digits.
    pub fingerprint: String,
    /// The number of the attempt, as 16 hexadecimal digits.
    pub attempt: String,
    /// When it was recorded, in seconds since 1970.
    pub recorded_at: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was executed: the id of the entry, `<unix ms>-<sequence>`.
    Entry(String),
    /// It was rejected.
    #[serde(rename = "refused")]
    Rejected(Box<Rejection>),
}

/// The last line: what the file must contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The number of accounts.
    pub accounts: u64,
    /// The number of entries.
    pub entries: u64,
    /// The number of request records.
    pub requests: u64,
    /// The hash of all bytes before this line, as 64 hexadecimal digits.
    pub sha256: String,
}

impl Line {
    /// The bytes of the line, with its line feed.
    pub fn to_bytes(&self) -> Vec<u8> {
        // No map here has keys that are not text, and memory does not fail: there is no error.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Parses a line with its line feed.
    ///
    /// # Errors
    /// What is wrong with the line, even if only its spelling differs.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("is none that the bank writes: {}", without_place(&error)))?;
        if line.to_bytes() == bytes {
            return Ok(line);
        }
        Err("is not spelled as the bank writes it".to_owned())
    }
}

/// The message without the position, which is of little use next to the number of the line.
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
mod tests;
