//! The records of a results file, as they are written.

use bank_client::{AccountId, Error, RequestId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The version of the format. Another is not read.
const VERSION: u32 = 1;
/// How every results file begins.
const BEGINNING: &[u8] = br#"{"record":"run","version":"#;

/// One line of a results file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(in crate::apply) enum Record {
    Run(Run),
    Sending(Sending),
    Result(StoredResult),
}

/// What a results file belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::apply) struct Run {
    version: Version,
    /// None where every line has its own request id.
    pub(in crate::apply) name: Option<String>,
    /// Where the file of operations is, seen from the directory of the results file; `-` for a pipe.
    pub(in crate::apply) input: String,
    /// Of the bank that the operations were sent to.
    pub(in crate::apply) bank_id: String,
}

impl Run {
    pub(in crate::apply) fn new(name: Option<String>, input: String, bank_id: String) -> Self {
        Self { version: Version, name, input, bank_id }
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

/// When, by whom, and how long the bank keeps request ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::apply) struct Sent {
    /// By the clock of this machine.
    #[serde(with = "rfc_3339")]
    pub(in crate::apply) time: Timestamp,
    /// By the clock of the bank.
    #[serde(with = "rfc_3339")]
    pub(in crate::apply) bank_time: Timestamp,
    pub(in crate::apply) retention_seconds: u64,
    pub(in crate::apply) caller: Option<Caller>,
}

/// Who the bank takes the caller for. Request ids are scoped to the subject, and accounts are visible as scopes say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) subject: String,
    /// Those of the bank, in order.
    pub(crate) scopes: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::apply) struct SentLine {
    pub(in crate::apply) line: u64,
    pub(in crate::apply) account_id: AccountId,
    pub(in crate::apply) request_id: RequestId,
    pub(in crate::apply) operation: String,
    /// What it asks for, where the request id does not say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(in crate::apply) content: Option<String>,
}

/// What became of a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::apply) struct StoredResult {
    pub(in crate::apply) line: u64,
    pub(in crate::apply) account_id: AccountId,
    pub(in crate::apply) request_id: RequestId,
    pub(in crate::apply) status: Status,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(in crate::apply) error: Option<Rejection>,
    /// The transaction, the amount and the balance, for whoever reads the file.
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
pub(in crate::apply) struct Rejection {
    pub(in crate::apply) reason: String,
    pub(in crate::apply) message: String,
}

impl Rejection {
    pub(in crate::apply) fn of(error: &Error) -> Self {
        Self { reason: error.reason().to_owned(), message: error.to_string() }
    }
}

/// Whether a first line without an end may be the beginning of that of a results file.
pub(super) fn may_be_run(line: &[u8]) -> bool {
    let length = line.len().min(BEGINNING.len());
    line[..length] == BEGINNING[..length]
}

/// The number that it is read and written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        VERSION.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Self),
            other => {
                Err(de::Error::custom(format_args!("it has version {other} of the format, not {VERSION}")))
            }
        }
    }
}

/// Times as they are printed everywhere.
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
