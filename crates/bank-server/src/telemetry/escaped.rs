//! Lines of the log in which every character can be seen.
//!
//! Texts of callers get into the log, and whoever reads it must not be deceived by them: neither by a line that looks like
//! one of the server, nor by characters that steer a terminal or are not seen ([`visible`]).

use std::{
    borrow::Cow,
    io::{self, Write},
};

use bank_domain::visible;
use tracing_subscriber::fmt::MakeWriter;

/// Makes the writer of each event: what it writes goes on with every hidden character escaped.
pub(super) struct Escaped<M> {
    pub(super) json: bool,
    pub(super) writers: M,
}

/// Writes one event, which comes as a whole.
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
            // In one piece, so that lines do not mix.
            Cow::Owned(line) => self.writer.write_all(format!("{line}\n").as_bytes())?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Steers a terminal, turns text around, begins a line, and is not seen.
    const HOSTILE: &str = "a\u{1b}[31m\u{202e}\nb\u{9b}\u{2028}\u{e0041}é";

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of an event that has the text wherever one can be.
    fn logged(json: bool) -> String {
        let written = Written::default();
        let writer = written.clone();
        let writers = Escaped { json, writers: move || writer.clone() };
        let lines = super::super::lines(json, writers);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let error = io::Error::other(HOSTILE);
            tracing::info!(text = HOSTILE, shown = %HOSTILE, debugged = ?HOSTILE, %error, "message {HOSTILE}");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_without_anything_hidden() {
        for json in [true, false] {
            let logged = logged(json);
            let line = logged.strip_suffix('\n').unwrap();
            assert!(!line.contains(visible::is_hidden), "{line:?}");
            assert!(line.contains('é'), "{line}");
        }
    }

    #[test]
    fn json_says_what_was_logged() {
        let event: serde_json::Value = serde_json::from_str(&logged(true)).unwrap();
        assert_eq!(event["text"], HOSTILE);
        assert_eq!(event["shown"], HOSTILE);
        assert_eq!(event["message"], format!("message {HOSTILE}"));
    }
}
