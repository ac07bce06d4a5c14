//! Reads files of operations: CSV with a header, or one JSON object per line.

use super::row::{COLUMNS, Row, unknown};

/// The largest file, in bytes. It is held in memory, since all of it is checked before anything is sent.
pub(crate) const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The most operations of a file. Each takes up to a kilobyte of memory while it is checked and planned.
pub(crate) const LINES_MAX: usize = 1_000_000;

const EXPECTED: &str =
    "a CSV header such as operation,account_id,amount,currency_code, or one JSON object per line";
/// Columns that every header must have.
const REQUIRED: [&str; 2] = ["operation", "account_id"];

/// The number of a line, from 1, with its row or its problem.
pub(super) type Numbered = (u64, Result<Row, String>);

/// The rows of a file, in order. Blank lines and rows of empty columns are left out.
///
/// # Errors
/// The number and the problem of the first line that is not blank, if it does not tell what the lines are.
pub(super) fn rows(contents: &[u8]) -> Result<Box<dyn Iterator<Item = Numbered> + '_>, (u64, String)> {
    if contents.starts_with(b"\xff\xfe") || contents.starts_with(b"\xfe\xff") {
        return Err((1, "the file is UTF-16; save it as UTF-8".to_owned()));
    }
    let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
    let lines = (1..).zip(contents.split(|&byte| byte == b'\n'));
    let Some((first, line)) = lines.clone().find(|(_, line)| !line.trim_ascii().is_empty()) else {
        return Err((1, format!("the file is empty; expected {EXPECTED}")));
    };
    if line.trim_ascii().starts_with(b"{") {
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        return Ok(Box::new(lines.map(|(number, line)| (number, Row::from_json(line)))));
    }
    let columns = header(&String::from_utf8_lossy(line)).map_err(|problem| (first, problem))?;
    let start = line.as_ptr().addr() - contents.as_ptr().addr();
    let open = open_quotes(first, &contents[start..]);
    if open.is_empty() {
        return Ok(Box::new(csv(first, &contents[start..], columns)));
    }
    let problem =
        "a quoted text does not end on its line; within quotes, write a quote twice: \"\"".to_owned();
    Ok(Box::new(open.into_iter().map(move |line| (line, Err(problem.clone())))))
}

/// The columns that a header names.
fn header(line: &str) -> Result<Vec<String>, String> {
    let line = line.trim();
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("sep=")) {
        return Err("is a sep= line; remove it, and separate the columns with commas".to_owned());
    }
    if line.starts_with('[') {
        let problem =
            "begins a JSON array; write one JSON object per line, without brackets or commas around them";
        return Err(problem.to_owned());
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    let record = reader.records().next().and_then(Result::ok).unwrap_or_default();
    let columns: Vec<String> = record.iter().map(|column| column.trim().to_owned()).collect();
    let is_known = |column: &str| COLUMNS.contains(&column);
    if !columns.iter().any(|column| is_known(column)) {
        for (separator, name) in [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")] {
            if line.split(separator).any(|column| is_known(column.trim().trim_matches('"'))) {
                return Err(format!("the columns are separated by {name}; separate them with commas"));
            }
        }
        return Err(format!("is not a header; expected {EXPECTED}; the columns are {}", COLUMNS.join(", ")));
    }
    if columns.iter().any(|column| !is_known(column)) {
        return Err(unknown(columns.iter().map(String::as_str).filter(|column| !is_known(column))));
    }
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].contains(column) {
            return Err(format!("names the column {column} twice"));
        }
    }
    match REQUIRED.iter().find(|required| !columns.iter().any(|column| column == *required)) {
        Some(missing) => Err(format!("has no column {missing}")),
        None => Ok(columns),
    }
}

/// The rows of CSV. It starts with its header, which is on the line `first`, and no text in it contains a line break.
fn csv(first: u64, contents: &[u8], columns: Vec<String>) -> impl Iterator<Item = Numbered> + '_ {
    // So every line is one record, except that the reader skips lines of no bytes.
    let lines = (first..).zip(contents.split(|&byte| byte == b'\n')).filter(|(_, line)| !line.is_empty());
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(contents);
    lines.zip(reader.into_records()).skip(1).filter_map(move |((line, _), record)| match record {
        Ok(record) if record.iter().all(|text| text.trim().is_empty()) => None,
        Ok(record) => Some((line, row(&columns, &record))),
        Err(error) => Some((line, Err(csv_problem(&error)))),
    })
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
        row.set(column, text.trim())?;
    }
    Ok(row)
}

fn csv_problem(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8; save the file as UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// The lines on which a quoted text of CSV begins and does not end. Columns may not contain line breaks, so a quote
/// that is still open at the end of a line is one too many, or lacks its counterpart.
fn open_quotes(first: u64, contents: &[u8]) -> Vec<u64> {
    enum State {
        FieldStart,
        Plain,
        Quoted,
        /// After a quote within quotes: it closes them, or is the first of two.
        Quote,
    }
    let is_open = |line: &[u8]| {
        let end = line.iter().fold(State::FieldStart, |state, byte| match (state, byte) {
            (State::Quoted, b'"') => State::Quote,
            (State::FieldStart | State::Quote, b'"') | (State::Quoted, _) => State::Quoted,
            (_, b',') => State::FieldStart,
            _ => State::Plain,
        });
        matches!(end, State::Quoted)
    };
    let lines = (first..).zip(contents.split(|&byte| byte == b'\n'));
    lines.filter(|(_, line)| is_open(line)).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests;
