//! The engine with a bank and a disk that fail at every step, over any sequence of edits and runs.

use std::{cell::RefCell, time::Duration};

use bank_client::Timestamp;
use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::apply::{
    journal::{History, Run},
    lines,
    plan::{self, BatchSize, Options},
    tests::{Fault, Model, RETENTION},
};

const HOUR_MS: i64 = 3_600_000;
const WINDOW: Window =
    Window { retention: RETENTION, margin: Duration::from_mins(12), in_flight_max: Duration::from_mins(11) };

/// One line of a file: what it asks for, and whether it has a request id of its own.
#[derive(Clone, Debug)]
struct Item {
    operation: &'static str,
    amount: u32,
    given: Option<u32>,
}

#[derive(Clone, Debug)]
enum Event {
    Insert(usize, Item),
    Duplicate(usize),
    Remove(usize),
    Correct(usize, u32),
    Sort,
    Reverse,
    TopUp(i64),
    /// Time passes, in milliseconds.
    Wait(i64),
    /// The clock of the tool's machine is set to so many milliseconds from the right time.
    SetClock(i64),
    Run {
        retry_rejected: bool,
        batch: usize,
        faults: Vec<Fault>,
        disk: Option<(usize, u8)>,
    },
}

fn item() -> impl Strategy<Value = Item> {
    let operation = prop_oneof![2 => Just("deposit"), 3 => Just("withdraw")];
    (operation, 1..4_u32, prop::option::weighted(0.1, 0..3_u32)).prop_map(|(operation, amount, given)| {
        match given {
            // Another operation under the same id is an error, which another test covers.
            Some(id) => Item { operation: "withdraw", amount: id + 1, given },
            None => Item { operation, amount, given },
        }
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::CrashBefore),
        2 => Just(Fault::CrashAfter),
        1 => (0..4_usize).prop_map(Fault::CrashInFlight),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Overloaded),
        1 => Just(Fault::Refused),
        1 => Just(Fault::Failed),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let run = (
        any::<bool>(),
        1..4_usize,
        prop::collection::vec(fault(), 0..6),
        prop::option::weighted(0.3, (0..6_usize, any::<u8>())),
    );
    prop_oneof![
        3 => (0..9_usize, item()).prop_map(|(at, item)| Event::Insert(at, item)),
        1 => (0..9_usize).prop_map(Event::Duplicate),
        1 => (0..9_usize).prop_map(Event::Remove),
        1 => (0..9_usize, 1..4_u32).prop_map(|(at, amount)| Event::Correct(at, amount)),
        1 => Just(Event::Sort),
        1 => Just(Event::Reverse),
        1 => (1..5_i64).prop_map(Event::TopUp),
        1 => prop_oneof![Just(1_000), Just(HOUR_MS), Just(23 * HOUR_MS), Just(25 * HOUR_MS), Just(90 * HOUR_MS)].prop_map(Event::Wait),
        1 => prop_oneof![Just(0), Just(-30 * HOUR_MS), Just(30 * HOUR_MS)].prop_map(Event::SetClock),
        6 => run.prop_map(|(retry_rejected, batch, faults, disk)| Event::Run { retry_rejected, batch, faults, disk }),
    ]
}

fn csv(items: &[Item]) -> String {
    let mut given = std::collections::BTreeSet::new();
    items.iter().fold("operation,account_id,amount,currency_code,request_id\n".to_owned(), |text, item| {
        let Item { operation, amount, given: id } = item;
        match id {
            Some(id) if given.insert(*id) => format!("{text}{operation},a,0.0{amount},USD,own-{id}\n"),
            // A duplicate id is an error of the file.
            Some(_) => text,
            None => format!("{text}{operation},a,0.0{amount},USD,\n"),
        }
    })
}

/// One run of the tool, from the file and what is on the disk. None if it crashes.
fn run(model: &Model, items: &[Item], retry_rejected: bool, batch: usize) -> Option<(Vec<Line>, Report)> {
    let lines = lines::read(csv(items).as_bytes(), None).unwrap();
    let mut history = History::read(&*model.on_disk()).unwrap();
    let mut disk = model.disk(history.length);
    if history.run.is_none() {
        let run = Run::new(Some("run".to_owned()), "f.csv".to_owned(), "bank".to_owned());
        history.append(&mut disk, vec![Record::Run(run)]).ok()?;
    }
    let options = Options { name: "run", retry_rejected, atomic: None };
    // The last plan is the one that is carried out.
    let planned = RefCell::new(Vec::new());
    let plan = |history: &History| {
        let steps = plan::plan(&lines, history, options)?;
        let is_known = plan::removed(&lines, &steps, history).pending.is_empty();
        let as_planned = lines.iter().cloned().zip(&steps);
        let as_planned: Vec<_> =
            as_planned.map(|(line, step)| Line { identity: step.identity.clone(), ..line }).collect();
        model.begin(&as_planned, is_known);
        planned.replace(as_planned);
        Ok(steps)
    };
    let engine = Engine {
        bank: model,
        disk: &mut disk,
        history: &mut history,
        lines: &lines,
        batch: BatchSize { lines: batch, bytes: usize::MAX },
        atomic: false,
        caller: None,
        window: WINDOW,
        report: Report::default(),
    };
    let report = engine.run(plan).now_or_never()?.unwrap();
    Some((planned.into_inner(), report))
}

/// The report of a run is true.
fn assert_true(model: &Model, lines: &[Line], report: &Report) {
    for (line, outcome) in lines.iter().zip(&report.outcomes) {
        let paid = model.paid(&line.identity);
        match outcome {
            Outcome::Applied | Outcome::AlreadyApplied => assert_eq!(paid, 1, "{line:?}"),
            Outcome::Rejected | Outcome::StaysRejected => assert_eq!(paid, 0, "{line:?}"),
            Outcome::NotAttempted if model.nothing_in_flight() => assert_eq!(paid, 0, "{line:?}"),
            Outcome::NotAttempted | Outcome::Unknown => {}
        }
    }
}

fn check(events: Vec<Event>) {
    let model = Model::new(3);
    let mut items = Vec::new();
    for event in events {
        let place = |at: usize, length: usize| at % length.max(1);
        match event {
            Event::Insert(at, item) => items.insert(at % (items.len() + 1), item),
            Event::Duplicate(at) if !items.is_empty() => items.push(items[place(at, items.len())].clone()),
            Event::Remove(at) if !items.is_empty() => drop(items.remove(at % items.len())),
            Event::Correct(at, amount) if !items.is_empty() => {
                let at = place(at, items.len());
                if items[at].given.is_none() {
                    items[at].amount = amount;
                }
            }
            Event::Sort => items.sort_by_key(|item| (item.amount, item.operation)),
            Event::Reverse => items.reverse(),
            Event::TopUp(amount) => model.top_up(amount),
            Event::Wait(ms) => model.wait(ms),
            Event::SetClock(ms) => model.set_clock(ms),
            Event::Run { retry_rejected, batch, faults, disk } => {
                model.break_with(faults, disk);
                if let Some((lines, report)) = run(&model, &items, retry_rejected, batch) {
                    assert_true(&model, &lines, &report);
                }
            }
            Event::Duplicate(_) | Event::Remove(_) | Event::Correct(..) => {}
        }
    }
    // In the end nothing fails, there is money, and nothing is in flight.
    model.break_with(Vec::new(), None);
    model.top_up(1_000);
    model.set_clock(0);
    model.wait(90 * HOUR_MS);
    // The first run may find earlier rejections.
    for is_first in [true, false, false] {
        let (lines, report) = run(&model, &items, true, 3).expect("no crash");
        assert!(report.stop.is_none(), "{:?}", report.stop);
        assert_eq!(report.removed_unknown, 0);
        assert_true(&model, &lines, &report);
        if is_first {
            continue;
        }
        for (line, outcome) in lines.iter().zip(&report.outcomes) {
            assert!(matches!(outcome, Outcome::Applied | Outcome::AlreadyApplied), "{outcome:?} {line:?}");
            assert_eq!(model.paid(&line.identity), 1, "{line:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// For any sequence of edits and runs, with crashes and failures in between, wrong clocks and expired request ids,
    /// every line of the file is paid exactly once, and no line that was ever in it is paid twice: the model panics
    /// otherwise.
    #[test]
    fn every_line_is_paid_exactly_once(events in prop::collection::vec(event(), 1..30)) {
        check(events);
    }
}

fn pay(amount: u32) -> Event {
    Event::Insert(9, Item { operation: "deposit", amount, given: None })
}

fn take(amount: u32) -> Event {
    Event::Insert(9, Item { operation: "withdraw", amount, given: None })
}

fn with(faults: &[Fault]) -> Event {
    Event::Run { retry_rejected: false, batch: 2, faults: faults.to_vec(), disk: None }
}

/// Cases that were bugs or nearly so.
#[test]
fn named_cases() {
    // The answer is lost with the process, and the bank has forgotten the ids when it is run again.
    check(vec![pay(1), pay(2), with(&[Fault::CrashAfter]), Event::Wait(25 * HOUR_MS), with(&[])]);
    // It was sent again shortly before the bank forgot it, and the answer was lost again.
    check(vec![
        pay(1),
        with(&[Fault::CrashAfter]),
        Event::Wait(23 * HOUR_MS),
        with(&[Fault::CrashAfter]),
        Event::Wait(23 * HOUR_MS),
        with(&[]),
    ]);
    // A crash while rejected lines are sent again.
    let retry =
        |faults: &[Fault]| Event::Run { retry_rejected: true, batch: 2, faults: faults.to_vec(), disk: None };
    check(vec![
        take(3),
        take(2),
        with(&[]),
        Event::TopUp(5),
        retry(&[Fault::CrashAfter]),
        retry(&[]),
        retry(&[]),
    ]);
    // Of two identical lines, the first was rejected and the second was or may have been applied. One is removed: the
    // other is not sent again.
    for fault in [Fault::None, Fault::AnswerLost] {
        let run = with(&[Fault::None, fault]);
        let item = |operation, amount| Item { operation, amount, given: None };
        check(vec![
            Event::Insert(0, item("withdraw", 2)),
            Event::Insert(1, item("withdraw", 3)),
            Event::Insert(2, item("deposit", 2)),
            Event::Insert(3, item("withdraw", 3)),
            run,
            Event::Remove(1),
            Event::TopUp(9),
            retry(&[]),
            retry(&[]),
        ]);
    }
    // Two identical lines are sent in one batch: the first is rejected, the second is applied. Nothing of that is
    // recorded, one of them is removed, and the bank has forgotten the ids. The other is not sent again.
    let item = |operation, amount| Item { operation, amount, given: None };
    check(vec![
        Event::Insert(0, item("withdraw", 2)),
        Event::Insert(1, item("withdraw", 3)),
        Event::Insert(2, item("deposit", 2)),
        Event::Insert(3, item("withdraw", 3)),
        Event::Run { retry_rejected: false, batch: 4, faults: vec![Fault::CrashAfter], disk: None },
        Event::Remove(1),
        Event::TopUp(9),
        Event::Wait(25 * HOUR_MS),
        with(&[]),
    ]);
    // The clock of the machine is ahead by more than the retention while a batch is in flight.
    check(vec![
        pay(1),
        with(&[Fault::CrashInFlight(3)]),
        Event::SetClock(30 * HOUR_MS),
        with(&[Fault::Overloaded]),
        Event::Wait(25 * HOUR_MS),
        with(&[]),
    ]);
    // The results of a batch are written only in part, for every length.
    for cut in 0..=255 {
        for append in 0..4 {
            let run =
                Event::Run { retry_rejected: false, batch: 2, faults: Vec::new(), disk: Some((append, cut)) };
            check(vec![pay(1), pay(2), pay(2), run, Event::Wait(25 * HOUR_MS), with(&[])]);
        }
    }
}

#[test]
fn lines_that_another_caller_has_sent_wait_until_their_outcome_is_known() {
    let sent = |time: i64, caller: &str| {
        let time = Timestamp::try_from_unix_ms(time).unwrap();
        Sent {
            time,
            bank_time: time,
            retention_seconds: RETENTION.as_secs(),
            caller: Some(Caller { subject: caller.to_owned(), scopes: Vec::new() }),
        }
    };
    let model = Model::new(0);
    let items = [Item { operation: "deposit", amount: 1, given: None }];
    let lines = lines::read(csv(&items).as_bytes(), None).unwrap();
    let id = lines[0].identity.request_id("run", 0);
    let pending = Record::Sending(Sending {
        sent: sent(model.now().bank.unix_ms(), "alice"),
        atomic: false,
        lines: vec![SentLine {
            line: 2,
            account_id: "a".parse().unwrap(),
            request_id: id,
            operation: "deposit".to_owned(),
            content: None,
        }],
    });
    let mut history = History::read(&*model.on_disk()).unwrap();
    let mut disk = model.disk(0);
    let run = Run::new(Some("run".to_owned()), "f.csv".to_owned(), "bank".to_owned());
    history.append(&mut disk, vec![Record::Run(run), pending]).unwrap();
    // A dry run stops for the same reason.
    let dry_run = |history: &History| {
        let options = Options { name: "run", retry_rejected: false, atomic: None };
        let steps = plan::plan(&lines, history, options).unwrap();
        WINDOW.other_caller(&steps, None, model.now()).is_some()
    };
    assert!(dry_run(&history));
    // This run has no token: it cannot repeat what alice has sent, only look it up.
    let (_, report) = self::run(&model, &items, false, 1).unwrap();
    assert!(matches!(&report.stop, Some(Stop::OtherCaller(Some(caller))) if caller.subject == "alice"));
    assert_eq!(model.paid(&lines[0].identity), 0);
    model.wait(HOUR_MS);
    assert!(!dry_run(&history));
    let (_, report) = self::run(&model, &items, false, 1).unwrap();
    assert_eq!(report.outcomes, [Outcome::Applied]);
    assert_eq!(model.paid(&lines[0].identity), 1);
}
