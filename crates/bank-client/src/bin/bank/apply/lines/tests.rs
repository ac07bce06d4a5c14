use std::collections::{BTreeMap, BTreeSet};

use super::*;

const HEADER: &str = "operation,account_id,amount,currency_code,request_id\n";

/// The id of each line, with what it is the id of.
fn ids(name: &str, contents: &str) -> Vec<(String, String)> {
    let lines = read(contents.as_bytes(), None).unwrap();
    lines
        .iter()
        .map(|line| (format!("{:?}", line.instruction), line.identity.request_id(name, 0).to_string()))
        .collect()
}

fn deposits(amounts: &[&str]) -> String {
    amounts.iter().fold(HEADER.to_owned(), |text, amount| format!("{text}deposit,a,{amount},USD,\n"))
}

#[test]
fn editing_a_file_leaves_the_ids_of_all_other_lines_unchanged() {
    let original = ids("payroll", &deposits(&["1", "2", "2", "3"]));
    let set: BTreeSet<_> = original.iter().cloned().collect();
    assert_eq!(set.len(), 4, "identical lines have ids of their own");
    for edited in [
        &["9", "1", "2", "2", "3"][..],
        &["1.00", "2.0", "2", "3", "9"],
        &["3", "2", "1", "2"],
        &["1", "2", "2", "9"],
        &["2", "2"],
    ] {
        let edited: BTreeSet<_> = ids("payroll", &deposits(edited)).into_iter().collect();
        let kept = edited.intersection(&set).count();
        assert!(kept >= edited.len() - 1 && kept >= 2, "{kept} of {edited:?}");
    }
    let spaced = format!("\n\n{}\n,,,,\n", deposits(&["1", "2", "2", "3"]).replace(',', " , "));
    assert_eq!(ids("payroll", &spaced), original);
    let json: String = ["3", "2.00", "2", "1"]
        .map(|amount| format!("{{\"amount\":\"{amount}\",\"account_id\":\"a\",\"operation\":\"deposit\",\"currency_code\":\"USD\"}}\n"))
        .concat();
    assert_eq!(ids("payroll", &json).into_iter().collect::<BTreeSet<_>>(), set);
}

#[test]
fn names_ordinals_and_attempts_give_different_ids() {
    let lines = read(deposits(&["1", "1", "11"]).as_bytes(), None).unwrap();
    let mut ids = BTreeMap::new();
    for name in ["", "a", "a1", "a-1", "1", "payroll", "payroll-1", "payroll-11"] {
        for line in &lines {
            for attempt in [0, 1, 10, 11] {
                let id = line.identity.request_id(name, attempt);
                let which = (name, line.number, attempt);
                assert_eq!(ids.insert(id, which), None, "{which:?}");
            }
        }
    }
}

/// A run that is continued with a later version must find the ids that it has used.
#[test]
fn ids_are_the_same_in_every_version() {
    let lines = read(format!("{HEADER}deposit,a,25,USD,\ndeposit,a,25,USD,own\n").as_bytes(), None).unwrap();
    let ids = [0, 1]
        .map(|line| [0, 1].map(|attempt| lines[line].identity.request_id("payroll", attempt).to_string()));
    assert_eq!(
        ids,
        [
            [
                "apply-ad19039973ebf15a8b1772b77a7e5c55204341d00a5e7a25",
                "apply-eea9920521348e7049430fa4d6abf118df7dd726422d2205"
            ],
            ["own", "apply-d6d72bd567a6754af80fac8e1b5138e351a8a4f15cefb61b"]
        ]
    );
}

#[test]
fn a_duplicate_request_id_is_a_problem_that_names_both_lines() {
    let same =
        format!("{HEADER}deposit,a,1,USD,x\ndeposit,b,1,USD,x\ndeposit,a,2,USD,x\ndeposit,a,2,USD,x y\n");
    let problems = read(same.as_bytes(), None).unwrap_err();
    assert_eq!(problems.first[0], (4, "request_id x is used on line 2 for the same account".to_owned()));
    assert_eq!((problems.first[1].0, problems.first.len()), (5, 2));
}

#[test]
fn the_first_problems_are_shown_and_the_others_counted() {
    let problems = read(format!("{HEADER}{}", "deposit,a,,,\n".repeat(30)).as_bytes(), None).unwrap_err();
    assert_eq!((problems.first.len(), problems.more), (20, 10));
}
