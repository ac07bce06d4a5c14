//! `bank export` and `bank import`, from one real server to another.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Output, Stdio},
};

use tempfile::TempDir;

use crate::{
    cli::{bank, run, stderr, stdout},
    process::{Redis, Server},
};

/// Accounts, entries of most kinds, and requests with names, one of them refused.
fn fill(server: &Server) {
    for line in [
        "create alice --owner alice --label branch=north",
        "create shop --type checking --currency USD --overdraft-limit 500.00",
        "create yen --currency JPY",
        "deposit alice 1000.00 --request-id salary --description 'for \"May\"'",
        "transfer alice shop 250.00 --request-id rent",
        "interest alice 2.5 --from 2026-01-01 --to 2026-07-01 --compounding monthly",
        "withdraw shop 700.00",
        "deposit yen 777 --request-id tip",
        "freeze yen",
        "overdraft shop 600.00",
    ] {
        assert!(run(server, line).status.success(), "{line}");
    }
    assert_eq!(run(server, "withdraw alice 99999 --request-id much").status.code(), Some(3));
}

/// A directory for files, and the path of one in it.
struct Files(TempDir);

impl Files {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn export(&self, server: &Server, name: &str) -> Vec<u8> {
        let path = self.path(name);
        let output = run(server, &format!("export {path}"));
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stderr(&output), "", "nothing has changed meanwhile");
        assert!(
            stdout(&output).starts_with("Exported 3 accounts with 11 entries, and "),
            "{}",
            stdout(&output)
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::read(path).unwrap()
    }

    fn import(&self, server: &Server, name: &str) -> Output {
        run(server, &format!("import {}", self.path(name)))
    }
}

#[test]
fn a_bank_goes_from_redis_to_a_file_to_a_store_and_back_without_a_byte_changed() {
    let (files, redis) = (Files(TempDir::new().unwrap()), Redis::start());
    let original = Server::on_redis(&redis);
    fill(&original);
    let first = files.export(&original, "first.jsonl");
    let balances = ["balance alice", "balance shop", "history yen --output json"];
    let expected: Vec<_> = balances.iter().map(|line| run(&original, line).stdout).collect();

    let other_redis = Redis::start();
    let embedded = Server::on_file(&files.0.path().join("bank.redb"));
    let mut before = "first.jsonl".to_owned();
    for (name, server) in
        [("embedded", embedded), ("memory", Server::start()), ("redis", Server::on_redis(&other_redis))]
    {
        let output = files.import(&server, &before);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        assert!(
            stdout(&output).starts_with("Imported 3 accounts with 11 entries, and "),
            "{}",
            stdout(&output)
        );
        before = format!("{name}.jsonl");
        assert!(files.export(&server, &before) == first, "{name}");
        assert!(run(&server, "audit").status.success(), "{name}");
        let found: Vec<_> = balances.iter().map(|line| run(&server, line).stdout).collect();
        assert_eq!(found, expected, "{name}");

        // Requests have the outcomes that they had.
        let again = run(&server, "transfer alice shop 250.00 --request-id rent");
        assert_eq!(stdout(&again), "Successfully transferred $250.00 to account shop\n", "{name}");
        assert!(stderr(&again).contains("carried out before"), "{name}: {}", stderr(&again));
        let refused = run(&server, "withdraw alice 99999 --request-id much");
        assert_eq!(refused.status.code(), Some(3), "{name}");
        assert!(
            stderr(&refused).contains("this is the answer to an earlier request with this id"),
            "{}",
            stderr(&refused)
        );
        let reused = run(&server, "transfer alice shop 251.00 --request-id rent");
        assert!(stderr(&reused).contains("was used on account alice before"), "{}", stderr(&reused));
    }
    // The bank itself is another one: nobody takes it for the original.
    let bank_id = |server: &Server| {
        let info: serde_json::Value =
            serde_json::from_slice(&run(server, "info --output json").stdout).unwrap();
        info["store"]["bank_id"].as_str().unwrap().to_owned()
    };
    let copy = Server::start();
    let own = bank_id(&copy);
    assert!(files.import(&copy, "first.jsonl").status.success());
    assert_eq!(bank_id(&copy), own);
    assert_ne!(bank_id(&original), own);
}

#[test]
fn a_bank_is_exported_and_imported_through_pipes() {
    let (original, copy) = (Server::start(), Server::start());
    fill(&original);
    let exported = run(&original, "export -");
    assert!(exported.status.success());
    assert!(
        stderr(&exported).starts_with("note: exported 3 accounts with 11 entries"),
        "{}",
        stderr(&exported)
    );
    let mut import = bank(&copy, &["import", "-", "--output", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(&exported.stdout).unwrap();
    let output = import.wait_with_output().unwrap();
    assert!(output.status.success());
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["accounts"], &result["entries"]), (&3.into(), &11.into()));
    assert_eq!(run(&copy, "export -").stdout, exported.stdout);
}

#[test]
fn failures_have_a_message_and_an_exit_code() {
    let (files, original) = (Files(TempDir::new().unwrap()), Server::start());
    fill(&original);
    let file = files.export(&original, "bank.jsonl");

    // What is there already is left alone, and nothing half written is left.
    let output = run(&original, &format!("export {}", files.path("bank.jsonl")));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("already exists and is not overwritten"), "{}", stderr(&output));
    let output = run(&original, &format!("export {}", files.path("no/such/place")));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(fs::read_dir(files.0.path()).unwrap().count(), 1);

    let output = files.import(&original, "bank.jsonl");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("only into an empty one"), "{}", stderr(&output));

    let empty = Server::start();
    let output = files.import(&empty, "absent.jsonl");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    fs::write(files.path("cut.jsonl"), &file[..file.len() / 2]).unwrap();
    let output = files.import(&empty, "cut.jsonl");
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).starts_with("error: line "), "{}", stderr(&output));
    assert!(stderr(&output).contains("is cut"), "{}", stderr(&output));
    assert_eq!(stdout(&run(&empty, "accounts --output json")), "");
    assert!(files.import(&empty, "bank.jsonl").status.success());
}
