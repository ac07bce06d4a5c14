//! Export of request records, and import of a bank.
//!
//! Accounts and entries are exported with the reads of [`Store`](crate::Store).

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, EntryId};
use uuid::Uuid;

use crate::{RequestKey, RequestRecord, StoreError, placement::Placement};

/// Reads request records, and fills an empty bank.
///
/// # Import
///
/// From [`begin_import`](Backup::begin_import) to [`finish_import`](Backup::finish_import) or
/// [`abandon_import`](Backup::abandon_import) the bank is **marked** in the store. Every commit and every other read
/// fails with [`StoreError::Unfit`], in every process and after every restart, so no reader sees a partial bank. The
/// mark names the import, and calls of another import fail. An import that begins on a marked bank replaces the
/// previous one.
///
/// A call with an unknown outcome can be sent again with the same arguments, before the next call.
#[async_trait]
pub trait Backup: Send + Sync {
    /// Reads request records that have not expired, in the order of their account in the list of accounts, then of
    /// request id and caller. A page with fewer records than its limit is the last one.
    ///
    /// Includes all records that were written before the call.
    ///
    /// # Errors
    /// [`StoreError`]. A read can always be repeated.
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<(RequestKey, RequestRecord)>, StoreError>;

    /// Marks a bank without accounts, and removes what an earlier import or rejected requests have left in it.
    ///
    /// # Errors
    /// [`StoreError`]. The bank may be marked nevertheless.
    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError>;

    /// Writes a batch, whole or not at all. The entries of an account come in order and without gaps, over any
    /// number of batches; its records come after its entries.
    ///
    /// The caller makes sure that accounts match their entries and are not in the bank yet. Expired records are left
    /// out.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if the bank is not marked with this import; [`StoreError::Corrupt`] if a record names an
    /// entry that does not exist.
    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError>;

    /// Removes the mark: the bank can be used, durably.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if the bank is not marked with this import.
    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError>;

    /// Removes all that was written, and then the mark: the bank is empty and can be used.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if the bank is not marked with this import.
    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError>;
}

/// Selects a page of request records.
#[derive(Clone, Debug, Default)]
pub struct RequestsQuery {
    /// Only records of accounts after this one, in the order of the list of accounts.
    pub after_account: Option<AccountId>,
    /// Only records of accounts up to this one, which need not exist.
    pub through_account: Option<AccountId>,
    /// Only records after this one.
    pub after: Option<RequestKey>,
    /// The maximum number of records.
    pub limit: usize,
}

/// Identifies an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportId(String);

impl ImportId {
    /// A new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }
}

impl fmt::Display for ImportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether an import was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportStart {
    /// The bank is empty, and marked with the import.
    Started,
    /// The bank has accounts. Nothing was done.
    NotEmpty,
}

/// A batch of an import.
#[derive(Clone, Debug, Default)]
pub struct ImportBatch {
    /// Accounts with some of their entries.
    pub histories: Vec<HistoryPart>,
    /// Records of requests.
    pub requests: Vec<(RequestKey, RequestRecord)>,
}

/// Consecutive entries of an account.
#[derive(Clone, Debug)]
pub struct HistoryPart {
    /// The account after all of its entries.
    pub account: Account,
    /// The entries that follow those already written.
    pub entries: Vec<Entry>,
}

/// Says that a bank is marked.
pub(crate) const MARKED: &str = "an import into this bank is in progress or was interrupted; if it was interrupted, import the file again";

/// The error of every operation on a marked bank.
pub(crate) fn marked() -> StoreError {
    StoreError::Unfit(MARKED.to_owned())
}

/// The error of an import that has ended or was replaced by another.
pub(crate) fn taken_over() -> StoreError {
    StoreError::Unfit("this import has ended, or another has replaced it".to_owned())
}

/// The error of a record that names an entry which does not exist.
pub(crate) fn without_entry(key: &RequestKey, entry: EntryId) -> StoreError {
    let RequestKey { account_id, request_id, .. } = key;
    StoreError::Corrupt(format!(
        "account {account_id} has no entry {entry}, which the record of request {request_id} names"
    ))
}

/// Selects and sorts the records of a page, from a scan in any order. Stores keep records in the order that is best
/// for commits.
pub(crate) struct RequestsPage<'a> {
    query: &'a RequestsQuery,
    placement: Placement,
    selected: BTreeMap<(u32, RequestKey), RequestRecord>,
}

impl<'a> RequestsPage<'a> {
    pub(crate) fn new(query: &'a RequestsQuery, placement: Placement) -> Self {
        Self { query, placement, selected: BTreeMap::new() }
    }

    /// Adds a record if it belongs to the page as far as it is known. Of two records with the same key, the newer
    /// one is kept.
    pub(crate) fn offer(
        &mut self,
        key: RequestKey,
        record: impl FnOnce(&RequestKey) -> Result<RequestRecord, StoreError>,
    ) -> Result<(), StoreError> {
        let RequestsQuery { after_account, through_account, after, limit } = self.query;
        let position = (self.placement.of(&key.account_id), key);
        let account = (position.0, &position.1.account_id);
        let of = |id| (self.placement.of(id), id);
        let is_selected = after_account.as_ref().is_none_or(|id| account > of(id))
            && through_account.as_ref().is_none_or(|id| account <= of(id))
            && after
                .as_ref()
                .is_none_or(|key| (position.0, &position.1) > (self.placement.of(&key.account_id), key));
        let is_full = self.selected.len() >= *limit;
        let is_beyond = is_full && self.selected.last_key_value().is_none_or(|(last, _)| *last < position);
        if !is_selected || is_beyond {
            return Ok(());
        }
        let record = record(&position.1)?;
        match self.selected.entry(position) {
            btree_map::Entry::Occupied(mut known) if known.get().recorded_at <= record.recorded_at => {
                known.insert(record);
            }
            btree_map::Entry::Occupied(_) => {}
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(record);
                if is_full {
                    self.selected.pop_last();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<(RequestKey, RequestRecord)> {
        self.selected.into_iter().map(|((_, key), record)| (key, record)).collect()
    }
}
