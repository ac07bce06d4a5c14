//! Histories with a planted violation each, which must be caught and reported.

mod exhaustive;
mod scene;

use bank_client::EntryKind;
use scene::{Scene, ms};

use super::check;
use crate::workload::history::{Action, Entry, Outcome, Seen};

fn deposit(account: &str, amount: i64) -> Action {
    Action::Deposit { account: account.to_owned(), amount }
}

fn withdraw(account: &str, amount: i64) -> Action {
    Action::Withdraw { account: account.to_owned(), amount }
}

fn transfer(from: &str, to: &str, amount: i64) -> Action {
    Action::Transfer { from: from.to_owned(), to: to.to_owned(), amount }
}

fn get_balance(account: &str) -> Action {
    Action::GetBalance { account: account.to_owned() }
}

fn get_account(account: &str) -> Action {
    Action::GetAccount { account: account.to_owned() }
}

#[track_caller]
fn assert_sound(scene: &Scene) {
    check(&scene.operations, &scene.books).unwrap();
}

/// The checker objects, in words that name these operations and say this.
#[track_caller]
fn assert_caught(scene: &Scene, words: &[&str]) {
    let violations = check(&scene.operations, &scene.books).unwrap_err();
    let is_reported = violations.0.iter().any(|text| words.iter().all(|word| text.contains(word)));
    assert!(is_reported, "{words:?} are not in {violations:?}");
}

#[test]
fn passes_a_correct_history() {
    let mut scene = Scene::open();
    scene.run(10..20, deposit("a", 5));
    scene.run(12..22, transfer("a", "b", 50));
    scene.run(14..24, get_account("a"));
    scene.run(14..24, Action::ListAccounts);
    scene.run(30..40, withdraw("b", 1_000));
    scene.run(30..40, get_balance("b"));
    let done = scene.run(50..60, deposit("a", 7));
    scene.unknown(done);
    let not_done = scene.without_effect(50..60, deposit("a", 8));
    scene.unknown(not_done);
    scene.run(70..80, get_account("a"));

    let findings = check(&scene.operations, &scene.books).unwrap();
    assert_eq!((findings.acknowledged, findings.refused, findings.read), (4 + 2, 1, 4));
    assert_eq!((findings.unknown, findings.unknown_done, findings.undetermined), (2, 1, 0));
}

/// Both were decided on the same version; the second overwrote the first.
#[test]
fn catches_a_lost_update() {
    let mut scene = Scene::open();
    let lost = scene.run(10..20, deposit("a", 5));
    scene.books.get_mut("a").unwrap().pop();
    scene.run(10..20, deposit("a", 7));
    assert_caught(&scene, &[&scene.id(lost), "is lost"]);
}

#[test]
fn catches_a_lost_update_at_the_end() {
    let mut scene = Scene::open();
    let lost = scene.run(10..20, transfer("a", "b", 5));
    for account in ["a", "b"] {
        scene.books.get_mut(account).unwrap().pop();
    }
    assert_caught(&scene, &[&scene.id(lost), "is lost"]);
}

#[test]
fn catches_a_stale_read() {
    for read in [get_account("a"), get_balance("a"), Action::ListAccounts] {
        let mut scene = Scene::open();
        let stale = scene.run(30..40, read);
        let newer = scene.run(10..20, deposit("a", 5));
        assert_caught(&scene, &[&scene.id(stale), &scene.id(newer), "10ms after the answer"]);
        // While the deposit was under way it would have been right.
        scene.operations[newer].span.replied = ms(35);
        assert_sound(&scene);
    }
}

#[test]
fn catches_a_read_older_than_an_earlier_read() {
    let mut scene = Scene::open();
    let stale = scene.run(30..40, get_account("a"));
    scene.run(10..60, deposit("a", 5));
    let newer = scene.run(20..25, get_account("a"));
    assert_caught(&scene, &[&scene.id(stale), &scene.id(newer)]);
}

#[test]
fn catches_a_read_of_a_movement_before_its_request() {
    let mut scene = Scene::open();
    let later = scene.run(30..40, deposit("a", 5));
    let early = scene.run(10..20, get_account("a"));
    assert_caught(&scene, &[&scene.id(early), &scene.id(later)]);
}

#[test]
fn catches_a_read_of_a_balance_that_never_was() {
    let mut scene = Scene::open();
    let wrong = scene.run(10..20, get_balance("a"));
    scene.operations[wrong].outcome = Outcome::Balance(99);
    assert_caught(&scene, &[&scene.id(wrong), "never so"]);
}

/// A balance that there was twice fits the second time only, or the first, or neither.
#[test]
fn catches_a_stale_read_of_a_recurring_balance() {
    let mut scene = Scene::open();
    scene.run(10..20, deposit("a", 5));
    scene.run(30..40, withdraw("a", 5));
    scene.run(50..60, deposit("a", 3));
    let read = scene.run(70..80, get_balance("a"));
    for (span, balance, is_right) in [
        (5..8, 100, true),
        (42..48, 100, true),
        (22..28, 100, false),
        (62..68, 100, false),
        (22..28, 105, true),
        (5..8, 105, false),
    ] {
        scene.operations[read].outcome = Outcome::Balance(balance);
        scene.operations[read].span = scene::span(span.clone());
        assert_eq!(check(&scene.operations, &scene.books).is_ok(), is_right, "{balance} in {span:?}");
    }
}

#[test]
fn catches_a_double_apply() {
    for outcome in [None, Some(Outcome::Unknown("no answer".to_owned()))] {
        let mut scene = Scene::open();
        let twice = scene.run(10..20, deposit("a", 5));
        let again = Entry { sequence: 4, balance_after: 110, ..scene.books["a"][2].clone() };
        scene.books.get_mut("a").unwrap().push(again);
        if let Some(outcome) = outcome {
            scene.operations[twice].outcome = outcome;
        }
        assert_caught(&scene, &[&scene.id(twice), "twice", "[3, 4] of a"]);
    }
}

#[test]
fn catches_a_rejected_movement_that_was_applied() {
    for outcome in [
        Outcome::Rejected { balance: 100, available: 100 },
        Outcome::NotDone("the store is unavailable; nothing was done".to_owned()),
    ] {
        let mut scene = Scene::open();
        let refused = scene.run(10..20, withdraw("a", 5));
        scene.operations[refused].outcome = outcome;
        assert_caught(&scene, &[&scene.id(refused), "applied all the same"]);
    }
}

#[test]
fn catches_a_rejection_without_a_reason() {
    let mut scene = Scene::open();
    let refused = scene.run(30..40, withdraw("a", 1_000));
    let richer = scene.run(10..20, deposit("a", 5_000));
    assert_caught(&scene, &[&scene.id(refused), &scene.id(richer)]);
    scene.operations[richer].span.replied = ms(30);
    assert_sound(&scene);
    scene.operations[refused].action = withdraw("a", 100);
    assert_caught(&scene, &[&scene.id(refused), "no reason"]);
}

#[test]
fn catches_an_order_against_real_time() {
    let mut scene = Scene::open();
    let late = scene.run(30..40, deposit("a", 5));
    let early = scene.run(10..20, deposit("a", 7));
    assert_caught(&scene, &[&scene.id(late), &scene.id(early), "10ms after the answer"]);
}

/// Each account by itself is in order; one asked for later still comes first by way of a transfer.
#[test]
fn catches_an_order_against_real_time_across_accounts() {
    let mut scene = Scene::open();
    let late = scene.run(30..40, deposit("a", 5));
    let between = scene.run(5..60, transfer("a", "b", 1));
    let early = scene.run(10..20, deposit("b", 7));
    assert_caught(&scene, &[&scene.id(late), &scene.id(between), &scene.id(early)]);
    // Unknown or not, it has been done between.
    scene.unknown(between);
    assert_caught(&scene, &[&scene.id(late), &scene.id(between), &scene.id(early)]);
    scene.operations[early].span.replied = ms(30);
    assert_sound(&scene);
}

#[test]
fn catches_transfers_applied_in_two_orders() {
    let mut scene = Scene::open();
    let one = scene.run(10..20, transfer("a", "b", 5));
    let two = scene.run(10..20, transfer("a", "b", 5));
    // On b the second comes first.
    let of_b = scene.books.get_mut("b").unwrap();
    let ids = [of_b[2].request_id.clone(), of_b[3].request_id.clone()];
    [of_b[3].request_id, of_b[2].request_id] = ids;
    let transactions = [of_b[2].transaction_id.clone(), of_b[3].transaction_id.clone()];
    [of_b[3].transaction_id, of_b[2].transaction_id] = transactions;
    assert_caught(&scene, &["no order", &scene.id(one), &scene.id(two)]);
}

#[test]
fn catches_a_transfer_with_one_entry() {
    let mut scene = Scene::open();
    let half = scene.run(10..20, transfer("a", "b", 5));
    scene.unknown(half);
    assert_sound(&scene);
    scene.books.get_mut("b").unwrap().pop();
    assert_caught(&scene, &[&scene.id(half), "by half"]);
}

#[test]
fn catches_a_list_with_one_side_of_a_transfer() {
    let mut scene = Scene::open();
    let torn = scene.run(10..20, transfer("a", "b", 5));
    let list = scene.run(10..20, Action::ListAccounts);
    assert_sound(&scene);
    let Outcome::Accounts(seen) = &mut scene.operations[list].outcome else { unreachable!() };
    seen[0] = Seen { account: "a".to_owned(), version: 2, balance: 100 };
    assert_caught(&scene, &[&scene.id(torn), &scene.id(list), "5 more than was paid in"]);
}

#[test]
fn catches_a_list_without_an_account() {
    let mut scene = Scene::open();
    let list = scene.run(10..20, Action::ListAccounts);
    let Outcome::Accounts(seen) = &mut scene.operations[list].outcome else { unreachable!() };
    seen.pop();
    assert_caught(&scene, &[&scene.id(list), "shows b 0 times"]);
}

/// Two reads, each of a state that there may have been, but not one after the other.
#[test]
fn catches_reads_that_disagree_on_the_order_of_movements() {
    let mut scene = Scene::open();
    let one = scene.run(10..60, deposit("a", 5));
    let two = scene.run(10..60, deposit("b", 7));
    let first = scene.run(10..60, Action::ListAccounts);
    let second = scene.run(10..60, Action::ListAccounts);
    let seen = |a: (u64, i64), b: (u64, i64)| {
        let of = |account: &str, (version, balance)| Seen { account: account.to_owned(), version, balance };
        Outcome::Accounts(vec![of("a", a), of("b", b)])
    };
    scene.operations[first].outcome = seen((3, 105), (2, 100));
    assert_sound(&scene);
    scene.operations[second].outcome = seen((2, 100), (3, 107));
    let all = [one, two, first, second].map(|number| scene.id(number));
    assert_caught(&scene, &["no order", &all[0], &all[1], &all[2], &all[3]]);
}

#[test]
fn an_unknown_operation_cannot_precede_its_invocation() {
    let mut scene = Scene::open();
    let unknown = scene.run(30..40, deposit("a", 5));
    scene.unknown(unknown);
    let early = scene.run(10..20, deposit("a", 7));
    assert_caught(&scene, &[&scene.id(unknown), &scene.id(early)]);
    // It may come any time after, even after it was given up.
    let mut scene = Scene::open();
    scene.run(50..60, get_account("a"));
    let unknown = scene.run(30..40, deposit("a", 5));
    scene.unknown(unknown);
    assert_sound(&scene);
}

#[test]
fn catches_an_entry_without_a_request() {
    let mut scene = Scene::open();
    let number = scene.run(10..20, deposit("a", 5));
    scene.operations.remove(number);
    assert_caught(&scene, &["nobody asked for version 3 of a"]);
}

#[test]
fn catches_an_entry_of_another_movement() {
    let tampered: [fn(&mut Entry); 4] = [
        |entry| (entry.amount, entry.balance_after) = (6, 106),
        |entry| entry.kind = EntryKind::Interest,
        |entry| entry.counterparty = Some("b".to_owned()),
        |entry| entry.amount = 4,
    ];
    for tamper in tampered {
        let mut scene = Scene::open();
        let number = scene.run(10..20, deposit("a", 5));
        tamper(&mut scene.books.get_mut("a").unwrap()[2]);
        assert_caught(&scene, &[&scene.id(number), "is not what"]);
    }
}

#[test]
fn catches_an_acknowledgement_of_another_movement() {
    for (sequence, balance) in [(4, 105), (3, 104)] {
        let mut scene = Scene::open();
        let number = scene.run(10..20, deposit("a", 5));
        scene.operations[number].outcome = Outcome::Acknowledged { sequence, balance };
        assert_caught(&scene, &[&scene.id(number), "is there as version 3 of a"]);
    }
}

#[test]
fn catches_inconsistent_histories() {
    let mut scene = Scene::open();
    scene.run(10..20, withdraw("a", 100));
    let unknown = scene.run(10..20, withdraw("b", 100));
    scene.unknown(unknown);
    for (tamper, words) in [
        ((|entry| entry.sequence = 4) as fn(&mut Entry), "number 3 of its history"),
        (|entry| entry.balance_after = 1, "follows on a balance of 100"),
        (|entry| (entry.amount, entry.balance_after) = (-101, -1), "less than the account may hold"),
    ] {
        let mut scene = scene.clone();
        tamper(scene.books.get_mut("b").unwrap().last_mut().unwrap());
        assert_caught(&scene, &["of b", words]);
    }
}
