//! Runs of a file that is edited in between.

use std::{io::Write as _, os::unix::fs::PermissionsExt as _, process::Stdio};

use super::*;

const CSV: &str = "\
operation,account_id,destination_account_id,amount,currency_code,annual_interest_rate,description
deposit,a,,1000.00,USD,,\"salary, May\"
transfer,a,b,250.50,USD,,rent
withdraw,b,,9999.00,USD,,
calculate_interest,a,,,,2.5,
";

const SUMMARY: &str = "\
Lines            4
Applied          3
Already applied  0
Rejected         1
Unknown          0
Not attempted    0
REASON              LINES
INSUFFICIENT_FUNDS      1
";

const REJECTED: &str = "\
error: 1 line was rejected
  line 4: account b has $250.50 available, $9999.00 requested
  hint: correct the lines and run the same command again, or send them again as they are with --retry-rejected
";

#[test]
fn a_file_is_applied_once_and_reported_line_by_line() {
    let scene = Scene::new();
    let output = scene.apply(CSV, &["--batch", "3"]);
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), (SUMMARY, REJECTED));
    assert_eq!(output.status.code(), Some(3));
    let records = scene.records("f.csv.results.jsonl");
    assert_eq!((&records[0]["record"], &records[0]["name"]), (&"run".into(), &"payroll".into()));
    let results: Vec<_> = records.iter().filter(|record| record["record"] == "result").collect();
    let lines: Vec<_> = results.iter().map(|result| result["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
    assert_eq!(results[1]["amount"]["amount"], "-250.50");
    assert_eq!(
        (&results[2]["status"], &results[2]["error"]["reason"]),
        (&"rejected".into(), &"INSUFFICIENT_FUNDS".into())
    );
    assert_eq!(results[3]["balance"]["amount"], "768.24");
    let mode = fs::metadata(scene.path("f.csv.results.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it tells who was paid what");

    assert_eq!(scene.counts(CSV, &[]), [0, 3, 1]);
    assert_eq!((scene.balance("a"), scene.balance("b")), ("768.24".into(), "250.50".into()));
    // A run of another name is another payment.
    let again = ["apply", "f.csv", "--name", "again", "--results", "again.jsonl"];
    assert_eq!(scene.run(&again).status.code(), Some(3));
    assert_eq!(scene.balance("b"), "501.00");
}

/// Each of these paid lines again: their ids had their line numbers in them, or a hash of the whole file.
#[test]
fn edits_leave_the_other_lines_alone() {
    let scene = Scene::new();
    assert_eq!(scene.counts(&deposits(&["1", "2", "2"]), &[]), [3, 0, 0]);
    assert_eq!(scene.counts(&deposits(&["9", "1", "2", "2"]), &[]), [1, 3, 0], "a line above");
    assert_eq!(
        scene.counts(&format!("\n{}\n", deposits(&["9", "1", "2", "2"])), &[]),
        [0, 4, 0],
        "blank lines"
    );
    assert_eq!(scene.counts(&deposits(&["2.00", "9.0", "2", "1"]), &[]), [0, 4, 0], "sorted");
    let json =
        "{\"amount\":\"2\",\"operation\":\"deposit\",\"account_id\":\"a\",\"description\":null}\n".repeat(3);
    assert_eq!(scene.counts(&json, &["--currency", "USD"]), [1, 2, 0], "one more, and in JSON");
    assert_eq!(scene.balance("a"), "16.00");
    let output = scene.apply(&deposits(&["2", "2", "2"]), &[]);
    let notes = stderr(&output);
    assert!(
        output.status.success()
            && notes.contains("note: 2 lines applied by an earlier run, and no longer in the file"),
        "{notes}"
    );
    assert!(
        notes.contains("every line was applied before; identical new payments need another --name\n"),
        "{notes}"
    );
}

/// Without a name, correcting three lines of a thousand paid the others again.
#[test]
fn correcting_rejected_lines_pays_no_other_again() {
    let scene = Scene::new();
    let file = |account: &str| {
        let mut text = deposits(&vec!["1"; 20]);
        for amount in 1..=3 {
            writeln!(text, "deposit,{account},,{amount},USD").unwrap();
        }
        text + "withdraw,a,,2,USD\n"
    };
    assert_eq!(scene.counts(&file("nobody"), &[]), [21, 0, 3]);
    assert_eq!(scene.counts(&file("b"), &[]), [3, 21, 0]);
    assert_eq!((scene.balance("a"), scene.balance("b")), ("18.00".into(), "6.00".into()));
}

/// The only way to make the second payment was another name, which paid the first again.
#[test]
fn rejected_lines_are_sent_again_when_that_is_asked_for() {
    let scene = Scene::new();
    scene.run(&["deposit", "a", "10"]);
    let payments = format!("{HEADER}transfer,a,b,8,USD\ntransfer,a,b,7,USD\n");
    assert_eq!(scene.counts(&payments, &[]), [1, 0, 1]);
    scene.run(&["deposit", "a", "10"]);
    let output = scene.apply(&payments, &[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(scene.counts(&payments, &["--retry-rejected"]), [1, 1, 0]);
    assert_eq!(scene.counts(&payments, &["--retry-rejected"]), [0, 2, 0]);
    assert_eq!((scene.balance("a"), scene.balance("b")), ("5.00".into(), "15.00".into()));
}

#[test]
fn a_run_needs_a_name_unless_every_line_has_its_own_request_id() {
    let scene = Scene::new();
    let own = "operation,account_id,amount,currency_code,request_id\ndeposit,a,1,USD,d1\n";
    scene.write("f.csv", &format!("{own}deposit,a,1,USD,\n"));
    let output = scene.run(&["apply", "f.csv"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output)
            .starts_with("error: the run has no name, and line 3 has no request_id\n  hint: add --name")
    );
    scene.write("f.csv", own);
    assert!(scene.run(&["apply", "f.csv"]).status.success());
    let output = scene.run(&["apply", "f.csv"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stderr(&output).contains("identical new payments need request ids of their own"), "{output:?}");
    assert_eq!(scene.balance("a"), "1.00");
    let single = scene.run(&["deposit", "a", "1", "--request-id", "d1"]);
    assert!(stderr(&single).contains("carried out before"), "{single:?}");

    // The line is changed, and is still called what was done: nobody can tell which of both is meant.
    scene.write("f.csv", &own.replace(",1,", ",2,"));
    let output = scene.run(&["apply", "f.csv"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        stderr(&output).contains("line 2: request_id was sent before for another operation"),
        "{output:?}"
    );
    // A request of somebody else has the id: sent again under another one, it might be done twice.
    let taken = own.replace("d1", "d2");
    scene.run(&["deposit", "a", "5", "--request-id", "d2"]);
    let output = scene.apply(&taken, &["--results", "taken.jsonl"]);
    let said = stderr(&output);
    assert!(
        said.contains("give the lines other request ids") && !said.contains("--retry-rejected"),
        "{said}"
    );
    assert_eq!(scene.counts(&taken, &["--results", "taken.jsonl", "--retry-rejected"]), [0, 0, 1]);
    assert_eq!(scene.balance("a"), "6.00");
}

#[test]
fn results_files_of_another_run_file_or_bank_are_rejected() {
    let scene = Scene::new();
    let file = deposits(&["1"]);
    assert!(scene.apply(&file, &["--results", "r.jsonl"]).status.success());
    scene.write("g.csv", &file);
    scene.write("notes", "buy milk");
    assert!(scene.in_directory(Command::new("mkfifo").arg("pipe")).status().unwrap().success());
    let other = Scene::new();
    let server = other.server.endpoint();
    for (arguments, what) in [
        (&["f.csv", "--name", "other"][..], "belongs to the run payroll; this is the run other"),
        (&["g.csv", "--name", "payroll"], "belongs to the file f.csv; this is g.csv"),
        (&["f.csv", "--name", "payroll", "--server", &server], "belongs to the bank "),
        (&["f.csv", "--name", "payroll", "--results", "notes"], "is not a results file of `bank apply`"),
        (&["f.csv", "--name", "payroll", "--results", "no/r"], "no/r cannot be opened: No such file"),
        (&["f.csv", "--name", "payroll", "--results", "pipe"], "pipe is not a file"),
        (&["f.csv", "--name", "payroll", "--results", "/dev/full"], "is not a file"),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let results: &[&str] =
                if arguments.contains(&"--results") { &[] } else { &["--results", "r.jsonl"] };
            let output = scene.run(&[&["apply"], arguments, results, dry].concat());
            let said = stderr(&output);
            assert!(output.status.code() == Some(2) && said.contains(what), "{arguments:?} {dry:?}: {said}");
            let is_another = what.contains("belongs to");
            assert!(is_another || said.contains("with a new one, lines can be applied twice"), "{said}");
        }
    }
    assert_eq!(fs::read_to_string(scene.path("notes")).unwrap(), "buy milk");
    assert_eq!((scene.balance("a"), other.balance("a")), ("1.00".into(), "0.00".into()));
    // Both can be moved together.
    fs::create_dir(scene.path("old")).unwrap();
    for name in ["f.csv", "r.jsonl"] {
        fs::rename(scene.path(name), scene.path("old").join(name)).unwrap();
    }
    let moved = ["apply", "old/f.csv", "--name", "payroll", "--results", "old/r.jsonl", "--output", "json"];
    assert_eq!(tally(&scene.run(&moved))["already_applied"], 1);
}

#[test]
fn standard_input_is_a_file_whose_results_have_a_place() {
    let scene = Scene::new();
    let apply = |arguments: &[&str]| {
        let mut command =
            scene.bank(&[&["apply", "-", "--name", "run", "--output", "json"], arguments].concat());
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = pipes.spawn().unwrap();
        // It does not read what it will not send.
        let _ = process.stdin.take().unwrap().write_all(deposits(&["5", "1.25"]).as_bytes());
        process.wait_with_output().unwrap()
    };
    let output = apply(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("standard input needs --results"), "{output:?}");
    assert_eq!(tally(&apply(&["--results", "r.jsonl"]))["applied"], 2);
    assert_eq!(tally(&apply(&["--results", "r.jsonl"]))["already_applied"], 2);
    assert_eq!(scene.balance("a"), "6.25");
}

#[test]
fn an_atomic_batch_is_the_same_lines_in_every_run() {
    let scene = Scene::new();
    scene.run(&["deposit", "a", "10"]);
    let line = |from: &str, to: &str, amount: &str| format!("transfer,{from},{to},{amount},USD\n");
    let pairs = HEADER.to_owned()
        + &line("a", "b", "1")
        + &line("a", "b", "2")
        + &line("a", "b", "3")
        + &line("a", "b", "30");
    let atomic = ["--atomic", "--batch", "2"];
    assert_eq!(scene.counts(&pairs, &atomic), [2, 0, 2]);
    assert_eq!(scene.balance("b"), "3.00");
    // One line more, and what was one batch is two.
    let shifted = pairs.replace(HEADER, &(HEADER.to_owned() + &line("b", "a", "1")));
    let output = scene.apply(&shifted, &atomic);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        stderr(&output).contains("lines 2 to 3 are one atomic batch now, but were not when"),
        "{output:?}"
    );
    scene.run(&["deposit", "a", "100"]);
    assert_eq!(scene.counts(&pairs, &atomic), [0, 2, 2]);
    assert_eq!(scene.counts(&pairs, &[&atomic[..], &["--retry-rejected"]].concat()), [2, 2, 0]);
    assert_eq!(scene.balance("b"), "36.00");
}

/// It could not be corrected: with a line changed, it was none of the batches of before.
#[test]
fn an_atomic_batch_that_was_rejected_is_sent_again_when_a_line_of_it_is_corrected() {
    let scene = Scene::new();
    scene.run(&["deposit", "a", "10"]);
    let atomic = ["--atomic", "--batch", "2"];
    let pair = |to: &str| format!("{HEADER}transfer,a,b,1,USD\ntransfer,a,{to},2,USD\n");
    let output = scene.apply(&pair("nobody"), &atomic);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("line 2: line 3 of the same atomic batch failed"), "{output:?}");
    let dry_run = scene.apply(&pair("nowhere"), &[&atomic[..], &["--dry-run"]].concat());
    assert!(stderr(&dry_run).contains("line 2: line 3 of the same atomic batch failed"), "{dry_run:?}");
    assert_eq!(scene.counts(&pair("nowhere"), &atomic), [0, 0, 2]);
    assert_eq!(scene.counts(&pair("nowhere"), &atomic), [0, 0, 2]);
    assert_eq!(scene.counts(&pair("b"), &atomic), [2, 0, 0]);
    assert_eq!(scene.counts(&pair("b"), &atomic), [0, 2, 0]);
    assert_eq!(scene.balance("b"), "3.00");
}
