//! Runs that break off, and are continued.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::*;

/// How long anything may take. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_mins(1);

const LINES: usize = 12_000;

/// A deposit to a, and three kinds of lines by turns.
fn long_file() -> String {
    let mut lines = HEADER.to_owned() + "deposit,a,,1000000.00,USD\n";
    for number in 0..LINES {
        match number % 3 {
            0 => writeln!(lines, "deposit,a,,1.00,USD").unwrap(),
            1 => writeln!(lines, "transfer,a,b,2.00,USD").unwrap(),
            _ => writeln!(lines, "withdraw,b,,0.50,USD").unwrap(),
        }
    }
    lines
}

const APPLY: [&str; 8] = ["apply", "f.csv", "--name", "payroll", "--batch", "50", "--output", "json"];

impl Scene {
    /// Applies the long file, and waits until it is between its first batch and its last.
    fn begin(&self) -> Child {
        let before = self.balance("b");
        let mut command = self.bank(&APPLY);
        let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        while self.balance("b") == before {
            assert!(Instant::now() < until, "it begins");
            thread::sleep(Duration::from_millis(1));
        }
        process
    }

    /// Applies the long file to its end, and compares the books.
    fn finish(&self) -> Value {
        let output = self.run(&APPLY);
        assert!(output.status.success(), "{output:?}");
        let third = LINES / 3;
        let [a, b] = [1_000_000 + third - 2 * third, 2 * third];
        assert_eq!(self.balance("a"), format!("{a}.00"));
        assert_eq!(self.balance("b"), format!("{}.00", b - third / 2));
        let audit = self.run(&["audit"]);
        assert!(audit.status.success(), "{audit:?}");
        tally(&output)
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_is_finished_by_the_next_and_the_totals_are_exact() {
    let scene = Scene::new();
    scene.write("f.csv", &long_file());
    for _ in 0..3 {
        let mut process = scene.begin();
        process.kill().unwrap();
        assert!(!process.wait().unwrap().success(), "it was killed before its end");
    }
    let tally = scene.finish();
    let already = usize::try_from(tally["already_applied"].as_u64().unwrap()).unwrap();
    assert!((1..LINES).contains(&already), "some were applied before, and some were not: {already}");
    assert_eq!(tally["applied"].as_u64().unwrap(), (LINES + 1 - already) as u64);
}

#[test]
fn an_interrupted_run_reports_its_progress() {
    let scene = Scene::new();
    scene.write("f.csv", &long_file());
    let process = scene.begin();
    let command = format!("kill -s INT {}", process.id());
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let stopped = tally(&output);
    let left = stopped["not_attempted"].as_u64().unwrap();
    assert!(stopped["unknown"] == 0 && (1..LINES as u64).contains(&left), "{stopped}");
    let first = LINES as u64 + 3 - left;
    let said = stderr(&output);
    assert!(said.contains("the run was interrupted"), "{said}");
    assert!(said.contains(&format!("not attempted: lines {first}-{}", LINES + 2)), "{said}");
    assert!(said.contains("run the same command again"), "{said}");
    assert_eq!(scene.finish()["applied"], left);
}

#[test]
fn a_run_stops_at_once_when_its_results_cannot_be_recorded() {
    let scene = Scene::new();
    scene.write("f.csv", &long_file());
    // The file may not become larger than this: the header, and a few batches.
    for (round, bytes) in [600, 20_000, 40_001, 60_002, 80_003].into_iter().enumerate() {
        let limit = format!("--fsize={bytes}");
        let mut limited = Command::new("prlimit");
        limited.args([&limit, env!("CARGO_BIN_EXE_bank")]).args(APPLY);
        let output =
            scene.in_directory(&mut limited).output().expect("prlimit of util-linux must be installed");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{round}: {output:?}");
        assert!(said.contains("results cannot be recorded in f.csv.results.jsonl: File too large"), "{said}");
        assert!(said.contains("not attempted: lines "), "{said}");
        assert!(said.contains("make room for the results file and run the same command again"), "{said}");
        // At most one batch was sent that is not recorded.
        let told = tally(&output);
        let applied = told["applied"].as_u64().unwrap() + told["already_applied"].as_u64().unwrap();
        let recorded = fs::read_to_string(scene.path("f.csv.results.jsonl")).unwrap();
        let recorded = recorded.matches("\"status\":\"applied\"").count() as u64;
        assert!(applied >= recorded && applied - recorded <= 50, "{applied} {recorded}");
        assert_eq!(applied > recorded, said.contains("answered, but not recorded: lines "), "{said}");
    }
    scene.finish();
}

#[test]
fn a_run_without_a_bank_reports_what_was_not_attempted() {
    let mut scene = Scene::new();
    scene.write("f.csv", &long_file());
    let process = scene.begin();
    scene.server = Server::start();
    let output = process.wait_with_output().unwrap();
    let told = tally(&output);
    let (unknown, left) = (told["unknown"].as_u64().unwrap(), told["not_attempted"].as_u64().unwrap());
    assert_eq!(output.status.code(), Some(if unknown > 0 { 7 } else { 6 }), "{output:?}");
    assert!(left > 0 && stderr(&output).contains("not attempted: lines "), "{output:?}");
    assert!(stderr(&output).contains("run the same command again"), "{output:?}");
    // Another bank is not this one's heir.
    let output = scene.run(&APPLY);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("belongs to the bank"), "{output:?}");
}

/// A day later the bank has forgotten all request ids. It paid everything again.
#[test]
fn nothing_is_paid_again_when_the_bank_has_forgotten_the_request_ids() {
    let redis = Redis::start();
    let scene = Scene::on_redis(&redis);
    let forget = || {
        let keys = redis.run(&["KEYS", "bank:*:requests:*"]);
        assert!(keys.starts_with("bank:"), "there are no request records");
        for key in keys.lines() {
            redis.run(&["DEL", key]);
        }
    };
    let file = deposits(&["1", "2", "4", "8"]);
    assert_eq!(scene.counts(&file, &["--batch", "2"]), [4, 0, 0]);
    forget();
    assert_eq!(scene.counts(&file, &["--batch", "2"]), [0, 4, 0]);

    // The run was killed before it had the results of its second batch, and that was a day ago.
    let path = scene.path("f.csv.results.jsonl");
    let records = scene.records("f.csv.results.jsonl");
    assert_eq!(records.len(), 1 + 2 * 3, "{records:?}");
    let day_ago = |time: &Value| {
        let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
        Value::from((time - jiff::SignedDuration::from_hours(25)).to_string())
    };
    let mut cut = records[..5].to_vec();
    for key in ["time", "bank_time"] {
        let earlier = day_ago(&cut[4][key]);
        cut[4][key] = earlier;
    }
    let lines = cut.iter().fold(String::new(), |text, record| format!("{text}{record}\n"));
    fs::write(&path, lines).unwrap();
    let dry = tally(&scene.apply(&file, &["--dry-run", "--output", "json"]));
    assert_eq!((&dry["would_be_applied"], &dry["already_applied"]), (&0.into(), &4.into()));
    assert_eq!(scene.counts(&file, &[]), [0, 4, 0]);
    assert_eq!(scene.balance("a"), "15.00");
    assert!(fs::read_to_string(&path).unwrap().contains("\"found_in_history\":true"));

    // The same, and the batch never reached the bank.
    let more = deposits(&["1", "2", "4", "8", "16"]);
    let mut sent = cut[4].clone();
    let ids = scene.apply(&more, &["--results", "other.jsonl", "--dry-run"]);
    assert!(ids.status.success(), "{ids:?}");
    sent["lines"] = Value::Array(vec![sent["lines"][0].clone()]);
    sent["lines"][0]["request_id"] = "removed-since".into();
    let contents = fs::read_to_string(&path).unwrap() + &format!("{sent}\n");
    fs::write(&path, contents).unwrap();
    assert_eq!(scene.counts(&more, &[]), [1, 4, 0]);
    assert_eq!(scene.balance("a"), "31.00");
    let last = fs::read_to_string(&path).unwrap();
    assert!(last.contains("\"request_id\":\"removed-since\",\"status\":\"not_applied\""), "{last}");
}
