//! `bank apply`: files, refused or carried out, and runs that break off.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Server;

/// How long anything may take. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server with accounts, and a directory for files.
struct Scene {
    server: Server,
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let fast = ["callers.calls_per_second_max=1000000", "callers.calls_burst_max=1000000"];
        let flags = ["--listen", "127.0.0.1:0", "--store", "memory", "--set", fast[0], "--set", fast[1]];
        let scene = Self { server: Server::start_with(&flags), directory: TempDir::new().unwrap() };
        for account in ["a", "b"] {
            assert!(scene.run(&["create", account, "--currency", "USD"]).status.success());
        }
        scene
    }

    fn bank(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
        command.env("BANK_SERVER", self.server.endpoint()).current_dir(self.directory.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.bank(arguments).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    fn balance(&self, account: &str) -> String {
        stdout(&self.run(&["balance", account])).trim().to_owned()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const CSV: &str = "\
operation,account_id,destination_account_id,amount,currency_code,annual_interest_rate,description
deposit,a,,1000.00,USD,,\"salary, May\"
transfer,a,b,250.50,USD,,rent
withdraw,b,,9999.00,USD,,
calculate_interest,a,,,,2.5,
";

const SUMMARY: &str = "\
Lines            4
Carried out      3
Refused          1
Of both, before  0
Unknown          0
Put off          0
REASON              LINES
INSUFFICIENT_FUNDS      1
";

#[test]
fn a_file_is_carried_out_once_and_told_line_by_line() {
    let scene = Scene::new();
    scene.write("f.csv", CSV);
    let output = scene.run(&["apply", "f.csv", "--batch", "3", "--results", "r.jsonl"]);
    assert_eq!(stdout(&output), SUMMARY);
    assert_eq!(stderr(&output), "error: 1 lines were refused\n");
    assert_eq!(output.status.code(), Some(3));
    let results = fs::read_to_string(scene.path("r.jsonl")).unwrap();
    let results: Vec<Value> = results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<_> = results.iter().map(|result| result["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
    assert_eq!(results[1]["amount"]["amount"], "-250.50");
    assert_eq!(results[2]["error"]["reason"], "INSUFFICIENT_FUNDS");
    assert_eq!(results[3]["balance"]["amount"], "768.24");
    // Under another name, since what is in it counts.
    fs::rename(scene.path("f.csv"), scene.path("g.csv")).unwrap();
    let output = scene.run(&["apply", "g.csv", "--output", "json"]);
    let tally: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&tally["done"], &tally["refused"], &tally["replayed"]), (&3.into(), &1.into(), &4.into()));
    assert_eq!(
        (scene.balance("a"), scene.balance("b")),
        ("Balance: $768.24".into(), "Balance: $250.50".into())
    );
    // Another run is another matter.
    assert_eq!(scene.run(&["apply", "g.csv", "--name", "again"]).status.code(), Some(3));
    assert_eq!(scene.balance("b"), "Balance: $501.00");
}

#[test]
fn lines_of_json_come_from_standard_input_too() {
    let scene = Scene::new();
    let lines = "\
{\"operation\":\"deposit\",\"account_id\":\"a\",\"amount\":\"5\",\"request_id\":\"d1\"}

{\"operation\":\"withdraw\",\"account_id\":\"a\",\"amount\":\"1.25\"}
";
    for _ in 0..2 {
        let mut command = scene.bank(&["apply", "-", "--currency", "USD", "--name", "run"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(scene.balance("a"), "Balance: $3.75");
    let checked = scene.run(&["deposit", "a", "5", "--request-id", "d1"]);
    assert!(stderr(&checked).contains("carried out before"), "{checked:?}");
}

#[test]
fn a_file_with_malformed_lines_is_refused_with_all_of_them_and_nothing_is_sent() {
    let scene = Scene::new();
    scene.write(
        "f.csv",
        "\
operation,account_id,destination_account_id,amount,currency_code,annual_interest_rate
deposit,a,,1.00,USD,
deposit,{},,1.00,USD,
deposit,a,,1.001,USD,
deposit,a,,-1,USD,
deposit,a,,1.00,,
deposit,a,b,1.00,USD,
transfer,a,a,1.00,USD,
freeze,a,,,,
calculate_interest,a,,,,much
deposit,a
",
    );
    let output = scene.run(&["apply", "f.csv"]);
    assert_eq!(output.status.code(), Some(5));
    let said = stderr(&output);
    for line in [
        "error: f.csv: nothing was sent, since it is malformed\n",
        "line 3: account_id has '{' at position 0; allowed are A-Z a-z 0-9 . _ : -\n",
        "line 4: amount ",
        "line 5: amount ",
        "line 6: currency_code is empty: name one, or one for all with --currency\n",
        "line 7: destination_account_id does not apply to deposit\n",
        "line 8: destination_account_id is the source; they must differ\n",
        "line 9: operation is \"freeze\"; it must be deposit, withdraw, transfer or calculate_interest\n",
        "line 10: annual_interest_rate ",
        "line 11: ",
    ] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
    scene.write(
        "f.jsonl",
        "{\"operation\":\"deposit\",\"account_id\":\"a\",\"amount\":1.5}\n{\"sum\":\"1\"}\n",
    );
    let said = stderr(&scene.run(&["apply", "f.jsonl"]));
    assert!(said.contains("line 1: invalid type: floating point `1.5`, expected a string"), "{said}");
    assert!(said.contains("line 2: unknown field `sum`, expected one of `operation`"), "{said}");
    let many = format!("operation,account_id\n{}", "deposit,a\n".repeat(30));
    scene.write("many.csv", &many);
    assert!(stderr(&scene.run(&["apply", "many.csv"])).contains("and 10 more lines"));
    assert_eq!(scene.balance("a"), "Balance: $0.00");
}

#[test]
fn a_run_that_is_killed_is_finished_by_the_next_and_the_totals_are_exact() {
    const LINES: usize = 12_000;
    let scene = Scene::new();
    let mut lines = "operation,account_id,destination_account_id,amount\ndeposit,a,,1000000.00\n".to_owned();
    for number in 0..LINES {
        match number % 3 {
            0 => writeln!(lines, "deposit,a,,1.00").unwrap(),
            1 => writeln!(lines, "transfer,a,b,2.00").unwrap(),
            _ => writeln!(lines, "withdraw,b,,0.50").unwrap(),
        }
    }
    scene.write("f.csv", &lines);
    let arguments = ["apply", "f.csv", "--currency", "USD", "--batch", "50", "--output", "json"];
    let mut process = scene.bank(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    // Between the first batches and the last.
    while scene.balance("b") == "Balance: $0.00" {
        assert!(Instant::now() < until, "it begins");
        thread::sleep(Duration::from_millis(1));
    }
    process.kill().unwrap();
    assert!(!process.wait().unwrap().success(), "it was killed before its end");

    let output = scene.run(&arguments);
    assert!(output.status.success(), "{output:?}");
    let tally: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(tally["done"], LINES + 1);
    let replayed = usize::try_from(tally["replayed"].as_u64().unwrap()).unwrap();
    assert!((1..LINES).contains(&replayed), "some were done before, and some were not: {replayed}");
    assert!(stderr(&output).is_empty(), "notes are for people: {output:?}");
    let third = LINES / 3;
    let [a, b] = [1_000_000 + third - 2 * third, 2 * third];
    assert_eq!(scene.balance("a"), format!("Balance: ${a}.00"));
    assert_eq!(scene.balance("b"), format!("Balance: ${}.00", b - third / 2));
    let audit = scene.run(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
}
