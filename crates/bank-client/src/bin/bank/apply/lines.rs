//! The lines of a file: what each asks for, and the request ids under which it is sent.

use std::collections::HashMap;

use bank_client::{Currency, RequestId};

use super::{
    input::{self, LINES_MAX, Problem},
    instruction::{Content, Instruction, hash, hex},
};

/// How many problems are shown.
const PROBLEMS_MAX: usize = 20;
/// Names the way in which request ids are derived. Another way needs another text.
const DERIVATION: &str = "bank apply 1";
/// How many bytes of a hash a request id has: enough that nobody finds two lines with one id.
const ID_HASH_BYTES: usize = 24;

/// What is wrong with a file.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    /// The first so many.
    pub(crate) first: Vec<Problem>,
    /// How many there are besides.
    pub(crate) more: usize,
}

/// An operation of a file.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) instruction: Instruction,
    pub(super) identity: Identity,
    /// How large it is in a message to the bank, at most.
    pub(super) bytes: usize,
}

/// The most that a message has of an operation besides the texts of its columns, in bytes.
const OPERATION_BYTES_MAX: usize = 256;

/// What makes a line the same line in another version of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// What it asks for, and which of the lines it is that ask for the same, from 1.
    Derived { content: Content, ordinal: u32 },
    /// Its `request_id`.
    Given { request_id: RequestId, content: Content },
}

impl Problems {
    pub(super) fn add(&mut self, line: u64, what: String) {
        if self.first.len() < PROBLEMS_MAX {
            self.first.push(Problem { line, what });
        } else {
            self.more += 1;
        }
    }

    pub(super) fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.first.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { first: vec![problem], more: 0 }
    }
}

/// Reads all lines.
///
/// # Errors
/// What is wrong with any of them.
pub(super) fn read(contents: &[u8], default_currency: Option<Currency>) -> Result<Vec<Line>, Problems> {
    let mut lines = Vec::new();
    let mut problems = Problems::default();
    let mut alike: HashMap<Content, u32> = HashMap::new();
    let mut given = HashMap::new();
    for (number, row) in input::rows(contents)? {
        if lines.len() == LINES_MAX {
            problems.add(number, format!("is one too many; a file may have {LINES_MAX} operations"));
            break;
        }
        let read = row.and_then(|row| {
            let instruction = Instruction::read(&row, default_currency)?;
            let content = instruction.content();
            let texts: usize = row.given().map(|(_, text)| text.len()).sum();
            let bytes = OPERATION_BYTES_MAX + texts;
            let identity = if row.request_id.is_empty() {
                let ordinal = alike.entry(content).or_default();
                *ordinal += 1;
                Identity::Derived { content, ordinal: *ordinal }
            } else {
                let request_id: RequestId =
                    row.request_id.parse().map_err(|error| format!("request_id {error}"))?;
                let key = (instruction.account_id.clone(), request_id.clone());
                if let Some(first) = given.insert(key, number) {
                    return Err(format!(
                        "request_id {request_id} is on line {first} already, for the same account"
                    ));
                }
                Identity::Given { request_id, content }
            };
            Ok(Line { number, instruction, identity, bytes })
        });
        match read {
            Ok(line) => lines.push(line),
            Err(what) => problems.add(number, what),
        }
    }
    problems.none_or(lines)
}

impl Identity {
    /// The request id under which the line is sent: for the first time, or again after it was rejected so many
    /// times. The name of the run makes no difference to a line that has its own.
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

    /// For a line with its own request id, what the line asks for; a derived id says that by itself.
    pub(super) fn content_of_given(&self) -> Option<String> {
        match self {
            Self::Given { content, .. } => Some(content.hex()),
            Self::Derived { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
