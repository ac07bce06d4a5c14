//! What holds of every bank at rest.

use std::collections::HashMap;

use bank_domain::{Account, Entry, EntryKind, TransactionId};

use super::bank::Bank;
use crate::EntriesQuery;

/// Reads everything, and checks each account against its history and each transfer against its
/// other side.
pub(super) async fn check(bank: &Bank) {
    let mut sides: HashMap<TransactionId, Vec<Entry>> = HashMap::new();
    for account in bank.all_accounts(None, 100).await {
        let entries = bank.entries(&EntriesQuery::all(account.id.clone())).await;
        check_history(&account, &entries);
        let transfers = entries.into_iter().filter(|entry| entry.kind.counterparty().is_some());
        for entry in transfers {
            sides.entry(entry.transaction_id.clone()).or_default().push(entry);
        }
    }
    for (transaction_id, sides) in sides {
        check_transfer(&transaction_id, &sides);
    }
}

fn check_history(account: &Account, entries: &[Entry]) {
    let id = &account.id;
    let first = entries.first().unwrap_or_else(|| panic!("{id} has no history"));
    assert_eq!(first.kind, EntryKind::AccountOpened, "{id}");
    assert_eq!(first.time, account.opened_at, "{id}");

    let mut balance = account.balance.with_minor_units(0);
    let mut time = first.time;
    for (entry, sequence) in entries.iter().zip(1..) {
        assert_eq!(entry.account_id, *id);
        assert_eq!(entry.sequence, sequence, "{id} has a gap");
        assert!(entry.time >= time, "{id} runs backwards at {sequence}");
        balance = balance.checked_add(entry.amount).unwrap();
        assert_eq!(entry.balance_after, balance, "{id} does not add up at {sequence}");
        time = entry.time;
    }
    assert_eq!(account.balance, balance, "{id}");
    assert!(balance.minor_units >= -account.overdraft_limit.minor_units, "{id} is too low");
    assert_eq!(account.version, entries.len() as u64, "{id}");
    assert_eq!(account.updated_at, time, "{id}");
}

fn check_transfer(transaction_id: &TransactionId, sides: &[Entry]) {
    let out = sides.iter().find(|entry| matches!(entry.kind, EntryKind::TransferOut { .. }));
    let into = sides.iter().find(|entry| matches!(entry.kind, EntryKind::TransferIn { .. }));
    let (Some(out), Some(into), 2) = (out, into, sides.len()) else {
        panic!("{transaction_id} has not two sides: {sides:?}");
    };
    assert_eq!(out.transaction_id.entry_id, out.id());
    assert_eq!(out.kind.counterparty(), Some(&into.account_id), "{transaction_id}");
    assert_eq!(into.kind.counterparty(), Some(&out.account_id), "{transaction_id}");
    assert_eq!(out.amount.checked_neg().unwrap(), into.amount, "{transaction_id}");
    assert_eq!(out.time, into.time, "{transaction_id}");
    assert_eq!(out.description, into.description, "{transaction_id}");
    assert_eq!(out.request_id, into.request_id, "{transaction_id}");
}
