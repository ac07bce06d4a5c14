//! What holds for every bank while no commit is in progress.

use std::collections::HashMap;

use bank_domain::{Account, Entry, EntryId, EntryKind, Timestamp, TransactionId, audit::Verifier};

use super::{bank::Bank, commands::id};
use crate::{EntriesQuery, Order};

impl Bank {
    /// Checks each account against its history, and each transfer against its other side.
    pub async fn assert_sound(&self) {
        let mut transfers: HashMap<TransactionId, Vec<Entry>> = HashMap::new();
        for account in self.all_accounts(None, 100).await {
            let entries = self.entries(&EntriesQuery::all(account.id.clone())).await;
            check_history(&account, &entries);
            for entry in entries.into_iter().filter(|entry| entry.kind.counterparty().is_some()) {
                transfers.entry(entry.transaction_id.clone()).or_default().push(entry);
            }
        }
        for (transaction_id, sides) in transfers {
            check_transfer(&transaction_id, &sides);
        }
    }

    /// Selects from a history by all combinations of these times and positions, in both orders, and compares the answers
    /// with the whole history.
    pub async fn assert_selections(
        &self,
        account_id: &str,
        times: &[Option<Timestamp>],
        positions: &[Option<EntryId>],
    ) {
        let history = self.history(account_id).await;
        for order in [Order::OldestFirst, Order::NewestFirst] {
            for (&start, &end) in times.iter().flat_map(|start| times.iter().map(move |end| (start, end))) {
                for (&after, limit) in
                    positions.iter().flat_map(|after| [0, 2, usize::MAX].map(|it| (after, it)))
                {
                    let query = EntriesQuery { account_id: id(account_id), start, end, after, order, limit };
                    assert_eq!(self.entries(&query).await, selected(&history, &query), "{query:?}");
                }
            }
        }
    }
}

/// The entries that a query selects, found in the obvious way.
fn selected(history: &[Entry], query: &EntriesQuery) -> Vec<Entry> {
    let is_selected = |entry: &&Entry| {
        query.start.is_none_or(|start| entry.time >= start)
            && query.end.is_none_or(|end| entry.time <= end)
            && query.after.is_none_or(|after| match query.order {
                Order::OldestFirst => entry.id() > after,
                Order::NewestFirst => entry.id() < after,
            })
    };
    let selected = history.iter().filter(is_selected).cloned();
    match query.order {
        Order::OldestFirst => selected.take(query.limit).collect(),
        Order::NewestFirst => selected.rev().take(query.limit).collect(),
    }
}

fn check_history(account: &Account, entries: &[Entry]) {
    let mut verifier = Verifier::new(account);
    for entry in entries {
        assert_eq!(entry.account_id, account.id);
        verifier.check(entry);
    }
    assert!(!verifier.has_newer(), "{}", account.id);
    assert_eq!(verifier.finish(), Ok(()), "{}", account.id);
}

fn check_transfer(transaction_id: &TransactionId, sides: &[Entry]) {
    let out = sides.iter().find(|entry| matches!(entry.kind, EntryKind::TransferOut { .. }));
    let into = sides.iter().find(|entry| matches!(entry.kind, EntryKind::TransferIn { .. }));
    let (Some(out), Some(into), 2) = (out, into, sides.len()) else {
        panic!("{transaction_id} does not have two sides: {sides:?}");
    };
    assert_eq!(out.transaction_id.entry_id, out.id());
    assert_eq!(out.kind.counterparty(), Some(&into.account_id), "{transaction_id}");
    assert_eq!(into.kind.counterparty(), Some(&out.account_id), "{transaction_id}");
    assert_eq!(out.amount.checked_neg().unwrap(), into.amount, "{transaction_id}");
    assert_eq!(out.time, into.time, "{transaction_id}");
    assert_eq!(out.description, into.description, "{transaction_id}");
    assert_eq!(out.request_id, into.request_id, "{transaction_id}");
}
