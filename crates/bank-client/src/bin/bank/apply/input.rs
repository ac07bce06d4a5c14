//! Files of operations: CSV with a header, or one JSON object a line.

mod header;

use std::borrow::Cow;

use super::row::Row;

/// The largest file, in bytes. It is held in memory, since all of it is checked before anything is sent.
pub(crate) const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The most operations of a file. Each takes up to a kilobyte of memory while it is checked and planned.
pub(crate) const LINES_MAX: usize = 1_000_000;

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: u64,
    pub(crate) what: String,
}

/// A line with its number from 1, or what is wrong with it.
pub(super) type Numbered = (u64, Result<Row, String>);

/// The rows of a file, in their order. Blank lines and rows of empty columns are left out.
///
/// # Errors
/// If the first line that is not blank does not say what the lines are.
pub(super) fn rows(contents: &[u8]) -> Result<Box<dyn Iterator<Item = Numbered> + '_>, Problem> {
    if contents.starts_with(b"\xff\xfe") || contents.starts_with(b"\xfe\xff") {
        return Err(Problem { line: 1, what: "the file is UTF-16; save it as UTF-8".to_owned() });
    }
    let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
    let lines = (1..).zip(contents.split(|&byte| byte == b'\n'));
    let Some((first, line)) = lines.clone().find(|(_, line)| !line.trim_ascii().is_empty()) else {
        return Err(Problem { line: 1, what: format!("the file is empty; expected {}", header::EXPECTED) });
    };
    if line.trim_ascii().starts_with(b"{") {
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        return Ok(Box::new(lines.map(|(number, line)| (number, json(line)))));
    }
    let problem = |what| Problem { line: first, what };
    let columns = header::read(&String::from_utf8_lossy(line)).map_err(problem)?;
    let start = line.as_ptr().addr() - contents.as_ptr().addr();
    let rest = &contents[start..];
    let open = open_quotes(rest);
    if open.is_empty() {
        return Ok(Box::new(csv(rest, first, columns)));
    }
    let what = "a quoted text does not end on its line; within quotes, a quote is written twice: \"\"";
    Ok(Box::new(open.into_iter().map(move |line| (line + first - 1, Err(what.to_owned())))))
}

fn json(line: &[u8]) -> Result<Row, String> {
    serde_json::from_slice(line).map_err(|error| said(&error))
}

/// What is wrong with a line of JSON, without the line and the column: they count from that line.
pub(super) fn said(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.split_once(" at line ").map_or(said.as_str(), |(what, _)| what).to_owned()
}

/// The rows of CSV that begins with its header, on the line with this number.
fn csv(contents: &[u8], first: u64, columns: Vec<String>) -> impl Iterator<Item = Numbered> + '_ {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(contents);
    let mut record = csv::StringRecord::new();
    let mut is_header = true;
    let mut at = Position { byte: 0, line: first };
    std::iter::from_fn(move || {
        loop {
            let read = reader.read_record(&mut record);
            let start = record.position().map_or_else(|| reader.position().byte(), csv::Position::byte);
            let line = at.line_of_record(contents, start);
            match read {
                Ok(false) => return None,
                Ok(true) if is_header => is_header = false,
                Ok(true) if record.iter().all(|text| text.trim().is_empty()) => {}
                Ok(true) => return Some((line, row(&columns, &record))),
                Err(error) => return Some((line, Err(csv_error(&error).into_owned()))),
            }
        }
    })
}

/// A place in a file, and the number of its line.
struct Position {
    byte: usize,
    line: u64,
}

impl Position {
    /// Goes on to a record. It begins behind the line breaks at the place that the CSV reader names.
    fn line_of_record(&mut self, contents: &[u8], start: u64) -> u64 {
        let start =
            usize::try_from(start).map_or(contents.len(), |start| start.clamp(self.byte, contents.len()));
        let breaks = contents[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = &contents[self.byte..start + breaks];
        self.line += passed.split(|&byte| byte == b'\n').skip(1).count() as u64;
        self.byte = start + breaks;
        self.line
    }
}

fn row(columns: &[String], record: &csv::StringRecord) -> Result<Row, String> {
    if record.len() != columns.len() {
        let (has, expected) = (record.len(), columns.len());
        return Err(format!(
            "has {has} columns, and the header has {expected}; a text with a comma must be in quotes"
        ));
    }
    let mut row = Row::default();
    for (column, text) in columns.iter().zip(record) {
        if let Some(place) = row.column_mut(column) {
            text.trim().clone_into(place);
        }
    }
    Ok(row)
}

fn csv_error(error: &csv::Error) -> Cow<'static, str> {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8; save the file as UTF-8".into(),
        _ => error.to_string().into(),
    }
}

/// The lines, counted from 1, on which a quoted text of CSV begins and does not end. No column may have a line
/// break in it, so a quote that is still open at the end of a line is one too many, or lacks its other.
fn open_quotes(contents: &[u8]) -> Vec<u64> {
    enum At {
        FieldStart,
        Plain,
        Quoted,
        /// After a quote within quotes: it closes them, or is the first of two.
        Quote,
    }
    let mut open = Vec::new();
    for (number, line) in (1..).zip(contents.split(|&byte| byte == b'\n')) {
        let at = line.iter().fold(At::FieldStart, |at, byte| match (at, byte) {
            (At::Quoted, b'"') => At::Quote,
            (At::FieldStart | At::Quote, b'"') | (At::Quoted, _) => At::Quoted,
            (_, b',') => At::FieldStart,
            _ => At::Plain,
        });
        if matches!(at, At::Quoted) {
            open.push(number);
        }
    }
    open
}

#[cfg(test)]
mod tests;
