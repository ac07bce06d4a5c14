//! What a back-up is made of, and how a bank is put together from one.
//!
//! Accounts and entries are read as everybody reads them ([`Store`](crate::Store)); only the records of
//! requests need a way of their own. They are stored in whatever order suits a commit, so a page of
//! them, in the order of a back-up, is picked from a walk through all that may belong to it.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, EntryId, Fingerprint, Rejection};
use uuid::Uuid;

use crate::{Attempt, RequestKey, StoreError, partition::Partitions};

/// Reads what else a bank keeps besides accounts and entries, and fills an empty bank.
///
/// # An import
///
/// From [`begin_import`](Backup::begin_import) to [`finish_import`](Backup::finish_import) or
/// [`abandon_import`](Backup::abandon_import) the bank is **marked**, in the store itself: every commit
/// and every other read is refused with [`StoreError::Unfit`], in every process, also after they have
/// been started again. So nobody ever sees half a bank. The mark carries the name of the import, and
/// whatever is done under another name is refused: who begins an import in a marked bank takes it
/// over.
///
/// Each call can be sent again, with the same arguments and before the next one, as often as its
/// outcome is unknown.
#[async_trait]
pub trait Backup: Send + Sync {
    /// Records of requests that are not too old, in the order of their account in the list of all
    /// accounts, then of request id and caller; fewer than asked for if there are no more.
    ///
    /// All that were recorded before the call are there.
    ///
    /// # Errors
    /// [`StoreError`]; a read is always safe to repeat.
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<KeptRequest>, StoreError>;

    /// Marks a bank without accounts, and removes what an earlier import or refused requests have left
    /// in it.
    ///
    /// # Errors
    /// [`StoreError`]. The bank may be marked all the same.
    async fn begin_import(&self, import: &ImportId) -> Result<ImportBegun, StoreError>;

    /// Writes a batch, whole or not at all. The entries of each account come in their order, without
    /// gaps, over as many batches as it takes, and its records after them.
    ///
    /// It is up to the caller that an account is what its entries make of it, and that there is
    /// nothing of it yet. Records that are too old are left out.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if the bank is not marked with this import; [`StoreError::Corrupt`] if a
    /// record names an entry that is not there.
    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError>;

    /// Takes the mark away: the bank can be used, durably.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if the bank is not marked with this import.
    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError>;

    /// Removes all that was written, and then the mark: the bank is empty again, and can be used.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if the bank is not marked with this import.
    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError>;
}

/// A stretch of the records of requests.
#[derive(Clone, Debug, Default)]
pub struct RequestsQuery {
    /// Only those of accounts beyond this one, in the list of all accounts.
    pub after_account: Option<AccountId>,
    /// Only those of accounts up to this one. There need not be such an account.
    pub through_account: Option<AccountId>,
    /// Beyond this record.
    pub after: Option<RequestKey>,
    /// At most so many.
    pub limit: usize,
}

/// What is kept of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    /// Its name.
    pub key: RequestKey,
    /// What it meant.
    pub fingerprint: Fingerprint,
    /// Which try at it this outcome is of.
    pub attempt: Attempt,
    /// What became of it.
    pub outcome: KeptOutcome,
    /// When it was recorded, in seconds since 1970-01-01T00:00:00Z by the store's clock.
    pub recorded_at: u64,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptOutcome {
    /// It was carried out: the entry on the account that it names first.
    Entry(EntryId),
    /// It was refused.
    Rejected(Box<Rejection>),
}

/// Tells one import from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportId(String);

impl ImportId {
    /// Unlike all others.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }
}

impl fmt::Display for ImportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the beginning of an import went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportBegun {
    /// The bank is empty, and marked.
    Marked,
    /// There are accounts in the bank; nothing was done.
    NotEmpty,
}

/// What is written at once.
#[derive(Clone, Debug, Default)]
pub struct ImportBatch {
    /// Accounts with some of their entries.
    pub histories: Vec<HistoryPart>,
    /// Outcomes of requests, of accounts in this batch or an earlier one, or of none.
    pub requests: Vec<KeptRequest>,
}

/// Some of the entries of an account, one after the other.
#[derive(Clone, Debug)]
pub struct HistoryPart {
    /// The account as all of its entries make it.
    pub account: Account,
    /// Those that follow the ones that were written before.
    pub entries: Vec<Entry>,
}

/// Which partition an account is on, of so many. Accounts are listed by it first.
pub fn partition_of(account_id: &AccountId, partitions: u32) -> u32 {
    Partitions::try_new(partitions).map_or(0, |partitions| partitions.of(account_id))
}

/// What is wrong with a marked bank.
pub(crate) const MARKED: &str =
    "an import into this bank is under way, or was broken off; if so, import the file again";

/// Why a marked bank does nothing.
pub(crate) fn marked() -> StoreError {
    StoreError::Unfit(MARKED.to_owned())
}

/// Why an import that was taken over, or is over, goes no further.
pub(crate) fn taken_over() -> StoreError {
    StoreError::Unfit("this import has ended, or another has taken its place".to_owned())
}

/// Why a record cannot be imported.
pub(crate) fn without_entry(key: &RequestKey, entry: EntryId) -> StoreError {
    let RequestKey { account_id, request_id, .. } = key;
    StoreError::Corrupt(format!(
        "account {account_id} has no entry {entry}, which request {request_id} is said to have written"
    ))
}

/// The records of a page, picked from a walk through more of them in any order.
pub(crate) struct RequestsPage<'a> {
    query: &'a RequestsQuery,
    partitions: Partitions,
    lowest: Option<(u32, &'a AccountId)>,
    highest: Option<(u32, &'a AccountId)>,
    picked: BTreeMap<(u32, RequestKey), KeptRequest>,
}

impl<'a> RequestsPage<'a> {
    pub(crate) fn new(query: &'a RequestsQuery, partitions: Partitions) -> Self {
        let place = |id: &'a AccountId| (partitions.of(id), id);
        Self {
            query,
            partitions,
            lowest: query.after_account.as_ref().map(place),
            highest: query.through_account.as_ref().map(place),
            picked: BTreeMap::new(),
        }
    }

    /// Takes a record if it belongs to the page as far as is known. Of two with one key, the newer one
    /// counts.
    pub(crate) fn offer(
        &mut self,
        key: RequestKey,
        record: impl FnOnce(RequestKey) -> Result<KeptRequest, StoreError>,
    ) -> Result<(), StoreError> {
        let partition = self.partitions.of(&key.account_id);
        let account = (partition, &key.account_id);
        let is_asked_for = self.lowest.is_none_or(|lowest| account > lowest)
            && self.highest.is_none_or(|highest| account <= highest)
            && self
                .query
                .after
                .as_ref()
                .is_none_or(|after| (partition, &key) > (self.partitions.of(&after.account_id), after));
        let place = (partition, key);
        let is_full = self.picked.len() >= self.query.limit;
        let last = self.picked.last_key_value().filter(|_| is_full);
        if !is_asked_for || last.is_some_and(|(last, _)| *last < place) || self.query.limit == 0 {
            return Ok(());
        }
        let record = record(place.1.clone())?;
        match self.picked.entry(place) {
            btree_map::Entry::Occupied(mut known) if known.get().recorded_at <= record.recorded_at => {
                known.insert(record);
            }
            btree_map::Entry::Occupied(_) => {}
            btree_map::Entry::Vacant(place) => {
                place.insert(record);
                if is_full {
                    self.picked.pop_last();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<KeptRequest> {
        self.picked.into_values().collect()
    }
}
