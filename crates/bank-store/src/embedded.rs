//! One file on this machine, on [redb](https://docs.rs/redb): durable, and nothing else to run.
//!
//! A commit is one transaction, on disk before it is acknowledged: a batch shares one `fsync`. The
//! file serves one server at a time.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `meta` | field | what this bank is (`bank_id`, `secret`, `layout`, `partitions`, `request_window_seconds`), `heads_through`, `aged_to_ms`, and the newest `import` |
//! | `accounts` | partition, account id | what there is to an account besides its entries, and its number |
//! | `log` | position of the first | entries in the order of commits, as many as fill a page, each with where the one before it on its account is |
//! | `heads` | number / 500 | where the newest entries of 500 accounts are, as of `heads_through` |
//! | `milestones` | account id, time, sequence | where every 64th entry of an account is |
//! | `owners` | owner, account id | nothing: which accounts an owner has |
//! | `requests` | window of time, request id, account id, caller | the outcome of a request |
//!
//! What a commit costs is the pages that it changes, and the rows. So entries of all accounts go to the
//! end of the log, and records of new requests to the end of theirs (the ids that clients make grow with
//! time), however many accounts a commit touches. An account is its row, which movements leave alone,
//! and its newest entry; a history is a list that runs backwards through the log. Where the newest
//! entries are is written once in a while (`heads`).
//!
//! Cost: for each proposal one insertion at the end of the table of records; for each page of entries, one
//! into the log; for an account that was not used lately, three look-ups; for a request id that is not
//! greater than all others, one in each window of records. Memory: the cache, where the accounts of the last
//! 65,536 entries stand, and what a commit or a reply holds.

mod ages;
mod backup;
#[cfg(test)]
mod bad_disk;
mod check;
mod codec;
mod commit;
mod file;
mod heads;
mod history;
mod list;
mod log;
mod medium;
mod options;
mod requests;
mod tables;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, redacted};
use redb::{ReadableTableMetadata as _, WriteTransaction};
use tokio::{sync::Semaphore, task::spawn_blocking};

pub use self::{check::CheckReport, options::EmbeddedOptions};
use self::{
    commit::Before,
    file::{damaged, storage_error},
    medium::{FileMedium, Medium},
    tables::{ACCOUNTS, META, ReadTables},
    writer::{OpenFile, Snapshot, Writer},
};
use crate::{
    AccountsQuery, Backup, Committed, Durability, DurabilityLevel, EntriesQuery, Proposal, Secret, Store,
    StoreError, clock::Timekeeper,
};

/// How many reads of the file there may be at once; more of them wait for their turn. Each takes a thread, and a
/// disk is not quicker with more.
const READS_MAX: usize = 32;

/// A bank kept in a file. Dropping it finishes what is being written, and closes the file.
pub struct EmbeddedStore {
    file: Arc<OpenFile>,
    writer: Writer,
    reads: Arc<Semaphore>,
}

impl EmbeddedStore {
    /// Opens the file, and founds a bank if there is none. A file that was not closed in order is
    /// checked first, which reads all of it.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] if the file cannot be used, saying what to change;
    /// [`StoreError::Corrupt`] if it is damaged.
    pub async fn open(options: EmbeddedOptions) -> Result<Self, StoreError> {
        let medium = FileMedium::new(&options.path, options.free_bytes_min);
        Self::open_on(Box::new(medium), options).await
    }

    async fn open_on(medium: Box<dyn Medium>, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let file = unblocked(move || OpenFile::open(medium, &options)).await?;
        let file = Arc::new(file);
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Ok(Self { writer: Writer::start(Arc::clone(&file))?, file, reads })
    }

    /// Reads a whole file, and checks that its pages are as they were written and that all that is in
    /// them fits together: every history is dense and adds up to its account. Repairs what can be
    /// repaired.
    ///
    /// # Errors
    /// As for [`open`](Self::open); there must be a file, and nobody else may have it open.
    pub async fn check(options: EmbeddedOptions) -> Result<CheckReport, StoreError> {
        let medium = FileMedium::new(&options.path, options.free_bytes_min);
        unblocked(move || check::check(&medium, &options)).await
    }

    /// Reads from one snapshot, where waiting for the disk holds nobody up.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Snapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        // Nobody closes it. The place is free once the thread is, also where the caller has left.
        let place = Arc::clone(&self.reads).acquire_owned().await;
        unblocked(move || {
            let _place = place;
            let snapshot = file.snapshot()?;
            backup::require_whole(&snapshot.transaction.open_table(META).map_err(storage_error)?)?;
            work(&snapshot)
        })
        .await
    }
}

/// Does what may wait for the disk away from the async workers. A damaged file can make redb panic.
async fn unblocked<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(StoreError::Corrupt(damaged("it cannot be read"))),
        Err(_) => Err(StoreError::Unavailable("the server is stopping".to_owned())),
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |snapshot| {
            let Snapshot { transaction, recent, partitions } = snapshot;
            let tables = ReadTables::open(transaction)?;
            let account = |id| Ok(list::filed(&tables, recent, *partitions, id)?.map(|filed| filed.account));
            ids.iter().map(account).collect()
        })
        .await
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        if proposals.is_empty() {
            return Ok(Committed::default());
        }
        let proposals = proposals.to_vec();
        let work = move |transaction: &WriteTransaction, before: Before<'_>| {
            backup::require_whole(&transaction.open_table(META).map_err(storage_error)?)?;
            let (committed, after) = commit::apply(transaction, before, &proposals)?;
            // They come back to be dropped where they were cloned: what they share is in the memory of that
            // processor.
            Ok(((committed, proposals), after))
        };
        self.writer.write(work).await.map(|(committed, _)| committed)
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let query = query.clone();
        self.read(move |snapshot| history::entries(snapshot, &query)).await
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let query = query.clone();
        self.read(move |snapshot| list::accounts(snapshot, &query)).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let after = after.cloned();
        self.read(move |snapshot| list::ids(snapshot, after.as_ref(), limit)).await
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        let count = self.read(|snapshot| {
            snapshot.transaction.open_table(ACCOUNTS).map_err(storage_error)?.len().map_err(storage_error)
        });
        count.await.map(Some)
    }

    async fn health(&self) -> Result<(), StoreError> {
        // By way of the queue: a disk that does not answer holds this up, too.
        self.writer.run(OpenFile::require_writable).await?;
        self.read(|_| Ok(())).await
    }

    fn name(&self) -> String {
        format!("embedded in {}", redacted(&self.file.name()))
    }

    fn durability(&self) -> Durability {
        Durability {
            level: DurabilityLevel::Always,
            replicas: 0,
            description: "what is acknowledged is on this machine's disk".to_owned(),
        }
    }

    fn clock(&self) -> &Timekeeper {
        self.file.clock()
    }

    fn bank_id(&self) -> &str {
        &self.file.identity().bank_id
    }

    fn secret(&self) -> &Secret {
        &self.file.identity().secret
    }

    fn partitions(&self) -> u32 {
        self.file.identity().partitions.count()
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}
