//! Writes what is imported, as a commit writes it, but for the hashes: there is nobody to compare with.

use std::{collections::HashMap, sync::Arc};

use bank_domain::{Account, AccountId, Change, Currency, EntryId};
use redb::{ReadableTable as _, WriteTransaction};

use super::{After, Before, Commit, Known};
use crate::{
    ImportBatch, RecordedOutcome, RequestKey, RequestRecord, StoreError,
    backup::without_entry,
    embedded::{
        codec::{self, EntryPlace, Linked},
        file::storage_error,
        heads::Head,
        history::{self, Place},
        tables::Position,
    },
};

/// What there is of an account in the tables: it may not have all of its entries yet.
#[derive(Clone, Copy)]
struct Part {
    head: Head,
    sequence: u64,
    currency: Currency,
}

/// Writes entries that are not there yet, and records.
pub(in crate::embedded) fn apply(
    transaction: &WriteTransaction,
    before: Before<'_>,
    now_seconds: u64,
    batch: &ImportBatch,
) -> Result<((), After), StoreError> {
    let changes: Vec<_> = batch
        .histories
        .iter()
        .flat_map(|part| {
            let account = Arc::new(part.account.clone());
            part.entries
                .iter()
                .map(move |entry| Change { account: Arc::clone(&account), entry: Arc::new(entry.clone()) })
        })
        .collect();
    let (retention, aged_to_seconds) = (before.retention, before.aged_to_ms / 1_000);
    let mut commit = Commit::begin(transaction, before, changes.len())?;
    let mut parts = HashMap::new();
    let mut added = HashMap::new();
    for change in &changes {
        let Change { account, entry } = change;
        let part = match parts.get(&account.id) {
            Some(part) => *part,
            None => {
                let part = commit.part(&account.id, Some(account))?;
                let head = part.map(|part| part.head);
                commit.known.insert(&account.id, Known { head, changed: None });
                *parts.entry(&account.id).or_insert(part)
            }
        };
        if part.is_none_or(|part| entry.sequence > part.sequence) {
            added.insert((&account.id, entry.id()), commit.log.next());
            commit.add_change(change)?;
        }
    }
    for (key, record) in &batch.requests {
        let outcome = match &record.outcome {
            RecordedOutcome::Rejected(rejection) => RecordedOutcome::Rejected(rejection.clone()),
            RecordedOutcome::Entry(id) => {
                let position = match added.get(&(&key.account_id, *id)) {
                    Some(position) => *position,
                    None => commit.position(key, *id)?,
                };
                RecordedOutcome::Entry(EntryPlace { position, id: *id })
            }
        };
        let RequestRecord { fingerprint, attempt, recorded_at, .. } = *record;
        let record = RequestRecord { fingerprint, attempt, recorded_at, outcome };
        // Both banks date records by the time of day; this one counts their age in its own way from then on.
        let age_seconds = now_seconds.saturating_sub(recorded_at);
        let aged_to = aged_to_seconds.saturating_sub(age_seconds);
        commit.windows.import(&mut commit.tables.requests, retention, key, &record, aged_to)?;
    }
    let After { recent, .. } = commit.write(batch.requests.len())?;
    Ok(((), After { recent, heads: Vec::new() }))
}

impl Commit<'_, '_, '_> {
    /// What there is of an account. It is read without the checks of one that is whole.
    fn part(&self, id: &AccountId, account: Option<&Account>) -> Result<Option<Part>, StoreError> {
        let row = self.tables.accounts.get((self.before.partitions.of(id), id.as_str()));
        let Some(row) = row.map_err(storage_error)? else { return Ok(None) };
        let opened = codec::opened(id, row.value())?;
        let (number, currency) = (opened.number, opened.currency());
        let newest = self.before.recent.find(&self.tables.heads, number)?.ok_or_else(|| {
            StoreError::Corrupt(format!("account {id}: nothing says where its newest entry is"))
        })?;
        let place = Place { position: newest, sequence: None };
        let entry = history::entry_at(&self.tables.log, id, currency, place)?.entry;
        let hash = account.map_or(entry.hash, |account| account.head);
        Ok(Some(Part { head: Head { number, newest, hash }, sequence: entry.sequence, currency }))
    }

    /// Where in the log an entry is that an earlier batch has written.
    fn position(&self, key: &RequestKey, wanted: EntryId) -> Result<Position, StoreError> {
        let id = &key.account_id;
        let absent = || without_entry(key, wanted);
        let part = self.part(id, None)?.ok_or_else(absent)?;
        let lowest = (id.as_str(), wanted.time.unix_ms(), wanted.sequence);
        let highest = (id.as_str(), i64::MAX, u64::MAX);
        let mut later = self.tables.milestones.range(lowest..=highest).map_err(storage_error)?;
        let mut position = match later.next() {
            Some(row) => row.map_err(storage_error)?.1.value(),
            None => part.head.newest,
        };
        loop {
            let place = Place { position, sequence: None };
            let Linked { entry, previous } = history::entry_at(&self.tables.log, id, part.currency, place)?;
            if entry.id() == wanted {
                return Ok(position);
            }
            position = previous.filter(|_| entry.id() > wanted).ok_or_else(absent)?;
        }
    }
}
