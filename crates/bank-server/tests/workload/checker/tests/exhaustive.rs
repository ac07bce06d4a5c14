//! Compares the checker with a search through all orders, on small random histories, right and wrong.

use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedMutRandom, IndexedRandom},
};

use super::{check, deposit, get_account, get_balance, scene::Scene, transfer, withdraw};
use crate::workload::history::{Action, Operation, Outcome};

const HISTORIES: u64 = 4_000;
/// Beside those that open the accounts.
const OPERATIONS: usize = 5;
/// Little time for many operations, so that most are at once with others.
const CLOCK_MS: u64 = 40;

#[test]
fn the_checker_finds_what_a_search_through_all_orders_finds() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..HISTORIES {
        let scene = random_scene(seed);
        let is_linearizable = search(&scene);
        let checked = check(&scene.operations, &scene.books);
        assert_eq!(checked.is_ok(), is_linearizable, "seed {seed}: {checked:?} {scene:#?}");
        *if is_linearizable { &mut right } else { &mut wrong } += 1;
    }
    assert!(right > HISTORIES / 5 && wrong > HISTORIES / 5, "{right} right, {wrong} wrong");
}

/// A history that may be right: sound, and then changed a little or not.
fn random_scene(seed: u64) -> Scene {
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = Scene::open();
    let mut numbers = Vec::new();
    let mut instant = 10;
    for _ in 0..OPERATIONS {
        instant += random.random_range(0..CLOCK_MS / 4);
        let before = random.random_range(0..CLOCK_MS / 4);
        let after = random.random_range(0..CLOCK_MS / 4);
        let action = random_action(&mut random);
        numbers.push(scene.run(instant - before.min(instant - 3)..instant + after, action));
    }
    for &number in &numbers {
        let is_movement = matches!(scene.operations[number].outcome, Outcome::Acknowledged { .. });
        if is_movement && random.random_bool(0.2) {
            scene.unknown(number);
        }
    }
    for _ in 0..random.random_range(0..3) {
        let number = *numbers.choose(&mut random).unwrap();
        tamper(&mut random, &mut scene, number);
    }
    scene
}

fn random_action(random: &mut StdRng) -> Action {
    let (one, other) = if random.random() { ("a", "b") } else { ("b", "a") };
    // Few amounts, so that balances come again.
    let amount = *[1, 2, 60, 200].choose(random).unwrap();
    match random.random_range(0..7) {
        0 => deposit(one, amount),
        1 => withdraw(one, amount),
        2 | 3 => transfer(one, other, amount),
        4 => get_balance(one),
        5 => get_account(one),
        _ => Action::ListAccounts,
    }
}

/// Changes one thing about an operation.
fn tamper(random: &mut StdRng, scene: &mut Scene, number: usize) {
    let by = random.random_range(1..=2);
    let operation = &mut scene.operations[number];
    match &mut operation.outcome {
        Outcome::Balance(balance) => *balance += by,
        Outcome::Accounts(seen) if random.random() => {
            // As it was some versions ago.
            let seen = seen.choose_mut(random).unwrap();
            let entries = &scene.books[&seen.account];
            let version = seen.version.saturating_sub(1).max(1);
            (seen.version, seen.balance) =
                (version, entries[usize::try_from(version).unwrap() - 1].balance_after);
        }
        _ => {
            let shift = super::ms(random.random_range(0..CLOCK_MS));
            operation.span.invoked += shift;
            operation.span.replied += shift;
        }
    }
}

/// Whether there is an order in which a bank that does one thing at a time answers so, and ends with these
/// books.
fn search(scene: &Scene) -> bool {
    let opened = Scene::open();
    let mut left = scene.operations.iter().skip(opened.operations.len()).collect();
    extend(&opened, &mut left, scene)
}

/// Tries every operation that may come next after those that `done` has carried out.
fn extend(done: &Scene, left: &mut Vec<&Operation>, goal: &Scene) -> bool {
    if left.iter().all(|operation| matches!(operation.outcome, Outcome::Unknown(_)))
        && done.books == goal.books
    {
        return true;
    }
    for place in 0..left.len() {
        let next = left[place];
        // Whatever was answered before it was asked for must have been before it.
        let is_too_early = left.iter().any(|other| {
            !matches!(other.outcome, Outcome::Unknown(_)) && other.span.replied < next.span.invoked
        });
        if is_too_early {
            continue;
        }
        let mut then = done.clone();
        let answer = then.answer(&next.id, &next.action);
        if answer != next.outcome && !matches!(next.outcome, Outcome::Unknown(_)) {
            continue;
        }
        left.remove(place);
        let is_found = extend(&then, left, goal);
        left.insert(place, next);
        if is_found {
            return true;
        }
    }
    false
}
