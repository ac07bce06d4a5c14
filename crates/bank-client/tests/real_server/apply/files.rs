//! Files that are malformed, and files that fill a bank.

use super::*;

#[test]
fn a_file_with_malformed_lines_is_refused_with_all_of_them_and_nothing_is_sent() {
    let scene = Scene::new();
    let file = "\
operation,account_id,destination_account_id,amount,currency_code,annual_interest_rate
deposit,a,,1.00,USD,
deposit,{},,1.00,USD,
deposit,a,,25.0000,USD,
deposit,a,,-1,USD,
deposit,a,,1.00,,
deposit,a,b,1.00,USD,
transfer,a,a,1.00,USD,
freeze,a,,,,
calculate_interest,a,,,,much
deposit,a
,,,,,
";
    let output = scene.apply(file, &[]);
    assert_eq!(output.status.code(), Some(5));
    let said = stderr(&output);
    for line in [
        "error: f.csv: malformed, so nothing was sent\n",
        "line 3: account_id has '{' at position 0; allowed are A-Z a-z 0-9 . _ : -\n",
        "line 4: amount 25.0000 has 4 decimals; USD has 2\n",
        "line 5: amount ",
        "line 6: currency_code is empty; name one, or one for all lines with --currency\n",
        "line 7: destination_account_id does not apply to deposit; leave it empty\n",
        "line 8: destination_account_id is the source; they must differ\n",
        "line 9: operation is \"freeze\"; it must be one of deposit, withdraw, transfer, calculate_interest, create_account,",
        "line 10: annual_interest_rate ",
        "line 11: has 2 columns, and the header has 6; a text with a comma must be in quotes\n",
    ] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
    assert!(!said.contains("line 12"), "an empty row is left out: {said}");
    let many = format!("operation,account_id\n{}", "deposit,a\n".repeat(30));
    assert!(stderr(&scene.apply(&many, &[])).contains("and 10 more lines"));
    assert_eq!(scene.balance("a"), "0.00");
    assert!(!scene.path("f.csv.results.jsonl").exists());
}

/// They were reported as `Lines 0`, with exit code 0.
#[test]
fn other_files_are_rejected_at_their_first_line() {
    let scene = Scene::new();
    for (contents, what) in [
        ("", "line 1: the file is empty; expected a CSV header"),
        (
            "[{\"operation\":\"deposit\",\"account_id\":\"a\",\"amount\":\"1\"}]",
            "line 1: begins a JSON array",
        ),
        ("deposit,a,,1.00,USD\n", "line 1: is not a header; expected a CSV header"),
        ("<!DOCTYPE html><html></html>\n", "line 1: is not a header; expected a CSV header"),
        ("operation;account_id;amount\ndeposit;a;1\n", "line 1: the columns are separated by semicolons"),
        (
            "operation,account_id,amount\ndeposit,a,\"1\ndeposit,a,1\n",
            "line 2: a quoted text does not end on its line",
        ),
    ] {
        let output = scene.apply(contents, &[]);
        let said = stderr(&output);
        assert!(output.status.code() == Some(5) && said.contains(what), "{contents:?}: {said}");
        assert_eq!(said.matches("\n  line ").count(), 1, "one problem: {said}");
    }
    assert_eq!(scene.counts(HEADER, &[]), [0, 0, 0], "no operations are none");
}

#[test]
fn a_bank_is_populated_from_a_file() {
    let scene = Scene::new();
    let mut file = "operation,account_id,destination_account_id,amount,currency_code,account_type,owner,labels,overdraft_limit,description\n".to_owned();
    for number in 0..200 {
        writeln!(
            file,
            "create_account,c{number},,,USD,checking,owner-{number},branch=north;tier=gold,{number}.50,"
        )
        .unwrap();
        writeln!(file, "deposit,c{number},,1000.00,USD,,,,,opening balance").unwrap();
    }
    file += "\
create_account,yen,,,JPY,savings,,,,
transfer,c0,c1,1000.00,USD,,,,,
close_account,c0,,,,,,,,moved away
freeze_account,c1,,,,,,,,card stolen
unfreeze_account,c1,,,,,,,,
freeze_account,c2,,,,,,,,
set_overdraft_limit,c3,,,USD,,,,5000.00,
";
    assert_eq!(scene.counts(&file, &["--batch", "150"]), [407, 0, 0]);
    assert_eq!(scene.counts(&file, &[]), [0, 407, 0]);
    let account = |id: &str| -> Value {
        serde_json::from_str(&stdout(&scene.run(&["show", id, "--output", "json"]))).unwrap()
    };
    let c7 = account("c7");
    assert_eq!(
        (&c7["owner"], &c7["labels"]["branch"], &c7["labels"]["tier"]),
        (&"owner-7".into(), &"north".into(), &"gold".into())
    );
    assert_eq!(
        (&c7["overdraft_limit"]["amount"], &c7["balance"]["amount"]),
        (&"7.50".into(), &"1000.00".into())
    );
    assert_eq!(["c0", "c1", "c2"].map(|id| account(id)["state"].clone()), ["closed", "active", "frozen"]);
    assert_eq!(account("c1")["balance"]["amount"], "2000.00");
    assert_eq!(account("c3")["overdraft_limit"]["amount"], "5000.00");
    assert_eq!(account("yen")["currency_code"], "JPY");
    let audit = scene.run(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
    // Changed afterwards, an account is another one, of a name that is taken.
    let changed = file.replace("owner-7,", "owner-8,");
    assert_eq!(scene.counts(&changed, &[]), [0, 406, 1]);
    assert!(stderr(&scene.apply(&changed, &[])).contains("account c7 already exists"));
}
