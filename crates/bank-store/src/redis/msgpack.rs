//! Flat lists of texts and numbers in MessagePack, as `cmsgpack` reads them in Redis: one argument of many
//! values costs Redis less than many arguments.

use std::fmt::{Display, Write as _};

use rmp::encode;

/// The most that [`List::set_count`] can set: larger numbers take more than the byte that is kept for them.
const COUNT_MAX: u8 = 0x7f;

#[derive(Default)]
pub(super) struct List {
    bytes: Vec<u8>,
    length: u32,
    /// For what has to be printed before its length is known.
    scratch: String,
}

// Writing to a `Vec` or a `String` cannot fail.
impl List {
    /// How many values there are so far.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    pub(super) fn push_number(&mut self, number: impl Into<u64>) {
        self.length += 1;
        let _ = encode::write_uint(&mut self.bytes, number.into());
    }

    /// Appends bytes as text. They need not be UTF-8: Redis does not mind.
    pub(super) fn push_text(&mut self, text: &[u8]) {
        self.length += 1;
        // A field of an account or entry, or a record: kilobytes at most.
        let _ = encode::write_str_len(&mut self.bytes, u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend(text);
    }

    pub(super) fn push_printed(&mut self, value: &(impl Display + ?Sized)) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let _ = write!(text, "{value}");
        self.push_text(text.as_bytes());
        self.scratch = text;
    }

    /// Appends a count that is not known yet; returns its place for [`List::set_count`].
    pub(super) fn reserve_count(&mut self) -> usize {
        self.push_number(0_u8);
        self.bytes.len() - 1
    }

    pub(super) fn set_count(&mut self, place: usize, count: u32) {
        debug_assert!(count <= COUNT_MAX.into(), "it would be read as something else");
        self.bytes[place] = u8::try_from(count).map_or(COUNT_MAX, |count| count.min(COUNT_MAX));
    }

    /// Appends the list to a payload of several.
    pub(super) fn append_to(&self, payload: &mut Vec<u8>) {
        let _ = encode::write_array_len(payload, self.length);
        payload.extend(&self.bytes);
    }
}
