//! What becomes of a command whose results are lost, and of text that would deceive whoever reads it.
//!
//! `bank audit` with findings once ended with 0 when its reader had gone, and JSON that a full disk had cut was a success.

use std::{
    fs::{self, File, OpenOptions},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{
    cli::{bank, run, stderr, stdout, words},
    process::{Redis, Server},
};

/// Commands that succeed and print something, in this order.
const COMMANDS: &[&str] = &[
    "create 123 --currency USD",
    "show 123",
    "deposit 123 10.00",
    "deposit 123 10.00 --dry-run -o json",
    "withdraw 123 1.00",
    "create 456 --currency USD --type checking",
    "transfer 123 456 1.00",
    "interest 123 2.5 --explain",
    "overdraft 456 5 USD",
    "freeze 456",
    "unfreeze 456",
    "balance 123",
    "balance 123 -o json",
    "history 123",
    "history 123 -o json",
    "accounts --all -o json",
    "info",
    "info -o json",
    "audit",
    "audit -o json",
    "export -",
    "watch 123 --from-start",
    "watch 123 --from-start -o json",
    "health",
    "demo",
    "bench --seconds 1 --warm-up 1ms --accounts 1 --rate 10",
    "completions bash",
    "--help",
    "help-of-a-command",
    "--version",
];

fn to_full_disk(server: &Server, words: &[&str]) -> Output {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    bank(server, words).stdout(full).output().unwrap()
}

/// The reader has ended before anything is written.
fn to_nobody(server: &Server, words: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    bank(server, words).stdout(writer).output().unwrap()
}

#[test]
fn a_command_whose_results_are_lost_does_not_succeed() {
    let server = Server::start();
    for line in COMMANDS {
        let words = match *line {
            "help-of-a-command" => vec!["deposit", "--help"],
            line => words(line),
        };
        let output = to_full_disk(&server, &words);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", stderr(&output));
        let complaint = stderr(&output);
        assert!(
            complaint.contains("cannot write the results: No space left on device"),
            "{line}: {complaint}"
        );
        // What changes something once is not done again.
        let again = line.starts_with("create") || line.ends_with("freeze 456");
        if !again {
            let output = to_nobody(&server, &words);
            assert_eq!(output.status.code(), Some(1), "{line}: {}", stderr(&output));
            let complaint = stderr(&output);
            assert!(complaint.contains("results: the reader has closed the pipe"), "{line}: {complaint}");
        }
    }
    // It was carried out all the same.
    assert!(stdout(&run(&server, "history 123")).contains("transfer_out"));
}

#[test]
fn keys_and_tokens_whose_output_is_lost() {
    let (server, files) = (Server::start(), TempDir::new().unwrap());
    let key = files.path().join("key");
    let pem = files.path().join("key.pem");
    let keygen = ["keygen", key.to_str().unwrap()];
    assert_eq!(to_full_disk(&server, &keygen).status.code(), Some(1));
    assert!(pem.exists(), "the key was made");
    let token = ["token", "--signing-key", pem.to_str().unwrap(), "--issuer", "i", "--audience", "a"];
    let token = [&token[..], &["--subject", "s", "--scope", "bank.read"]].concat();
    assert_eq!(to_full_disk(&server, &token).status.code(), Some(1));
    assert_eq!(to_nobody(&server, &token).status.code(), Some(1));
}

#[test]
fn a_command_that_failed_keeps_its_exit_code_when_its_results_are_lost() {
    let redis = Redis::start();
    let server = Server::on_redis(&redis);
    run(&server, "create 123 --currency USD");
    for lose in [to_full_disk, to_nobody] {
        let lost = |line: &str| lose(&server, &words(line));
        assert_eq!(lost("show nobody").status.code(), Some(4));
        assert_eq!(lost("withdraw 123 5.00").status.code(), Some(3));
        assert_eq!(lost("deposit 123 0").status.code(), Some(5));
        assert_eq!(lost("deposit 123").status.code(), Some(2));
    }
    let key = redis.run(&["KEYS", "bank:*:account:123"]);
    redis.run(&["HSET", &key, "balance", "1000000"]);
    for lose in [to_full_disk, to_nobody] {
        for line in ["audit", "audit -o json"] {
            let output = lose(&server, &words(line));
            assert_eq!(output.status.code(), Some(9), "{line}: {}", stderr(&output));
            assert!(stderr(&output).contains("cannot write the results"), "{}", stderr(&output));
            assert!(stderr(&output).contains("the audit has 2 findings"), "{}", stderr(&output));
        }
    }
}

/// `| head -1`: what was read was right, and the rest is missed by nobody but told of.
#[test]
fn a_reader_may_close_the_pipe_early() {
    let server = Server::start();
    run(&server, "create 123 --currency USD");
    let (line, count) = (format!("{}\n", "x".repeat(200)), 600);
    let files = TempDir::new().unwrap();
    let path = files.path().join("deposits.csv");
    let row = format!("deposit,123,1.00,USD,{line}");
    fs::write(&path, format!("operation,account_id,amount,currency_code,description\n{}", row.repeat(count)))
        .unwrap();
    assert!(run(&server, &format!("apply {} --name many", path.display())).status.success());
    let script = format!(
        "set -o pipefail; {} history 123 --all -o json | head -n 1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_bank")
    );
    let mut command = Command::new("bash");
    let output = command.args(["-c", &script]).env("BANK_SERVER", server.endpoint()).output().unwrap();
    let lines: Vec<_> = stdout(&output).lines().collect();
    let [first, exit] = &lines[..] else { panic!("{lines:?}") };
    let entry: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!((entry["kind"].as_str(), *exit), (Some("deposit"), "1"));
    assert!(stderr(&output).contains(r#""reason":"OUTPUT""#), "{}", stderr(&output));
}

/// The limit ends a process by a signal unless it handles it, and was once called a usage error if it does.
#[test]
fn files_as_large_as_they_may_be_are_no_usage_error() {
    let (server, files) = (Server::start(), TempDir::new().unwrap());
    run(&server, "create 123 --currency USD");
    for _ in 0..8 {
        run(&server, &format!("deposit 123 1.00 --description {}", "x".repeat(250)));
    }
    let limited = |line: &str| {
        let script = format!("ulimit -f 1; exec {} {line}", env!("CARGO_BIN_EXE_bank"));
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(&files).env("BANK_SERVER", server.endpoint());
        command.output().unwrap()
    };
    let output = limited("export bank.jsonl");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(stderr(&output), "error: bank.jsonl: cannot be written: File too large (os error 27)\n");
    assert_eq!(fs::read_dir(&files).unwrap().count(), 0, "nothing half written is left");
    let output = limited("history 123 -o json > history");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot write the results: File too large"), "{}", stderr(&output));
}

/// A description is anybody's text: it neither steers the terminal nor hides in it, and JSON says what it is.
#[test]
fn deceptive_text_is_escaped() {
    let server = Server::start();
    run(&server, "create 123 --currency USD --label note=a\u{2066}b");
    let description = "rent\u{202e}\u{200b}\u{feff}\u{e0041}é";
    let output = bank(&server, &["deposit", "123", "1.00", "--description", description]).output().unwrap();
    assert!(output.status.success());
    let shown = r"rent\u{202e}\u{200b}\u{feff}\u{e0041}é";
    let history = run(&server, "history 123 --limit 1");
    assert!(stdout(&history).trim_end().ends_with(shown), "{}", stdout(&history));
    assert!(stdout(&run(&server, "show 123")).contains(r"note=a\u{2066}b"));

    let history = run(&server, "history 123 --limit 1 -o json");
    assert!(stdout(&history).contains(r"rent\u202e\u200b\ufeff\udb40\udc41é"), "{}", stdout(&history));
    let entry: serde_json::Value = serde_json::from_str(stdout(&history)).unwrap();
    assert_eq!(entry["description"], description);

    // What is on the command line comes from somewhere, too.
    let output = bank(&server, &["show", "\u{202e}"]).output().unwrap();
    assert!(
        stderr(&output).starts_with(r"error: invalid value '\u{202e}' for '<ACCOUNT>'"),
        "{}",
        stderr(&output)
    );

    // A file says what the bank says, byte for byte.
    assert!(stdout(&run(&server, "export -")).contains(description));
}

/// A link that somebody has put where a file will be, and a file that everybody can read.
#[test]
fn an_export_follows_no_link_and_is_private() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let (server, files) = (Server::start(), TempDir::new().unwrap());
    run(&server, "create 123 --currency USD");
    let path = |name: &str| files.path().join(name);
    fs::write(path("victim"), "mine").unwrap();
    symlink(path("victim"), path("bank.jsonl.unfinished")).unwrap();
    let export = |name: &str| run(&server, &format!("export {}", path(name).display()));
    let output = export("bank.jsonl");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read(path("victim")).unwrap(), b"mine");
    let metadata = fs::symlink_metadata(path("bank.jsonl")).unwrap();
    assert!(metadata.is_file());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    let readable = File::create(path("other.jsonl.unfinished")).unwrap();
    readable.set_permissions(fs::Permissions::from_mode(0o666)).unwrap();
    assert!(export("other.jsonl").status.success());
    assert_eq!(fs::metadata(path("other.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);

    // The place itself is not taken from a link either, not even one that leads nowhere.
    symlink(path("nowhere"), path("link.jsonl")).unwrap();
    let output = export("link.jsonl");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("already exists and is not overwritten"), "{}", stderr(&output));
    assert!(!path("nowhere").exists());
}

#[test]
fn standard_error_that_is_lost_as_well_leaves_the_exit_code() {
    let server = Server::start();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (line, code) in [("show nobody", 4), ("info", 1), ("deposit", 2)] {
        let mut command = bank(&server, &words(line));
        let status = command.stdout(full()).stderr(full()).stdin(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{line}");
    }
}
