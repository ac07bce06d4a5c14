//! Splits a file into lines, and counts and hashes them.

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{
    Error,
    line::{LINE_BYTES_MAX, Line, checksum},
};

/// Reads a file line by line.
pub(super) struct Reader {
    data: mpsc::Receiver<Vec<u8>>,
    /// Received bytes; those from `start` on are unread.
    buffer: Vec<u8>,
    start: usize,
    /// The hash of all lines that were read, without the last.
    digest: Sha256,
    last: Vec<u8>,
    number: u64,
    bytes: u64,
}

impl Reader {
    pub(super) fn new(data: mpsc::Receiver<Vec<u8>>) -> Self {
        Self {
            data,
            buffer: Vec::new(),
            start: 0,
            digest: Sha256::new(),
            last: Vec::new(),
            number: 0,
            bytes: 0,
        }
    }

    /// The next line with its line feed; `None` at the end of the file.
    pub(super) async fn bytes(&mut self) -> Result<Option<&[u8]>, Error> {
        self.number += 1;
        let mut searched = 0;
        let length = loop {
            let rest = &self.buffer[self.start..];
            if let Some(place) = rest[searched..].iter().position(|byte| *byte == b'\n') {
                break searched + place + 1;
            }
            searched = rest.len();
            if searched > LINE_BYTES_MAX {
                return Err(self.damaged(format!("is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.data.recv().await {
                Some(more) => {
                    self.buffer.drain(..self.start);
                    self.start = 0;
                    self.buffer.extend(more);
                }
                None if searched == 0 => return Ok(None),
                None => return Err(self.damaged("is cut: the file ends in its middle")),
            }
        };
        self.digest.update(&self.last);
        self.last.clear();
        self.last.extend(&self.buffer[self.start..self.start + length]);
        self.start += length;
        self.bytes += length as u64;
        Ok(Some(&self.last))
    }

    /// The next line.
    pub(super) async fn line(&mut self) -> Result<Line, Error> {
        let line = match self.bytes().await? {
            Some(bytes) => Line::from_bytes(bytes),
            None => Err("is missing: the file is cut before its last line".to_owned()),
        };
        line.map_err(|problem| self.damaged(problem))
    }

    /// The bytes read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// The checksum of all lines that were read, without the last.
    pub(super) fn digest(&self) -> String {
        checksum(self.digest.clone())
    }

    /// An error about the line that was read last.
    pub(super) fn damaged(&self, problem: impl Into<String>) -> Error {
        Error::Damaged { line: self.number, problem: problem.into() }
    }
}
