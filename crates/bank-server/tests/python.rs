//! The sample in Python, against the real server.

mod support;

use std::{path::Path, process::Command};

use support::Bank;

#[tokio::test]
async fn the_python_sample_prints_the_original_session() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let python = root.join("target/python/bin/python");
    assert!(python.exists(), "{} is missing: scripts/setup installs it", python.display());

    let bank = Bank::memory().await;
    let target = bank.endpoint().replace("http://", "");
    let output = Command::new(python)
        .arg(root.join("examples/python/demo.py"))
        .arg(target)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    let [created, rest @ ..] = &lines[..] else { panic!("{printed}") };
    assert!(
        created.starts_with("Account python-") && created.ends_with(" created successfully"),
        "{created}"
    );
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
