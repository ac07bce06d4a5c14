//! `bank bench`: what it reports is what the books of the bank have.

use std::process::Command;

use serde_json::Value;

use crate::process::Server;

const ACCOUNTS: u64 = 5;

/// What the command prints, a document a line.
fn bank(server: &Server, line: &str) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
    command.env("BANK_SERVER", server.endpoint()).args(line.split_whitespace()).args(["--output", "json"]);
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{line}\n{errors}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn bench(server: &Server, flags: &str) -> Value {
    let line = format!(
        "bench {flags} --seconds 1 --warm-up 100ms --accounts {ACCOUNTS} --connections 2 --inflight 4"
    );
    let [report] = &bank(server, &line)[..] else { panic!("{line}: one report") };
    report.clone()
}

/// How many entries all accounts have.
fn entries(server: &Server) -> u64 {
    let accounts = bank(server, "accounts --all");
    assert_eq!(accounts.len() as u64, ACCOUNTS);
    for account in &accounts {
        assert!(account["account_id"].as_str().unwrap().starts_with("bank-bench-000000"), "{account}");
    }
    accounts.iter().map(|account| account["version"].as_u64().unwrap()).sum()
}

/// How many entries a report says that it has made.
fn reported(report: &Value) -> u64 {
    let count = |what: &str| report["booked"][what].as_u64().unwrap();
    count("deposits") + count("withdrawals") + 2 * count("transfers")
}

/// Runs a load twice on a new bank, whose accounts have so many entries each before it.
fn adds_up(flags: &str, entries_before: u64) {
    let server = Server::start();
    let mut expected = entries_before * ACCOUNTS;
    for _ in 0..2 {
        let report = bench(&server, flags);
        assert!(report["operations"].as_u64().unwrap() > 0, "{report}");
        let latency = &report["latency_us"];
        let of = |name: &str| latency[name].as_f64().unwrap();
        assert!(0.0 < of("p50") && of("p50") <= of("p99.9") && of("p99.9") <= of("max"), "{report}");
        expected += reported(&report);
        assert_eq!(entries(&server), expected, "{report}");
    }
    let [summary] = &bank(&server, "audit")[..] else { panic!("one summary") };
    assert_eq!(summary["summary"]["findings"], 0, "{summary}");
}

#[test]
fn deposits_add_up() {
    adds_up("--op deposit --skew 0.99", 1);
}

#[test]
fn withdrawals_add_up() {
    adds_up("--op withdraw", 2);
}

#[test]
fn transfers_add_up() {
    adds_up("--op transfer --skew 2", 2);
}

#[test]
fn balances_are_only_read() {
    let server = Server::start();
    let report = bench(&server, "--op balance");
    assert!(report["operations"].as_u64().unwrap() > 0, "{report}");
    assert_eq!((reported(&report), entries(&server)), (0, ACCOUNTS));
}

#[test]
fn a_mixture_at_a_fixed_rate_adds_up() {
    adds_up("--op mixed --rate 200", 2);
    let server = Server::start();
    let report = bench(&server, "--op deposit --rate 200");
    let begun = report["operations"].as_u64().unwrap();
    let failed: u64 = report["errors"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    // Those that fall due in the second after the warm-up, and no others.
    assert_eq!(begun + failed + report["never_begun"].as_u64().unwrap(), 200, "{report}");
}

#[test]
fn batches_add_up() {
    adds_up("--op transfer --batch 7", 2);
}

/// A new user's first `bank bench --batch` measured rejections: of more batches at once than one caller may have, and of
/// more operations a second.
#[test]
fn a_load_keeps_to_what_the_server_allows_one_caller_and_names_the_setting() {
    let bounded = |bounds: &[&str]| {
        let settings = bounds.iter().flat_map(|&bound| ["--set", bound]);
        let flags: Vec<_> =
            ["--listen", "127.0.0.1:0", "--store", "memory"].into_iter().chain(settings).collect();
        Server::start_with(&flags)
    };
    let measured = |server: &Server, flags: &str| {
        let line = format!("bench --op deposit {flags} --warm-up 1ms --accounts 10");
        let [report] = &bank(server, &line)[..] else { panic!("one report") };
        assert_eq!(report["errors"], serde_json::json!({}), "{report}");
        assert!(report["operations"].as_u64().unwrap() > 0, "{report}");
        report["limited_by"].as_array().unwrap().clone()
    };
    let few = bounded(&["callers.concurrent_batches_max=1"]);
    let limited_by = measured(&few, "--batch 2 --seconds 1");
    assert!(limited_by.contains(&"callers.concurrent_batches_max = 1".into()), "{limited_by:?}");

    let server = bounded(&["callers.calls_per_second_max=1000", "callers.calls_burst_max=4000"]);
    let limited_by = measured(&server, "--batch 500 --seconds 3");
    assert!(limited_by.contains(&"callers.calls_per_second_max = 1000".into()), "{limited_by:?}");

    let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
    command.env("BANK_SERVER", server.endpoint()).args(["bench", "--batch", "1001"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("--batch 1001 exceeds server.batch_operations_max = 1000 of the server"),
        "{errors}"
    );
}

#[test]
fn impossible_loads_are_usage_errors() {
    for (line, complaint) in [
        ("bench --op transfer --accounts 1", "needs --accounts 2 or more"),
        ("bench --op mixed --batch 2", "needs --op deposit, withdraw or transfer"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_bank")).args(line.split(' ')).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(complaint), "{errors}");
    }
}
