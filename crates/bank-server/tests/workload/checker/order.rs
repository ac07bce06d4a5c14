//! Whether the operations can be put in one order that explains all answers.
//!
//! The books give the order of the movements on each account; a transfer is one movement on two. An
//! operation that shows a version of an account comes after the movement that made this version and
//! before the next. So there is a graph of what must come before what. If it has a circle, no order
//! explains the answers.
//!
//! Otherwise each operation gets the earliest instant that it can have taken effect at: its invocation,
//! or the earliest instant of one that comes before it, if that is later. If that is after its
//! reply, then something that was asked for only after the reply comes before it, and no order that
//! respects real time explains the answers. If it is not so for any operation, these instants are
//! such an order: that is why nothing needs to be searched for.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::placing::Placed;
use crate::workload::history::{Action, Books, Operation, Outcome, Seen};

/// The number of an operation.
type Number = usize;

/// An operation that shows one of some versions of an account.
struct Observation<'a> {
    observer: Number,
    account: &'a str,
    versions: Vec<u64>,
}

/// Checks the order, and counts the observations that fit more than one version.
pub(super) fn check(operations: &[Operation], books: &Books, placed: &Placed) -> Result<usize, Vec<String>> {
    let mut observations = observations(operations, books, placed)?;
    loop {
        let (certain, uncertain): (Vec<_>, Vec<_>) =
            observations.iter().partition(|observation| observation.versions.len() == 1);
        let graph = Graph::of(operations, placed, &certain);
        let order = graph.order()?;
        let earliest = graph.earliest(&order)?;
        let latest = graph.latest(&order);

        let (certain_before, uncertain_before) = (certain.len(), uncertain.len());
        let mut wrong = Vec::new();
        for observation in observations.iter_mut().filter(|observation| observation.versions.len() > 1) {
            let Observation { observer, account, versions } = observation;
            let all = versions.clone();
            let Operation { span, .. } = &operations[*observer];
            let writers = &placed.writers[account];
            versions.retain(|&version| {
                let made = writer(writers, version).is_none_or(|writer| earliest[writer] <= span.replied);
                let kept = writer(writers, version + 1).is_none_or(|writer| latest[writer] >= span.invoked);
                made && kept
            });
            if versions.is_empty() {
                wrong.push(format!(
                    "{}: {account} had that balance at versions {all:?} only, none of which was current then",
                    operations[*observer]
                ));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let certain = observations.iter().filter(|observation| observation.versions.len() == 1).count();
        if certain == certain_before {
            return Ok(uncertain_before);
        }
    }
}

/// What the reads and rejections show.
fn observations<'a>(
    operations: &'a [Operation],
    books: &Books,
    placed: &Placed,
) -> Result<Vec<Observation<'a>>, Vec<String>> {
    let mut by_balance: HashMap<(&str, i64), Vec<u64>> = HashMap::new();
    for (account, entries) in books {
        for entry in entries {
            by_balance.entry((account, entry.balance_after)).or_default().push(entry.sequence);
        }
    }
    let mut observations = Vec::new();
    let mut wrong = Vec::new();
    for (observer, operation) in operations.iter().enumerate() {
        let mut observe = |account: &'a str, versions: Vec<u64>| {
            if versions.is_empty() {
                wrong.push(format!("{operation}: {account} was never so"));
            } else {
                observations.push(Observation { observer, account, versions });
            }
        };
        let with_balance = |account: &str, balance| by_balance.get(&(account, balance)).cloned();
        match (&operation.outcome, &operation.action) {
            (Outcome::Balance(balance), Action::GetBalance { account }) => {
                observe(account, with_balance(account, *balance).unwrap_or_default());
            }
            (
                Outcome::Rejected { balance, available },
                Action::Withdraw { account, amount } | Action::Transfer { from: account, amount, .. },
            ) => {
                observe(account, with_balance(account, *balance).unwrap_or_default());
                let limit = placed.limits.get(account.as_str()).copied().unwrap_or_default();
                if *available != balance + limit || amount <= available {
                    wrong.push(format!("{operation}: that is no reason to refuse it"));
                }
            }
            (Outcome::Accounts(seen), _) => {
                for Seen { account, version, balance } in seen {
                    let versions = with_balance(account, *balance).unwrap_or_default();
                    observe(account, versions.into_iter().filter(|found| found == version).collect());
                }
            }
            (Outcome::Balance(_) | Outcome::Rejected { .. }, _) => {
                wrong.push(format!("{operation}: that is no answer to it"));
            }
            (
                Outcome::Acknowledged { .. } | Outcome::NotDone(_) | Outcome::Unknown(_) | Outcome::Unread(_),
                _,
            ) => {}
        }
    }
    wrong.extend(lists_that_do_not_add_up(operations, books));
    if wrong.is_empty() { Ok(observations) } else { Err(wrong) }
}

/// Lists of all accounts that leave one out, or that do not hold what was paid in less what was paid
/// out. The order would contradict itself as well; this says it in terms of money.
fn lists_that_do_not_add_up(operations: &[Operation], books: &Books) -> Vec<String> {
    // What transfers have brought an account by each version.
    let moved: BTreeMap<&str, Vec<i64>> = books
        .iter()
        .map(|(account, entries)| {
            let mut sum = 0;
            let sums = entries.iter().map(|entry| {
                sum += if entry.counterparty.is_some() { entry.amount } else { 0 };
                sum
            });
            (account.as_str(), sums.collect())
        })
        .collect();
    let opened = |time: Duration| {
        operations.iter().filter(move |operation| {
            matches!(operation.action, Action::Open { .. })
                && matches!(operation.outcome, Outcome::Acknowledged { .. })
                && operation.span.replied < time
        })
    };
    let mut wrong = Vec::new();
    for operation in operations {
        let (Action::ListAccounts, Outcome::Accounts(seen)) = (&operation.action, &operation.outcome) else {
            continue;
        };
        for opening in opened(operation.span.invoked) {
            let Action::Open { account, .. } = &opening.action else { continue };
            let times = seen.iter().filter(|seen| seen.account == *account).count();
            if times != 1 {
                wrong.push(format!("{operation} shows {account} {times} times, after {opening}"));
            }
        }
        let sums = seen.iter().filter_map(|Seen { account, version, .. }| {
            let version = usize::try_from(*version).ok()?.checked_sub(1)?;
            moved.get(account.as_str())?.get(version)
        });
        let sum: i64 = sums.sum();
        if sum != 0 {
            let torn = torn_transfers(seen, operations, books);
            wrong.push(format!(
                "{operation} shows {sum} more than was paid in less what was paid out: one side only of {torn}"
            ));
        }
    }
    wrong
}

/// The transfers of which a list shows one side.
fn torn_transfers(seen: &[Seen], operations: &[Operation], books: &Books) -> String {
    let shows = |id: &str, account: &str| {
        let version = seen.iter().find(|seen| seen.account == account).map_or(0, |seen| seen.version);
        let entries = books.get(account).map(Vec::as_slice).unwrap_or_default();
        entries.iter().any(|entry| entry.sequence <= version && entry.request_id == id)
    };
    let torn = operations.iter().filter(|operation| match &operation.action {
        Action::Transfer { from, to, .. } => shows(&operation.id, from) != shows(&operation.id, to),
        _ => false,
    });
    torn.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The operation that made a version.
fn writer(writers: &[Number], version: u64) -> Option<Number> {
    writers.get(usize::try_from(version).ok()?.checked_sub(1)?).copied()
}

/// What comes before what, and because of which account.
struct Graph<'a> {
    operations: &'a [Operation],
    /// For each operation, what comes before it.
    before: Vec<Vec<(Number, &'a str)>>,
}

impl<'a> Graph<'a> {
    fn of(operations: &'a [Operation], placed: &Placed<'a>, observations: &[&Observation<'a>]) -> Self {
        let mut before = vec![Vec::new(); operations.len()];
        for (&account, writers) in &placed.writers {
            for two in writers.windows(2) {
                before[two[1]].push((two[0], account));
            }
        }
        for Observation { observer, account, versions } in observations {
            let writers = &placed.writers[account];
            if let Some(made) = writer(writers, versions[0]) {
                before[*observer].push((made, *account));
            }
            if let Some(next) = writer(writers, versions[0] + 1) {
                before[next].push((*observer, *account));
            }
        }
        Self { operations, before }
    }

    /// The operations, each after all that come before it.
    fn order(&self) -> Result<Vec<Number>, Vec<String>> {
        let mut after = vec![Vec::new(); self.before.len()];
        let mut missing: Vec<_> = self.before.iter().map(Vec::len).collect();
        for (number, before) in self.before.iter().enumerate() {
            for &(earlier, _) in before {
                after[earlier].push(number);
            }
        }
        let mut order: Vec<_> = (0..missing.len()).filter(|&number| missing[number] == 0).collect();
        let mut done = 0;
        while let Some(&number) = order.get(done) {
            done += 1;
            for &later in &after[number] {
                missing[later] -= 1;
                if missing[later] == 0 {
                    order.push(later);
                }
            }
        }
        match missing.iter().position(|&count| count > 0) {
            None => Ok(order),
            Some(stuck) => Err(vec![self.circle(stuck, &missing)]),
        }
    }

    /// Tells of a circle that `stuck` is in or behind: whatever is so has something before it that is.
    fn circle(&self, stuck: Number, missing: &[usize]) -> String {
        // Against the order: each with the account by which the next in this list comes before it.
        let mut walked: Vec<(Number, &str)> = Vec::new();
        let mut number = stuck;
        loop {
            if let Some(start) = walked.iter().position(|&(visited, _)| visited == number) {
                let mut chain = vec![(number, "")];
                chain.extend(walked[start..].iter().rev());
                return format!("no order explains that {}", self.describe(&chain));
            }
            let &(earlier, account) =
                self.before[number].iter().find(|&&(earlier, _)| missing[earlier] > 0).unwrap();
            walked.push((number, account));
            number = earlier;
        }
    }

    /// The earliest instant that each operation can have taken effect at.
    fn earliest(&self, order: &[Number]) -> Result<Vec<Duration>, Vec<String>> {
        let mut earliest: Vec<_> = self.operations.iter().map(|operation| operation.span.invoked).collect();
        // What comes right before an operation and makes it so late.
        let mut because: Vec<Option<(Number, &str)>> = vec![None; order.len()];
        let mut is_reported = vec![false; order.len()];
        let mut wrong = Vec::new();
        for &number in order {
            for &(earlier, account) in &self.before[number] {
                if earliest[earlier] > earliest[number] {
                    earliest[number] = earliest[earlier];
                    because[number] = Some((earlier, account));
                }
            }
            // What follows from one contradiction is not another.
            is_reported[number] = because[number].is_some_and(|(earlier, _)| is_reported[earlier]);
            if !is_reported[number] && earliest[number] > last_instant(&self.operations[number]) {
                is_reported[number] = true;
                wrong.push(self.anachronism(number, &because));
            }
        }
        if wrong.is_empty() { Ok(earliest) } else { Err(wrong) }
    }

    /// The latest instant that each operation can have taken effect at.
    fn latest(&self, order: &[Number]) -> Vec<Duration> {
        let mut latest: Vec<_> = self.operations.iter().map(last_instant).collect();
        for &number in order.iter().rev() {
            for &(earlier, _) in &self.before[number] {
                latest[earlier] = latest[earlier].min(latest[number]);
            }
        }
        latest
    }

    /// Tells of an operation that had been answered before something was asked for that precedes it.
    fn anachronism(&self, late: Number, because: &[Option<(Number, &str)>]) -> String {
        let mut chain = Vec::new();
        let mut number = late;
        while let Some((earlier, account)) = because[number] {
            chain.push((number, account));
            number = earlier;
        }
        chain.push((number, ""));
        chain.reverse();
        let gap = self.operations[chain[0].0].span.invoked.saturating_sub(self.operations[late].span.replied);
        format!("what was asked for {gap:?} after the answer cannot precede it: {}", self.describe(&chain))
    }

    /// A chain of operations, each with the account by which it comes after the one before.
    fn describe(&self, chain: &[(Number, &str)]) -> String {
        let mut words = vec![self.operations[chain[0].0].to_string()];
        for (place, two) in chain.windows(2).enumerate() {
            let (later, account) = two[1];
            let is_far_from_the_ends = place >= 2 && place + 3 < chain.len();
            if !is_far_from_the_ends {
                words.push(format!("comes on {account} before {}", self.operations[later]));
            } else if place == 2 {
                words.push("comes before others, of which the last".to_owned());
            }
        }
        words.join(" ")
    }
}

/// Until when an operation can have taken effect.
fn last_instant(operation: &Operation) -> Duration {
    match operation.outcome {
        Outcome::Unknown(_) => Duration::MAX,
        _ => operation.span.replied,
    }
}
