//! The lines of a file: what each asks for, and the request ids under which it is sent.

use std::{collections::HashMap, path::Path};

use bank_client::{Currency, RequestId};

use super::{
    input::{self, LINES_MAX},
    instruction::{Content, Instruction, hash, hex},
};
use crate::failure::{Exit, Failure};

/// How many problems are shown.
const PROBLEMS_MAX: usize = 20;
/// Identifies the way in which request ids are derived. Another way needs another text.
const DERIVATION: &str = "bank apply 1";
/// How many bytes of a hash a request id has: enough to rule out collisions.
const ID_HASH_BYTES: usize = 24;
/// The largest size of an operation in a message besides the texts of its columns, in bytes.
const OPERATION_BYTES_MAX: usize = 256;

/// The problems of a file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// The first problems, each with the number of its line.
    pub(super) first: Vec<(u64, String)>,
    /// The number of further problems.
    more: usize,
}

/// An operation of a file.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) instruction: Instruction,
    pub(super) identity: Identity,
    /// Its largest size in a message to the bank.
    pub(super) bytes: usize,
}

/// What identifies a line in all versions of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// What it asks for, and its number among the lines that ask for the same, from 1.
    Derived { content: Content, ordinal: u32 },
    /// Its `request_id`.
    Given { request_id: RequestId, content: Content },
}

impl Problems {
    pub(super) fn add(&mut self, line: u64, problem: String) {
        if self.first.len() < PROBLEMS_MAX {
            self.first.push((line, problem));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.first.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The failure of a run of the file.
    pub(super) fn of(self, path: &Path) -> Failure {
        let first = self.first.iter().map(|(line, problem)| format!("line {line}: {problem}"));
        let more = (self.more > 0).then(|| format!("and {} more lines", self.more));
        let message = format!("{}: malformed, so nothing was sent", path.display());
        Failure::new(Exit::Invalid, "MALFORMED_LINES", message).with_details(first.chain(more).collect())
    }
}

/// Reads all lines.
///
/// # Errors
/// The problems of all malformed lines.
pub(super) fn read(contents: &[u8], default_currency: Option<Currency>) -> Result<Vec<Line>, Problems> {
    let mut lines = Vec::new();
    let mut problems = Problems::default();
    let mut alike: HashMap<Content, u32> = HashMap::new();
    let mut given = HashMap::new();
    let rows = input::rows(contents).map_err(|problem| Problems { first: vec![problem], more: 0 })?;
    for (number, row) in rows {
        if lines.len() == LINES_MAX {
            problems.add(number, format!("too many lines; a file may have {LINES_MAX} operations"));
            break;
        }
        let read = row.and_then(|row| {
            let instruction = Instruction::read(&row, default_currency)?;
            let content = instruction.content;
            let texts: usize = row.given().map(|(_, text)| text.len()).sum();
            let bytes = OPERATION_BYTES_MAX + texts;
            let identity = if row.get("request_id").is_empty() {
                let ordinal = alike.entry(content).or_default();
                *ordinal += 1;
                Identity::Derived { content, ordinal: *ordinal }
            } else {
                let request_id: RequestId =
                    row.get("request_id").parse().map_err(|error| format!("request_id {error}"))?;
                let key = (instruction.account_id.clone(), request_id.clone());
                if let Some(first) = given.insert(key, number) {
                    return Err(format!(
                        "request_id {request_id} is used on line {first} for the same account"
                    ));
                }
                Identity::Given { request_id, content }
            };
            Ok(Line { number, instruction, identity, bytes })
        });
        match read {
            Ok(line) => lines.push(line),
            Err(problem) => problems.add(number, problem),
        }
    }
    problems.none_or(lines)
}

impl Identity {
    /// The request id under which the line is sent after `attempt` rejections. The name of the run does not matter to
    /// a line that has its own id.
    pub(super) fn request_id(&self, name: &str, attempt: u32) -> RequestId {
        let attempt_text = attempt.to_string();
        let hash = match self {
            Self::Given { request_id, .. } if attempt == 0 => return request_id.clone(),
            Self::Given { request_id, content } => {
                hash([DERIVATION, "given", request_id.as_str(), &content.hex(), &attempt_text])
            }
            Self::Derived { content, ordinal } => {
                hash([DERIVATION, "derived", name, &content.hex(), &ordinal.to_string(), &attempt_text])
            }
        };
        let text = format!("apply-{}", hex(&hash[..ID_HASH_BYTES]));
        #[expect(clippy::expect_used, reason = "6 characters and 48 hexadecimal digits are a request id")]
        text.parse().expect("visible ASCII, at most 64 characters")
    }

    /// What a line with its own request id asks for. A derived id depends on it already.
    pub(super) fn content_of_given(&self) -> Option<String> {
        match self {
            Self::Given { content, .. } => Some(content.hex()),
            Self::Derived { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
