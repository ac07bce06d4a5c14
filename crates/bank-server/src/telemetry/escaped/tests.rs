use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Controls a terminal, reverses text, begins a line, and is invisible.
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

/// The log line of an event that has the text in every position.
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
fn json_preserves_the_text() {
    let event: serde_json::Value = serde_json::from_str(&logged(true)).unwrap();
    assert_eq!(event["text"], HOSTILE);
    assert_eq!(event["shown"], HOSTILE);
    assert_eq!(event["message"], format!("message {HOSTILE}"));
}
