//! The results file: what is about to be sent, and what became of it.
//!
//! It is lines of JSON that are only ever appended. The first says which run the file belongs to. Before a batch is
//! sent, its request ids are written and synced to disk; when it is answered, so are the results. So whatever was
//! sent is in the file, and after a crash at any moment the next run knows which lines have no result.

mod file;
mod record;

use std::{
    collections::HashMap,
    io::{self, BufRead},
};

use bank_client::{AccountId, RequestId};

pub(crate) use self::file::Unavailable;
pub(super) use self::{
    file::{Place, ResultsFile},
    record::{Caller, Record, Rejection, Run, Sending, Sent, SentLine, Status, StoredResult},
};

use super::input::said;

/// The longest line, in bytes. A batch of 10,000 operations takes about 2 MB.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a request is known by: the account that it names first, and its id.
pub(super) type Key = (AccountId, RequestId);

/// Where records go. What has been synced survives a crash.
pub(super) trait Disk {
    /// Appends bytes, and returns once they are on the disk.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// What a results file says of all requests.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) run: Option<Run>,
    pub(super) requests: HashMap<Key, Request>,
    /// How long the file is up to its last whole line, in bytes. What is behind was cut by a crash.
    length: u64,
    /// How many records it has.
    records: u64,
}

/// A request that was sent, or about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) line: u64,
    pub(super) operation: String,
    /// What a line with a given id asked for.
    pub(super) content: Option<String>,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It may have been sent, and its result is not recorded.
    Pending(Pending),
    Applied,
    Rejected(Rejection),
    /// It was certainly not carried out, and may be sent under the same id.
    NotApplied,
}

/// When and how a request was first sent that has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// Which batch it was sent in, by the number of its record, and how many lines that had.
    pub(super) batch: u64,
    pub(super) batch_lines: usize,
    pub(super) atomic: bool,
    pub(super) sent: Sent,
}

/// Why a results file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("is not a results file of `bank apply`: {0}")]
    Foreign(String),
    #[error("is damaged at line {line}: {what}")]
    Damaged { line: u64, what: String },
}

impl History {
    /// Reads a results file. A last line without an end was cut by a crash: what it was to say was not synced, so
    /// nothing was done that depends on it.
    pub(super) fn read(mut file: impl BufRead) -> Result<Self, Unreadable> {
        let mut history = Self::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let length = io::Read::take(&mut file, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                if number == 1 && !record::may_be_run(&line) {
                    return Err(Unreadable::Foreign("its first line is not one".to_owned()));
                }
                if length as u64 == LINE_BYTES_MAX {
                    return Err(Unreadable::Damaged { line: number, what: "it is too long".to_owned() });
                }
                break;
            }
            let record: Record = serde_json::from_slice(&line).map_err(|error| match number {
                1 => Unreadable::Foreign(said(&error)),
                _ => Unreadable::Damaged { line: number, what: said(&error) },
            })?;
            history
                .add(record)
                .map_err(|what| Unreadable::Damaged { line: number, what: what.to_owned() })?;
            history.length += length as u64;
        }
        Ok(history)
    }

    /// How long the file is up to the end of its last whole line, in bytes.
    #[cfg(test)]
    pub(super) fn whole(&self) -> u64 {
        self.length
    }

    fn add(&mut self, record: Record) -> Result<(), &'static str> {
        match (record, &self.run) {
            (Record::Run(run), None) => self.run = Some(run),
            (Record::Run(_), Some(_)) => return Err("it names its run again"),
            (_, None) => return Err("it does not say which run it belongs to"),
            (Record::Sending(sending), Some(_)) => self.sent(sending),
            (Record::Result(result), Some(_)) => self.resulted(result)?,
        }
        self.records += 1;
        Ok(())
    }

    /// A request that is sent again while its result is unknown keeps the time at which it was sent first: the bank
    /// may have recorded it then.
    fn sent(&mut self, sending: Sending) {
        let Sending { sent, atomic, lines } = sending;
        let batch_lines = lines.len();
        for SentLine { line, account_id, request_id, operation, content } in lines {
            let key = (account_id, request_id);
            if matches!(self.requests.get(&key), Some(Request { state: State::Pending(_), .. })) {
                continue;
            }
            let pending = Pending { batch: self.records, batch_lines, atomic, sent: sent.clone() };
            self.requests.insert(key, Request { line, operation, content, state: State::Pending(pending) });
        }
    }

    fn resulted(&mut self, result: StoredResult) -> Result<(), &'static str> {
        let StoredResult { account_id, request_id, status, error, .. } = result;
        let Some(request) = self.requests.get_mut(&(account_id, request_id)) else {
            return Err("it has the result of a request that was not sent");
        };
        request.state = match status {
            Status::Applied => State::Applied,
            Status::Rejected => State::Rejected(error.unwrap_or_default()),
            Status::NotApplied => State::NotApplied,
        };
        Ok(())
    }

    /// Adds records to the file, and then to what is known of it.
    pub(super) fn append(&mut self, disk: &mut impl Disk, records: Vec<Record>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in &records {
            serde_json::to_writer(&mut bytes, record)?;
            bytes.push(b'\n');
        }
        disk.append(&bytes)?;
        for record in records {
            self.add(record).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
