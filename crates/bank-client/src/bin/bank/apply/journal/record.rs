//! The records of a results file, as they are written.

use bank_client::{AccountId, Error, RequestId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The version of the format.
const VERSION: u32 = 1;
/// The beginning of every results file.
const BEGINNING: &[u8] = br#"{"record":"run","version":"#;

/// One line of a results file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(in crate::apply) enum Record {
    Run(Run),
    Sending(Sending),
    Result(StoredResult),
}

/// The run that a results file belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::apply) struct Run {
    #[serde(deserialize_with = "version")]
    version: u32,
    /// None if every line has its own request id.
    pub(in crate::apply) name: Option<String>,
    /// The path of the file of operations, relative to the directory of the results file; `-` for a pipe.
    pub(in crate::apply) input: String,
    pub(in crate::apply) bank_id: String,
}

impl Run {
    pub(in crate::apply) fn new(name: Option<String>, input: String, bank_id: String) -> Self {
        Self { version: VERSION, name, input, bank_id }
    }
}

/// A batch that is about to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::apply) struct Sending {
    #[serde(flatten)]
    pub(in crate::apply) sent: Sent,
    pub(in crate::apply) atomic: bool,
    pub(in crate::apply) lines: Vec<SentLine>,
}

/// When and by whom a batch was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::apply) struct Sent {
    /// By the clock of this machine.
    #[serde(with = "rfc_3339")]
    pub(in crate::apply) time: Timestamp,
    /// By the clock of the bank.
    #[serde(with = "rfc_3339")]
    pub(in crate::apply) bank_time: Timestamp,
    /// How long the bank keeps request ids.
    pub(in crate::apply) retention_seconds: u64,
    pub(in crate::apply) caller: Option<Caller>,
}

/// The caller, according to its token. Request ids are scoped to the subject, and scopes decide which accounts are
/// visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::apply) struct Caller {
    pub(in crate::apply) subject: String,
    /// The scopes of the bank, sorted.
    pub(in crate::apply) scopes: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::apply) struct SentLine {
    pub(in crate::apply) line: u64,
    pub(in crate::apply) account_id: AccountId,
    pub(in crate::apply) request_id: RequestId,
    pub(in crate::apply) operation: String,
    /// What the line asks for, if it has its own request id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(in crate::apply) content: Option<String>,
}

/// The result of a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::apply) struct StoredResult {
    pub(in crate::apply) line: u64,
    pub(in crate::apply) account_id: AccountId,
    pub(in crate::apply) request_id: RequestId,
    pub(in crate::apply) status: Status,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(in crate::apply) error: Option<Cause>,
    /// The transaction, the amount and the balance, for readers of the file.
    #[serde(flatten, skip_deserializing)]
    pub(in crate::apply) applied: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::apply) enum Status {
    Applied,
    Rejected,
    NotApplied,
}

/// Why a line was not carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::apply) struct Cause {
    pub(in crate::apply) reason: String,
    pub(in crate::apply) message: String,
}

impl Cause {
    pub(in crate::apply) fn of(error: &Error) -> Self {
        Self { reason: error.reason().to_owned(), message: error.to_string() }
    }
}

/// Whether an incomplete first line may be the beginning of a results file.
pub(super) fn may_be_run(line: &[u8]) -> bool {
    let length = line.len().min(BEGINNING.len());
    line[..length] == BEGINNING[..length]
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(de::Error::custom(format_args!("it has version {other} of the format, not {VERSION}"))),
    }
}

mod rfc_3339 {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        Timestamp::try_from_unix_ms(time.as_millisecond()).map_err(de::Error::custom)
    }
}
