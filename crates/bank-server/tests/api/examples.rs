//! The samples in other languages, against the real server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{path::Path, process::Command};

use crate::support::{Bank, nginx::Nginx};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// Runs a sample against a server, directly and through a proxy that renews its connection during the session.
async fn prints_the_original_session(language: &str, command: impl Fn() -> Command) {
    let bank = Bank::memory().await;
    prints_it_at(&bank.endpoint(), language, &mut command());
    let often =
        [("keepalive_requests 1000000;\n    keepalive_time", "keepalive_requests 2;\n    keepalive_time")];
    for changes in [&[][..], &often] {
        let nginx = Nginx::start(bank.port(), changes);
        prints_it_at(&nginx.endpoint(), language, &mut command());
    }
}

/// Runs a sample against an endpoint, and compares what it prints with the original session.
fn prints_it_at(endpoint: &str, language: &str, command: &mut Command) {
    let output = command.arg(endpoint.replace("http://", "")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    let [created, rest @ ..] = &lines[..] else { panic!("{printed}") };
    let opened = created.strip_prefix("Account ").and_then(|text| text.strip_suffix(" created successfully"));
    assert!(opened.is_some_and(|id| id.starts_with(language)), "{created}");
    assert_eq!(
        rest,
        [
            "Successfully deposited $1000.00",
            "Balance: $1000.00",
            "Successfully withdrew $500.00",
            "Applied annual interest rate of 2.5000% to bank amount of $500.00 for interest amount of $12.50",
            "FAILED_PRECONDITION INSUFFICIENT_FUNDS: 51250 cents are available",
        ]
    );
}

#[tokio::test]
async fn python() {
    let python = root().join("target/python/bin/python");
    assert!(python.exists(), "{} is missing: scripts/setup installs it", python.display());
    let command = || {
        let mut command = Command::new(&python);
        command.arg(root().join("examples/python/demo.py")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    prints_the_original_session("python-", command).await;
}

#[tokio::test]
async fn node() {
    let packages = root().join("target/node/node_modules");
    assert!(packages.exists(), "{} is missing: scripts/setup installs it", packages.display());
    let command = || {
        let mut command = Command::new("node");
        command.arg(root().join("examples/node/demo.js")).env("NODE_PATH", &packages);
        command
    };
    prints_the_original_session("node-", command).await;
}
