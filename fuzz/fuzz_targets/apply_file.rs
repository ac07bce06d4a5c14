//! Files of `bank apply`: CSV, or JSON lines.
//!
//! Line numbers go up and are in the file. A row of CSV that is valid means the same as the row in JSON. Every line has a
//! request id of its own. Problems are few and short, whatever the file.

#![no_main]
#![allow(dead_code, reason = "not all of the tool is called")]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| apply::check(data));

#[path = "../../crates/bank-client/src/bin/bank/failure.rs"]
mod failure;
#[path = "../../crates/bank-client/src/bin/bank/text.rs"]
mod text;

#[path = "../../crates/bank-client/src/bin/bank/apply"]
mod apply {
    mod input;
    mod instruction;
    mod lines;
    mod row;

    use bank_domain::Currency;

    use self::{instruction::Instruction, row::Row};

    pub(super) fn check(data: &[u8]) {
        let line_count = 1 + data.iter().filter(|byte| **byte == b'\n').count() as u64;
        if let Ok(rows) = input::rows(data) {
            let mut before = 0;
            for (number, row) in rows {
                assert!(
                    (before + 1..=line_count).contains(&number),
                    "line {number} after {before} of {line_count}"
                );
                before = number;
                if let Ok(row) = row {
                    check_row(&row);
                }
            }
        }
        match lines::read(data, Some(Currency::USD)) {
            Ok(lines) => {
                let id = |line: &lines::Line| {
                    (line.instruction.account_id.clone(), line.identity.request_id("run", 0))
                };
                let mut ids: Vec<_> = lines.iter().map(id).collect();
                ids.sort();
                ids.dedup();
                assert_eq!(ids.len(), lines.len(), "two lines have one request id");
            }
            Err(problems) => {
                assert!((1..=20).contains(&problems.first.len()));
                for (line, problem) in &problems.first {
                    assert!((1..=line_count).contains(line), "line {line} of {line_count}");
                    assert!(!problem.is_empty());
                }
            }
        }
    }

    /// The same row in JSON is the same row, and means the same.
    fn check_row(row: &Row) {
        let object: serde_json::Map<_, _> =
            row.given().map(|(column, text)| (column.to_owned(), text.to_owned().into())).collect();
        let line = serde_json::to_vec(&object).expect("a JSON object");
        let read = Row::from_json(&line).expect("the columns of a row");
        assert_eq!(read, *row);
        let [one, other] = [row, &read].map(|row| Instruction::read(row, Some(Currency::USD)));
        assert_eq!(one, other);
    }
}
