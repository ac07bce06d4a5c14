//! Escapes hidden characters in log lines.
//!
//! Text from callers gets into the log. It must not forge a line, control a terminal, or hide anything from the reader
//! ([`visible`]).

use std::{
    borrow::Cow,
    io::{self, Write},
};

use bank_domain::visible;
use tracing_subscriber::fmt::MakeWriter;

/// Makes writers that escape every hidden character.
pub(super) struct Escaped<M> {
    pub(super) json: bool,
    pub(super) writers: M,
}

/// Writes one event, which the formatter passes in one call.
pub(super) struct Event<W> {
    json: bool,
    writer: W,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Escaped<M> {
    type Writer = Event<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Event { json: self.json, writer: self.writers.make_writer() }
    }
}

impl<W: Write> Write for Event<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        match if self.json { visible::json(line) } else { visible::line(line) } {
            Cow::Borrowed(_) => self.writer.write_all(text.as_bytes())?,
            // In one write, so that lines do not mix.
            Cow::Owned(line) => self.writer.write_all(format!("{line}\n").as_bytes())?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests;
