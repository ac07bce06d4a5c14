//! Splits a file into lines, and counts and hashes them.

use bytes::BytesMut;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{
    Error,
    line::{LINE_BYTES_MAX, Line, checksum},
};

/// Reads a file line by line.
pub(super) struct Reader {
    data: mpsc::Receiver<Vec<u8>>,
    /// Received bytes that are unread.
    buffer: BytesMut,
    /// The hash of all lines that were read, without the last.
    digest: Sha256,
    last: BytesMut,
    number: u64,
    bytes: u64,
}

impl Reader {
    pub(super) fn new(data: mpsc::Receiver<Vec<u8>>) -> Self {
        Self {
            data,
            buffer: BytesMut::new(),
            digest: Sha256::new(),
            last: BytesMut::new(),
            number: 0,
            bytes: 0,
        }
    }

    /// The next line with its line feed; `None` at the end of the file.
    pub(super) async fn bytes(&mut self) -> Result<Option<&[u8]>, Error> {
        self.number += 1;
        let mut searched = 0;
        let length = loop {
            if let Some(offset) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                break searched + offset + 1;
            }
            searched = self.buffer.len();
            if searched > LINE_BYTES_MAX {
                return Err(self.damaged(format!("is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.data.recv().await {
                Some(more) => self.buffer.extend_from_slice(&more),
                None if searched == 0 => return Ok(None),
                None => return Err(self.damaged("is cut: the file ends in its middle")),
            }
        };
        self.digest.update(&self.last);
        self.last = self.buffer.split_to(length);
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
