//! A list of texts and numbers in MessagePack, as `cmsgpack` reads it in Redis: one argument of many
//! values costs Redis less than many arguments.

use std::{
    fmt::{Display, Write as _},
    mem,
};

/// Takes words, one after another.
pub(super) trait Words {
    /// A word as it is. It need not be UTF-8: Redis does not mind.
    fn push(&mut self, word: &[u8]);

    /// A word by how it prints.
    fn print(&mut self, word: &impl Display) {
        self.push(word.to_string().as_bytes());
    }
}

/// A list being made.
#[derive(Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    length: u32,
    /// For what has to be printed before its length is known.
    scratch: String,
}

impl Packed {
    /// How many values there are so far.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    pub(super) fn number(&mut self, number: u64) {
        self.length += 1;
        match u8::try_from(number) {
            // Small numbers are their own bytes.
            Ok(small @ 0..=0x7f) => self.bytes.push(small),
            _ => {
                self.bytes.push(0xcf);
                self.bytes.extend(number.to_be_bytes());
            }
        }
    }

    /// A number that is not known yet: at most 127, for [`Packed::set`].
    pub(super) fn hole(&mut self) -> usize {
        self.number(0);
        self.bytes.len() - 1
    }

    pub(super) fn set(&mut self, hole: usize, number: u32) {
        debug_assert!(number <= 0x7f, "it would be read as something else");
        self.bytes[hole] = u8::try_from(number).unwrap_or(0x7f);
    }

    /// Appends the list, with what says how long it is.
    pub(super) fn append_to(&self, payload: &mut Vec<u8>) {
        payload.push(0xdd);
        payload.extend(self.length.to_be_bytes());
        payload.extend(&self.bytes);
    }
}

impl Words for Packed {
    fn push(&mut self, word: &[u8]) {
        self.length += 1;
        match u8::try_from(word.len()) {
            Ok(short @ 0..=31) => self.bytes.push(0xa0 | short),
            Ok(length) => self.bytes.extend([0xd9, length]),
            Err(_) => {
                self.bytes.push(0xdb);
                // A word is a field of an account or entry, or a record: kilobytes at most.
                self.bytes.extend(u32::try_from(word.len()).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        self.bytes.extend(word);
    }

    fn print(&mut self, word: &impl Display) {
        let mut text = mem::take(&mut self.scratch);
        text.clear();
        // Writing to a string cannot fail.
        let _ = write!(text, "{word}");
        self.push(text.as_bytes());
        self.scratch = text;
    }
}

impl Words for Vec<Vec<u8>> {
    fn push(&mut self, word: &[u8]) {
        self.push(word.to_vec());
    }
}
