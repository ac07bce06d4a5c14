//! What a file would come to.

use super::*;

/// It reported a thousand, where the real run applies five hundred: each batch was checked against the accounts as
/// they are.
#[test]
fn a_dry_run_of_many_batches_says_what_the_run_will_come_to() {
    let scene = Scene::new();
    scene.run(&["deposit", "a", "500"]);
    let file = HEADER.to_owned() + &"withdraw,a,,1,USD\n".repeat(1_000);
    let more = file.clone() + "withdraw,a,,1,USD\n";
    let output = scene.apply(&file, &["--dry-run", "--batch", "100"]);
    assert_eq!(
        stdout(&output),
        "\
Lines              1000
Would be applied   500
Already applied    0
Would be rejected  500
Unknown            0
Not checked        0
REASON              LINES
INSUFFICIENT_FUNDS    500
"
    );
    let said = stderr(&output);
    assert!(
        said.contains(
            "note: dry run: nothing was changed\nerror: 500 lines would be rejected\n  line 502: account a has"
        ),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(scene.balance("a"), "500.00");
    assert!(!scene.path("f.csv.results.jsonl").exists());

    let said = stderr(&scene.apply(&more, &["--dry-run"]));
    assert!(said.contains("error: 501 lines would be rejected"), "{said}");

    assert_eq!(scene.counts(&file, &["--batch", "70"]), [500, 0, 500]);
    // What was applied is not counted again, and what was rejected stays rejected.
    scene.run(&["deposit", "a", "20"]);
    let check = |arguments: &[&str]| {
        let tally = tally(&scene.apply(&file, &[arguments, &["--dry-run", "--output", "json"]].concat()));
        ["would_be_applied", "already_applied", "would_be_rejected"].map(|key| tally[key].as_u64().unwrap())
    };
    assert_eq!(check(&[]), [0, 500, 500]);
    assert_eq!(check(&["--retry-rejected"]), [20, 500, 480]);
}

#[test]
fn a_dry_run_knows_accounts_that_the_file_opens() {
    let scene = Scene::new();
    let file = "\
operation,account_id,amount,currency_code,account_type
create_account,new,,USD,savings
deposit,new,10,USD,
withdraw,new,4,USD,
withdraw,new,7,USD,
";
    let output = scene.apply(file, &["--dry-run", "--batch", "1"]);
    assert!(stdout(&output).contains("Would be applied   3\n"), "{output:?}");
    assert!(
        stderr(&output).contains("line 5: account new has $6.00 available, $7.00 requested"),
        "{output:?}"
    );
    assert_eq!(scene.run(&["show", "new"]).status.code(), Some(4));
}

#[test]
fn a_dry_run_that_the_bank_cannot_make_says_so() {
    let small = ["--set", "callers.dry_run_bytes_max=2000"];
    let scene = Scene::with(Server::start_with(
        &[&["--listen", "127.0.0.1:0", "--store", "memory"], &small[..]].concat(),
    ));
    let mut file = "operation,account_id,account_type\n".to_owned();
    for number in 0..100 {
        writeln!(file, "create_account,c{number},savings").unwrap();
    }
    let output = scene.apply(&file, &["--dry-run", "--batch", "10"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        said.contains("the dry runs of one caller may keep 2000 bytes")
            && said.contains("not checked: lines "),
        "{said}"
    );
}
