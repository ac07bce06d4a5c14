use std::fs;

use tempfile::TempDir;

use super::*;
use crate::apply::journal::{
    State, Status,
    tests::{result, run, sending, state},
};

#[test]
fn the_file_is_private_has_one_user_and_is_cut_to_its_last_whole_line() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("r.jsonl");
    let (mut file, mut history) = ResultsFile::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for failure in [ResultsFile::open(&path).unwrap_err(), ResultsFile::read(&path).unwrap_err()] {
        assert!(failure.to_string().ends_with("is in use by another `bank apply`"), "{failure}");
    }
    history.append(&mut file, vec![run(), sending(&["1"], 5)]).unwrap();
    drop(file);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&*whole, b"{\"record\":\"res"].concat()).unwrap();
    assert!(state(&ResultsFile::read(&path).unwrap(), "1").is_some());
    let (mut file, mut history) = ResultsFile::open(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);
    history.append(&mut file, vec![result("1", Status::Applied)]).unwrap();
    drop(file);
    assert_eq!(state(&ResultsFile::read(&path).unwrap(), "1"), Some(&State::Applied));

    // Somebody else's file is left as it is.
    fs::write(&path, "notes").unwrap();
    let failure = ResultsFile::open(&path).unwrap_err().to_string();
    assert!(failure.contains("is not a results file of `bank apply`"), "{failure}");
    assert_eq!(fs::read(&path).unwrap(), b"notes");
    assert!(ResultsFile::read(&directory.path().join("none")).unwrap().run.is_none());
}

#[test]
fn a_results_file_names_its_input_by_a_relative_path() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for month in ["may", "june"] {
        fs::create_dir(at(month)).unwrap();
        fs::write(at(month).join("p.csv"), "").unwrap();
    }
    let input = |file: &str, results: Option<&str>| {
        let results = results.map(&at);
        Location::of(&at(file), results.as_deref()).unwrap().unwrap().input
    };
    assert_eq!(input("may/p.csv", None), "p.csv");
    assert_eq!(input("june/../may/p.csv", None), "p.csv");
    assert_eq!(input("may/p.csv", Some("r.jsonl")), "may/p.csv");
    assert_eq!(input("june/p.csv", Some("may/r.jsonl")), "../june/p.csv");
    assert_eq!(Location::of("-".as_ref(), None).unwrap(), None);
    assert_eq!(Location::of("-".as_ref(), Some("r".as_ref())).unwrap().unwrap().input, "-");
}
