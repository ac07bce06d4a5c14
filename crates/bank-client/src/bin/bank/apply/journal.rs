//! The records of a results file, and the state of all requests that follows from them.
//!
//! A results file is lines of JSON that are only ever appended. The first says which run the file belongs to. Before a
//! batch is sent, its request ids are written and synced to disk; once it is answered, so are the results. So whatever
//! was sent is in the file, and after a crash at any moment the next run knows which lines have no result.

mod record;

use std::{
    collections::HashMap,
    io::{self, BufRead},
};

use bank_client::{AccountId, RequestId};

pub(super) use self::record::{Caller, Cause, Record, Run, Sending, Sent, SentLine, Status, StoredResult};
use super::row::problem;

/// The longest line, in bytes. A batch of 10,000 operations takes about 2 MB.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What identifies a request: the account that it names first, and its id.
pub(super) type Key = (AccountId, RequestId);

/// A place to append records to.
pub(super) trait Disk {
    /// Appends bytes, and returns once they are synced to disk.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// The state of all requests of a results file.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) run: Option<Run>,
    pub(super) requests: HashMap<Key, Request>,
    /// The length of the file up to its last complete line, in bytes. What follows was cut by a crash.
    pub(super) length: u64,
    records: u64,
}

/// A request that was sent or is about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) line: u64,
    pub(super) operation: String,
    /// What a line with its own request id asked for.
    pub(super) content: Option<String>,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It may have been sent, and has no result.
    Pending(Pending),
    Applied,
    Rejected(Cause),
    /// It was certainly not carried out, and may be sent under the same id.
    NotApplied,
}

/// The first sending of a request that has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// The number of the record of its batch.
    pub(super) batch: u64,
    pub(super) batch_lines: usize,
    pub(super) atomic: bool,
    pub(super) sent: Sent,
}

impl History {
    /// Reads a results file. A last line without an end was cut by a crash: it was not synced, so nothing was done that
    /// depends on it.
    ///
    /// # Errors
    /// The problem of the file.
    pub(super) fn read(mut file: impl BufRead) -> Result<Self, String> {
        let mut history = Self::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = io::Read::take(&mut file, LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let length = read.map_err(|error| format!("cannot be read: {error}"))? as u64;
            let unreadable = |problem: &str| match number {
                1 => format!("is not a results file of `bank apply`: {problem}"),
                _ => format!("is damaged at line {number}: {problem}"),
            };
            if line.last() != Some(&b'\n') {
                if number == 1 && !record::may_be_run(&line) {
                    return Err(unreadable("its first line does not name a run"));
                }
                if length == LINE_BYTES_MAX {
                    return Err(unreadable("the line is too long"));
                }
                break;
            }
            let record = serde_json::from_slice(&line).map_err(|error| unreadable(&problem(&error)))?;
            history.add(record).map_err(unreadable)?;
            history.length += length;
        }
        Ok(history)
    }

    fn add(&mut self, record: Record) -> Result<(), &'static str> {
        match (record, &self.run) {
            (Record::Run(run), None) => self.run = Some(run),
            (Record::Run(_), Some(_)) => return Err("it names its run again"),
            (_, None) => return Err("it does not name its run first"),
            (Record::Sending(sending), Some(_)) => self.sent(sending),
            (Record::Result(result), Some(_)) => self.resulted(result)?,
        }
        self.records += 1;
        Ok(())
    }

    /// A request that is sent again while its result is unknown keeps the time of its first sending: the bank may have
    /// recorded it then.
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

    /// Appends records to the file, and then to this state.
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
pub(super) mod tests;
