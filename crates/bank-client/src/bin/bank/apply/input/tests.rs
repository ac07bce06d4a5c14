use super::*;

fn read(contents: &str) -> Vec<(u64, Result<String, String>)> {
    match rows(contents.as_bytes()) {
        Ok(rows) => rows
            .map(|(line, row)| (line, row.map(|row| format!("{:?}", row.given().collect::<Vec<_>>()))))
            .collect(),
        Err((line, problem)) => vec![(line, Err(problem))],
    }
}

const HEADER: &str = "operation,account_id,amount";

/// What is wrong with the only line that something is wrong with.
fn problem(contents: &str) -> (u64, String) {
    let read = read(contents);
    let mut wrong = read.iter().filter_map(|(line, row)| Some((*line, row.clone().err()?)));
    let first = wrong.next().unwrap_or_else(|| panic!("nothing is wrong: {read:?}"));
    assert_eq!(wrong.next(), None, "one problem");
    first
}

#[test]
fn csv_and_json_say_the_same() {
    let row = r#"[("operation", "deposit"), ("account_id", "a"), ("amount", "1.00")]"#;
    let same = |line| vec![(line, Ok(row.to_owned()))];
    assert_eq!(read(&format!("{HEADER}\ndeposit,a,1.00\n")), same(2));
    assert_eq!(read("\u{feff}amount,operation, account_id\r\n 1.00 ,\"deposit\",a\r\n"), same(2));
    assert_eq!(read(&format!("\n \n{HEADER}\n\ndeposit,a,1.00\n,,\n  \n , ,\n")), same(5));
    assert_eq!(
        read("{\"operation\":\"deposit\",\"amount\":\" 1.00\",\"account_id\":\"a\",\"owner\":null}"),
        same(1)
    );
    assert_eq!(read(&format!("{HEADER}\n")), []);
}

#[test]
fn a_first_line_that_is_no_header_is_one_problem() {
    for (contents, what) in [
        ("", "the file is empty; expected a CSV header"),
        (" \n\r\n", "the file is empty; expected a CSV header"),
        ("[{\"operation\":\"deposit\"}]", "begins a JSON array; write one JSON object per line"),
        ("deposit,a,1.00\ndeposit,b,1.00\n", "is not a header; expected a CSV header such as operation"),
        ("<html><body>\nx\n</html>", "is not a header; expected a CSV header such as operation"),
        ("sep=,\noperation,account_id\n", "is a sep= line; remove it"),
        ("SEP=;\noperation;account_id\n", "is a sep= line; remove it"),
        ("operation;account_id;amount\ndeposit;a;1\n", "the columns are separated by semicolons"),
        ("\"operation\"\t\"account_id\"\nx\ty\n", "the columns are separated by tabs"),
        (
            "operation,account,sum\nx,y,z\n",
            "unknown column \"account\", \"sum\"; the columns are operation, account_id,",
        ),
        ("operation,account_id,amount,amount\n", "names the column amount twice"),
        ("account_id,amount\n", "has no column operation"),
    ] {
        let (line, said) = problem(contents);
        assert!(line == 1 && said.starts_with(what), "{contents:?}: line {line}: {said}");
    }
    assert_eq!(problem("\n\nnothing\n").0, 3);
    let utf_16 = rows(b"\xff\xfeo\0p\0").map(|_| ()).unwrap_err();
    assert_eq!(utf_16.1, "the file is UTF-16; save it as UTF-8");
}

#[test]
fn an_unclosed_quote_is_a_problem_of_its_line() {
    let what = "a quoted text does not end on its line";
    for (lines, line) in [
        ("deposit,a,\"1.00\ndeposit,b,1.00\n", 2),
        ("deposit,b,1.00\ndeposit,a,\"1.00", 3),
        ("deposit,a,\"1\"\"00\n", 2),
        ("deposit,a,\"1.00\n\"deposit\",b,1.00\n", 2),
    ] {
        let (at, said) = problem(&format!("{HEADER}\n{lines}"));
        assert!(at == line && said.starts_with(what), "{lines:?}: line {at}: {said}");
    }
    // Quotes in the middle of a text are just that.
    assert!(
        read(&format!("{HEADER}\ndeposit,a,5\" 6\"\ndeposit,\"a\",\"1\"\"\"\n"))
            .iter()
            .all(|(_, row)| row.is_ok())
    );
}

#[test]
fn malformed_rows_are_problems() {
    for (contents, line, what) in [
        (&*format!("{HEADER}\ndeposit,a\n"), 2, "has 2 columns, and the header has 3"),
        (&*format!("{HEADER}\ndeposit,a,1,000.00\n"), 2, "has 4 columns, and the header has 3"),
        ("{\"operation\":\"deposit\"}\n[1]\n", 2, "invalid type: sequence, expected a JSON object"),
        ("{\"operation\":\"deposit\"}\ndeposit,a\n", 2, "expected value"),
        ("{\"amount\":1.5}", 1, "amount is a number; write it as text in quotes"),
        ("{\"amount\":true}", 1, "amount must be text in quotes, or null"),
        ("{\"sum\":\"1\"}", 1, "unknown column \"sum\"; the columns are operation"),
        ("{\"amount\":\"1\",\"amount\":\"2\"}", 1, "amount is given twice"),
    ] {
        let (at, said) = problem(contents);
        assert!(at == line && said.starts_with(what), "{contents:?}: line {at}: {said}");
    }
    let (line, said) = rows(b"operation,account_id\ndeposit,\xff\n").unwrap().next().unwrap();
    assert_eq!((line, said.unwrap_err().as_str()), (2, "is not UTF-8; save the file as UTF-8"));
}
