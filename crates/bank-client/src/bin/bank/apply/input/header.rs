//! The header of a CSV file, and what else may be in its place.

use crate::apply::row::{COLUMNS, unknown};

/// What the first line should be.
pub(super) const EXPECTED: &str =
    "a CSV header such as operation,account_id,amount,currency_code, or one JSON object a line";

/// Columns without which no line has a meaning.
const REQUIRED: [&str; 2] = ["operation", "account_id"];

/// The columns that a header names, or what is wrong with it.
pub(super) fn read(line: &str) -> Result<Vec<String>, String> {
    let line = line.trim();
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("sep=")) {
        return Err("is a sep= line; remove it, and separate the columns with commas".to_owned());
    }
    if line.starts_with('[') {
        return Err(
            "begins a JSON array; write one JSON object a line, with no brackets or commas around them"
                .to_owned(),
        );
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
