//! `bank apply`: files of operations, edited, run again, and broken off.

mod broken_off;
mod dry_run;
mod files;
mod runs;

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Redis, Server};

/// A server with the accounts a and b in dollars, and a directory for files.
struct Scene {
    server: Server,
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let fast = ["callers.calls_per_second_max=1000000", "callers.calls_burst_max=1000000"];
        let flags = ["--listen", "127.0.0.1:0", "--store", "memory", "--set", fast[0], "--set", fast[1]];
        Self::with(Server::start_with(&flags))
    }

    fn on_redis(redis: &Redis) -> Self {
        Self::with(Server::on_redis(redis))
    }

    fn with(server: Server) -> Self {
        let scene = Self { server, directory: TempDir::new().unwrap() };
        for account in ["a", "b"] {
            assert!(scene.run(&["create", account, "--currency", "USD"]).status.success());
        }
        scene
    }

    fn bank(&self, arguments: &[&str]) -> Command {
        self.in_directory(Command::new(env!("CARGO_BIN_EXE_bank")).args(arguments))
    }

    fn in_directory(&self, command: &mut Command) -> Command {
        let mut own = Command::new(command.get_program());
        own.args(command.get_args());
        own.env("BANK_SERVER", self.server.endpoint()).current_dir(self.directory.path());
        own
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.bank(arguments).output().unwrap()
    }

    /// Applies `f.csv`, with this in it, in the run `payroll`.
    fn apply(&self, contents: &str, arguments: &[&str]) -> Output {
        self.write("f.csv", contents);
        self.run(&[&["apply", "f.csv", "--name", "payroll"], arguments].concat())
    }

    /// The same, and what it came to: applied, already applied, rejected.
    fn counts(&self, contents: &str, arguments: &[&str]) -> [u64; 3] {
        let output = self.apply(contents, &[arguments, &["--output", "json"]].concat());
        let tally = tally(&output);
        ["applied", "already_applied", "rejected"].map(|key| tally[key].as_u64().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// The records of a results file.
    fn records(&self, name: &str) -> Vec<Value> {
        let contents = fs::read_to_string(self.path(name)).unwrap();
        contents.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// In dollars, as it is printed.
    fn balance(&self, account: &str) -> String {
        let output = stdout(&self.run(&["balance", account]));
        output.trim().strip_prefix("Balance: $").unwrap().to_owned()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn tally(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|_| panic!("no tally in {output:?}"))
}

const HEADER: &str = "operation,account_id,destination_account_id,amount,currency_code\n";

/// A file of deposits to the account a.
fn deposits(amounts: &[&str]) -> String {
    amounts.iter().fold(HEADER.to_owned(), |mut text, amount| {
        writeln!(text, "deposit,a,,{amount},USD").unwrap();
        text
    })
}
