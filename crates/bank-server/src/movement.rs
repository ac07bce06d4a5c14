//! Finds the entries of a movement: its id says where they are, so no index is needed.

use bank_domain::{AccountId, Entry, EntryId, TransactionId};
use bank_store::{EntriesQuery, Store, StoreError};

/// How many entries of one millisecond are read at a time to find the other side of a transfer.
const ENTRIES_PER_READ: usize = 100;

/// The entry that the id of a movement names: on the source, for a transfer.
pub(crate) async fn primary_entry(
    store: &dyn Store,
    id: &TransactionId,
) -> Result<Option<Entry>, StoreError> {
    let Some(before) = id.entry_id.sequence.checked_sub(1) else { return Ok(None) };
    let time = id.entry_id.time;
    let query = EntriesQuery {
        start: Some(time),
        end: Some(time),
        after: Some(EntryId { time, sequence: before }),
        limit: 1,
        ..EntriesQuery::all(id.account_id.clone())
    };
    Ok(store.entries(&query).await?.pop().filter(|entry| entry.transaction_id == *id))
}

/// The entry of a movement on another account: it has the time that is in the id.
pub(crate) async fn entry_on(
    store: &dyn Store,
    account_id: &AccountId,
    id: &TransactionId,
) -> Result<Option<Entry>, StoreError> {
    let time = id.entry_id.time;
    let mut query = EntriesQuery {
        start: Some(time),
        end: Some(time),
        limit: ENTRIES_PER_READ,
        ..EntriesQuery::all(account_id.clone())
    };
    loop {
        let entries = store.entries(&query).await?;
        let full = entries.len() == query.limit;
        query.after = entries.last().map(Entry::id);
        let found = entries.into_iter().find(|entry| entry.transaction_id == *id);
        if found.is_some() || !full {
            return Ok(found);
        }
    }
}
