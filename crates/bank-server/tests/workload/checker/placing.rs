//! Finds each operation in the books, as often as it is there.

use std::collections::{BTreeMap, HashMap};

use bank_client::EntryKind;

use crate::workload::history::{Action, Books, Entry, Operation, Outcome};

/// Which entries are of which operations.
pub(super) struct Placed<'a> {
    /// For each operation, the entries that are of it.
    pub(super) places: Vec<Vec<Place<'a>>>,
    /// For each account, the operation of each entry, in the order of their sequences from 1.
    pub(super) writers: BTreeMap<&'a str, Vec<usize>>,
    /// How far below zero each account may go.
    pub(super) limits: HashMap<&'a str, i64>,
}

/// An entry, with the account that it is on.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) account: &'a str,
    pub(super) entry: &'a Entry,
}

/// What an operation writes to one account.
#[derive(PartialEq)]
struct Side<'a> {
    account: &'a str,
    kind: EntryKind,
    amount: i64,
    counterparty: Option<&'a str>,
}

pub(super) fn place<'a>(operations: &'a [Operation], books: &'a Books) -> Result<Placed<'a>, Vec<String>> {
    let mut violations = Vec::new();
    let mut by_id = HashMap::new();
    for (number, operation) in operations.iter().enumerate() {
        if let Some(other) = by_id.insert(operation.id.as_str(), number) {
            violations.push(format!("{operation} has the name of {}", operations[other]));
        }
    }
    let mut placed = Placed {
        places: vec![Vec::new(); operations.len()],
        writers: BTreeMap::new(),
        limits: operations.iter().filter_map(limit).collect(),
    };
    for (account, entries) in books {
        violations.extend(unsound(account, placed.limits.get(account.as_str()).copied(), entries));
        let writers = placed.writers.entry(account).or_default();
        for entry in entries {
            match by_id.get(entry.request_id.as_str()) {
                Some(&writer) => {
                    placed.places[writer].push(Place { account, entry });
                    writers.push(writer);
                }
                None => violations.push(format!("nobody asked for {}", Place { account, entry })),
            }
        }
    }
    for (operation, places) in operations.iter().zip(&placed.places) {
        violations.extend(misplaced(operation, places));
    }
    if violations.is_empty() { Ok(placed) } else { Err(violations) }
}

fn limit(operation: &Operation) -> Option<(&str, i64)> {
    match &operation.action {
        Action::Open { account, overdraft_limit } => Some((account, *overdraft_limit)),
        _ => None,
    }
}

/// What is wrong with a history by itself.
fn unsound(account: &str, limit: Option<i64>, entries: &[Entry]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut balance = 0;
    for (number, entry) in (1..).zip(entries) {
        let place = Place { account, entry };
        if entry.sequence != number {
            wrong.push(format!("{place} is number {number} of its history"));
        }
        if balance + entry.amount != entry.balance_after {
            wrong.push(format!("{place} follows on a balance of {balance}"));
        }
        balance = entry.balance_after;
        if balance < -limit.unwrap_or_default() {
            wrong.push(format!("{place} leaves less than the account may hold"));
        }
    }
    wrong
}

/// What is wrong with how often an operation is there, and where.
fn misplaced(operation: &Operation, places: &[Place]) -> Vec<String> {
    let sides = sides(&operation.action);
    let mut wrong = Vec::new();
    for place in places {
        if !sides.contains(&side(place)) {
            wrong.push(format!("{place} is not what {operation} asked for"));
        }
    }
    let on = |account| places.iter().filter(move |place| place.account == account);
    for side in &sides {
        let times: Vec<_> = on(side.account).map(|place| place.entry.sequence).collect();
        if times.len() > 1 {
            wrong.push(format!("{operation} was applied twice: as versions {times:?} of {}", side.account));
        }
    }
    if !wrong.is_empty() {
        return wrong;
    }
    if !places.is_empty() && places.len() < sides.len() {
        wrong.push(format!("{operation} is there by half: as {}", places[0]));
    }
    if places.windows(2).any(|two| two[0].entry.transaction_id != two[1].entry.transaction_id) {
        wrong.push(format!("the sides of {operation} are of two transactions"));
    }
    let primary = sides.first().and_then(|side| on(side.account).next());
    match (&operation.outcome, primary) {
        (Outcome::Acknowledged { .. }, None) => wrong.push(format!("{operation} is lost")),
        (&Outcome::Acknowledged { sequence, balance }, Some(place))
            if (sequence, balance) != (place.entry.sequence, place.entry.balance_after) =>
        {
            wrong.push(format!("{operation} is there as {place}"));
        }
        (Outcome::Rejected { .. } | Outcome::NotDone(_), Some(place)) => {
            wrong.push(format!("{operation} was applied all the same: as {place}"));
        }
        _ => {}
    }
    wrong
}

/// What an operation writes if it is carried out, the account that it names first before the other.
fn sides(action: &Action) -> Vec<Side<'_>> {
    let alone = |account, kind, amount| vec![Side { account, kind, amount, counterparty: None }];
    match action {
        Action::Open { account, .. } => alone(account, EntryKind::AccountOpened, 0),
        Action::Deposit { account, amount } => alone(account, EntryKind::Deposit, *amount),
        Action::Withdraw { account, amount } => alone(account, EntryKind::Withdrawal, -amount),
        Action::Transfer { from, to, amount } => {
            let (from, to) = (from.as_str(), to.as_str());
            vec![
                Side { account: from, kind: EntryKind::TransferOut, amount: -amount, counterparty: Some(to) },
                Side { account: to, kind: EntryKind::TransferIn, amount: *amount, counterparty: Some(from) },
            ]
        }
        Action::GetBalance { .. } | Action::GetAccount { .. } | Action::ListAccounts => Vec::new(),
    }
}

fn side<'a>(place: &Place<'a>) -> Side<'a> {
    let Place { account, entry } = *place;
    let counterparty = entry.counterparty.as_deref();
    Side { account, kind: entry.kind, amount: entry.amount, counterparty }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, entry } = self;
        let Entry { sequence, request_id, kind, amount, balance_after, .. } = entry;
        write!(
            f,
            "version {sequence} of {account} ({kind} of {amount} by {request_id:?}, balance {balance_after})"
        )
    }
}
