//! The `bank` tool: recorded sessions.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use crate::process::{Redis, Server};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn bank(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
    command.env("BANK_SERVER", server.endpoint()).env("COLUMNS", "100").args(arguments);
    command
}

pub(crate) fn run(server: &Server, line: &str) -> Output {
    bank(server, &words(line)).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Splits at blanks, except within single quotes.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split('\'')
        .enumerate()
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        })
        .collect()
}

const DEMO: &str = "\
Account 123 created successfully
Successfully deposited $1000.00
Balance: $1000.00
Successfully withdrew $500.00
Applied annual interest rate of 2.5000% to bank amount of $500.00 for interest amount of $12.50
";

#[test]
fn the_demo_prints_the_session_of_the_original_any_number_of_times() {
    let server = Server::start();
    for _ in 0..3 {
        let output = run(&server, "demo");
        assert_eq!((stdout(&output), stderr(&output)), (DEMO, ""));
        assert!(output.status.success());
    }
    assert_eq!(stdout(&run(&server, "balance 123")), "Balance: $512.50\n");
}

#[test]
fn the_demo_leaves_an_account_alone_that_is_not_its_own() {
    let server = Server::start();
    run(&server, "create 123 --currency EUR");
    for _ in 0..2 {
        let output = run(&server, "demo");
        let (first, rest) = stdout(&output).split_once('\n').unwrap();
        let account = first.strip_prefix("Account ").unwrap().strip_suffix(" created successfully").unwrap();
        assert!(account.starts_with("123-"), "{first}");
        assert!(DEMO.ends_with(rest), "{rest}");
        assert!(stderr(&output).contains(&format!("opening {account} instead")));
    }
    assert_eq!(stdout(&run(&server, "balance 123")), "Balance: €0.00\n");
}

/// A session that broke off after the deposit is finished by the next run.
#[test]
fn an_interrupted_demo_continues() {
    let server = Server::start();
    run(&server, "create 123 --currency USD --request-id bank-demo-create");
    run(&server, "deposit 123 1000.00 --request-id bank-demo-deposit");
    assert_eq!(stdout(&run(&server, "demo")), DEMO);
    assert_eq!(stdout(&run(&server, "balance 123")), "Balance: $512.50\n");
}

/// Runs every command of the recorded session and compares what it prints. `$ ` starts a command, `! `
/// a line of standard error, `? ` an exit code other than 0. `BANK_RECORD=1` records it anew.
#[test]
fn a_recorded_session() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_server/session.txt");
    let recorded = fs::read_to_string(&path).unwrap();
    let server = Server::start();
    let mut transcript = Vec::new();
    for line in recorded.lines() {
        if line.starts_with('#') || line.is_empty() {
            transcript.push(line.to_owned());
        }
        let Some(command) = line.strip_prefix("$ bank ") else { continue };
        let output = run(&server, command);
        transcript.push(line.to_owned());
        transcript.extend(stdout(&output).lines().map(steady));
        transcript
            .extend(stderr(&output).lines().map(|line| format!("! {}", steady(line)).trim_end().to_owned()));
        if !output.status.success() {
            transcript.push(format!("? {}", output.status.code().unwrap()));
        }
    }
    let transcript = transcript.join("\n") + "\n";
    if env::var_os("BANK_RECORD").is_some() {
        return fs::write(&path, &transcript).unwrap();
    }
    assert_eq!(transcript, recorded, "to record it anew, run this with BANK_RECORD=1");
}

/// The line with what differs from run to run replaced: times, and ids and hashes made from them. They differ in
/// width too, so wide gaps become two blanks.
fn steady(line: &str) -> String {
    if line.starts_with("Uptime") {
        return "Uptime  <time>".to_owned();
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-:./_".contains(c);
    let mut steady = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, tail) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        let (gap, tail) = tail.split_at(tail.find(is_part).unwrap_or(tail.len()));
        steady += &steady_word(word);
        steady += gap;
        rest = tail;
    }
    while steady.contains("   ") {
        steady = steady.replace("   ", "  ");
    }
    steady
}

fn steady_word(word: &str) -> String {
    if word.len() >= 20 && word.starts_with("20") && word.ends_with('Z') {
        return "<time>".to_owned();
    }
    if word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) {
        return "<uuid>".to_owned();
    }
    if word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "<hash>".to_owned();
    }
    match word.split_once('/').and_then(|(account, entry)| Some((account, entry.split_once('-')?))) {
        Some((account, (time, sequence))) if time.len() == 13 => format!("{account}/<ms>-{sequence}"),
        _ => word.to_owned(),
    }
}

#[test]
fn a_transaction_from_a_history_is_shown() {
    let server = Server::start();
    run(&server, "create a --currency KWD");
    run(&server, "create b --currency KWD");
    assert_eq!(stdout(&run(&server, "deposit a 1.234")), "Successfully deposited 1.234 KWD\n");
    run(&server, "transfer a b 1");
    let output = run(&server, "history a --limit 1 --output json");
    let entry: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    let transaction = entry["transaction_id"].as_str().unwrap();

    let output = run(&server, &format!("transaction {transaction} --output json"));
    let shown: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(shown["entries"][0], entry);
    assert_eq!(shown["entries"][1]["amount"]["amount"], "1.000");

    let output = run(&server, &format!("transaction {transaction}"));
    let lines: Vec<_> = stdout(&output).lines().map(steady).collect();
    assert_eq!(
        lines,
        [
            "ACCOUNT  KIND  AMOUNT  BALANCE  TIME  DESCRIPTION",
            "a  transfer_out  -1.000 KWD  0.234 KWD  <time>",
            "b  transfer_in  1.000 KWD  1.000 KWD  <time>",
        ]
    );
}

/// Somebody writes himself a balance, with `redis-cli`.
#[test]
fn an_audit_with_findings_has_its_own_exit_code() {
    let redis = Redis::start();
    let server = Server::on_redis(&redis);
    run(&server, "create 123 --currency USD");
    run(&server, "deposit 123 10.00");
    let output = run(&server, "audit");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "", "a bar is for terminals");

    let key = redis.run(&["KEYS", "bank:*:account:123"]);
    redis.run(&["HSET", &key, "balance", "1000000"]);
    for account in ["", " 123"] {
        let output = run(&server, &format!("audit{account}"));
        assert_eq!(output.status.code(), Some(9));
        assert!(stdout(&output).starts_with(
            "account_changed: account 123: the account has the balance $10000.00, its entries come to $10.00\n\
             money_unbalanced: $10000.00 are held, $9990.00 more than came in and did not go out"
        ));
        assert_eq!(stderr(&output), "error: the audit has 2 findings\n");
    }

    // What cannot be audited at all ends differently.
    drop(redis);
    assert_eq!(run(&server, "audit").status.code(), Some(6));
}

/// It shows what is written while it runs, and ends in order when it is told to.
#[test]
fn a_watch_shows_entries_as_they_come_until_ctrl_c() {
    let server = Server::start();
    run(&server, "create 123 --currency USD");
    let watch = Watching::start(&server, "watch 123");
    assert_eq!(watch.line(), "TIME  ACCOUNT  KIND  AMOUNT  BALANCE  COUNTERPARTY  DESCRIPTION");
    run(&server, "deposit 123 10.00 --description 'first of all'");
    assert_eq!(watch.line(), "<time>  123  deposit  $10.00  $10.00  first of all");
    let notes = watch.interrupt();
    let token = notes.strip_prefix("note: to continue from here, add --resume-token ").unwrap().trim_end();

    run(&server, "withdraw 123 4.00");
    let watch = Watching::start(&server, &format!("watch 123 --output json --resume-token {token}"));
    let mut tokens = Vec::new();
    let entries = loop {
        let line: serde_json::Value = serde_json::from_str(&watch.raw_line()).unwrap();
        tokens.push(line["resume_token"].as_str().unwrap().to_owned());
        match line["entries"].as_array().unwrap().clone() {
            none if none.is_empty() => assert_eq!(tokens, [token]),
            entries => break entries,
        }
    };
    let [withdrawal] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&withdrawal["sequence"], &withdrawal["kind"]), (&3.into(), &"withdrawal".into()));
    assert_eq!(watch.interrupt(), "");

    let watch = Watching::start(&server, "watch --from-start");
    let kinds = [(); 4].map(|()| watch.line());
    assert!(kinds[1].contains("account_opened") && kinds[3].contains("withdrawal"), "{kinds:?}");
    drop(server);
    // It tries again until it is told to stop.
    let notes = watch.interrupt_after("note: ");
    assert!(notes.contains("; trying again\n"), "{notes}");
    assert!(notes.contains("note: to continue from here, add --resume-token "), "{notes}");
}

#[test]
fn a_watch_that_cannot_begin_says_why() {
    let server = Server::start();
    for (line, code, complaint) in [
        ("watch 123", 4, "error: account 123 does not exist\n"),
        (
            "watch --resume-token x",
            5,
            "error: invalid request: resume_token is not a resume token; use resume_token of a reply\n",
        ),
    ] {
        let output = run(&server, line);
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(stderr(&output).starts_with(complaint), "{}", stderr(&output));
    }
}

/// A `bank watch` that runs.
struct Watching {
    process: Child,
    lines: Receiver<String>,
    notes: Receiver<String>,
}

impl Watching {
    fn start(server: &Server, line: &str) -> Self {
        let mut command = bank(server, &words(line));
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = read_lines(process.stdout.take().unwrap());
        let notes = read_lines(process.stderr.take().unwrap());
        Self { process, lines, notes }
    }

    fn raw_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it shows nothing")
    }

    fn line(&self) -> String {
        steady(&self.raw_line())
    }

    /// Presses Ctrl-C, and returns the notes of a watch that ended in order.
    fn interrupt(self) -> String {
        self.interrupt_with(String::new())
    }

    /// The same, once there is such a note.
    fn interrupt_after(self, beginning: &str) -> String {
        let note = self.notes.recv_timeout(PATIENCE).expect("it notes nothing");
        assert!(note.starts_with(beginning), "{note}");
        self.interrupt_with(note + "\n")
    }

    fn interrupt_with(mut self, mut notes: String) -> String {
        let command = format!("kill -s INT {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
        notes.extend(self.notes.iter().map(|line| line + "\n"));
        assert!(self.process.wait().unwrap().success(), "{notes}");
        notes
    }
}

fn read_lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, read) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    read
}

#[test]
fn an_unavailable_server_gets_a_hint() {
    let server = Server::start();
    let endpoint = server.endpoint();
    drop(server);
    let output = Command::new(env!("CARGO_BIN_EXE_bank"))
        .args(["balance", "123", "--server", &endpoint])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6));
    let complaint = stderr(&output);
    assert!(complaint.contains(&format!("cannot connect to {endpoint}")), "{complaint}");
    assert!(complaint.contains("hint: start a bank with `bank-server`"), "{complaint}");
}

#[test]
fn completions_are_for_the_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_bank")).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(stdout(&output).contains("overdraft"), "{shell}");
    }
}
