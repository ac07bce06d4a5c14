//! A bank in one file on this machine, with [redb](https://docs.rs/redb).
//!
//! A commit is one transaction and is on disk before it is acknowledged; its proposals share one `fsync`. Only one server
//! can have the file open.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | field | the identity of the bank (`bank_id`, `secret`, `layout`, `partitions`, `request_window_seconds`), `heads_through`, `aged_to_ms`, and the latest `import` |
//! | `accounts` | partition, account id | the number of the account, and its properties without what its newest entry says |
//! | `log` | position of the first entry | entries in the order of commits, as many as fill a page, each with the position of the previous entry of its account |
//! | `heads` | number / 500 | the positions of the newest entries of 500 accounts, as of `heads_through` |
//! | `milestones` | account id, time, sequence | the position of every 64th entry of an account |
//! | `owners` | owner, account id | nothing: the accounts of an owner |
//! | `requests` | window of time, request id, account id, caller | the record of a request |
//!
//! The cost of a commit is the number of pages and rows that it changes. So entries of all accounts are added to the end of
//! the log, and records to the end of their table, since the request ids that clients generate grow with time. The row of an
//! account does not change with movements. The positions of newest entries are written once in a while (`heads`).
//!
//! Cost: one row in the table of records for each proposal; one row in the log for each page of entries; three look-ups for
//! an account that is not in the cache; one look-up in each window of records for a request id that is not greater than all
//! others. Memory: the caches, the positions of the newest entries among the last 65,536, and what a commit or a reply holds.

mod accounts;
mod ages;
mod backup;
mod check;
mod codec;
mod commit;
mod database;
mod errors;
mod file;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heads;
mod history;
mod import;
mod log;
mod medium;
mod options;
mod requests;
mod snapshot;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, redacted};
use redb::{ReadableTableMetadata as _, WriteTransaction};
use tokio::{sync::Semaphore, task::spawn_blocking};

pub use self::{check::CheckReport, options::EmbeddedOptions};
use self::{
    commit::Before,
    database::OpenFile,
    medium::{FileMedium, Medium},
    snapshot::Snapshot,
    tables::{ACCOUNTS, META, ReadTables},
    writer::Writer,
};
use crate::{
    AccountsQuery, Backup, Committed, Durability, DurabilityLevel, EntriesQuery, Proposal, Store, StoreError,
    StoreProperties, identity::Identity,
};

/// The maximum number of concurrent reads; others wait. Each needs a thread, and a disk is not faster with more.
const READS_MAX: usize = 32;

/// A bank in a file. Dropping it finishes pending writes and closes the file.
pub struct EmbeddedStore {
    properties: StoreProperties,
    file: Arc<OpenFile>,
    writer: Writer,
    reads: Arc<Semaphore>,
}

impl EmbeddedStore {
    /// Opens the file, or creates it with a new bank. A file that was not closed cleanly is checked first, which reads all
    /// of it.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] if the file cannot be used, with what to change; [`StoreError::Corrupt`] if it is
    /// damaged.
    pub async fn open(options: EmbeddedOptions) -> Result<Self, StoreError> {
        let medium = FileMedium::new(&options.path, options.free_bytes_min);
        Self::open_on(Box::new(medium), options).await
    }

    async fn open_on(medium: Box<dyn Medium>, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let clock = options.clock.clone();
        let file = Arc::new(unblocked(move || OpenFile::open(medium, &options)).await?);
        let Identity { bank_id, secret, placement, .. } = file.identity().clone();
        let properties = StoreProperties {
            name: format!("embedded in {}", redacted(&file.name())),
            durability: Durability {
                level: DurabilityLevel::Always,
                replicas: 0,
                description: "what is acknowledged is on this machine's disk".to_owned(),
            },
            clock,
            bank_id,
            secret,
            placement,
            commits_span_partitions: true,
        };
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Ok(Self { properties, writer: Writer::start(Arc::clone(&file))?, file, reads })
    }

    /// Checks a whole file: that its pages are intact, and that its tables agree, so that every history is complete and adds
    /// up to its account. Repairs damaged pages if possible.
    ///
    /// # Errors
    /// Those of [`open`](Self::open). The file must exist and must not be open.
    pub async fn check(options: EmbeddedOptions) -> Result<CheckReport, StoreError> {
        let medium = FileMedium::new(&options.path, options.free_bytes_min);
        unblocked(move || check::check(&medium, &options)).await
    }

    /// Reads from one snapshot, in a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Snapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        // The semaphore is never closed. The thread keeps the permit, also when the caller is gone.
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        unblocked(move || {
            let _permit = permit;
            let snapshot = file.snapshot()?;
            import::require_unmarked(&snapshot.transaction.open_table(META)?)?;
            work(&snapshot)
        })
        .await
    }
}

/// Runs `work` in a thread that may wait for the disk. A damaged file can make redb panic.
async fn unblocked<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(StoreError::Corrupt(errors::damaged("it cannot be read"))),
        Err(_) => Err(StoreError::Unavailable("the server is shutting down".to_owned())),
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |snapshot| {
            let Snapshot { transaction, recent, placement } = snapshot;
            let tables = ReadTables::open(transaction)?;
            let account =
                |id| Ok(accounts::read(&tables, recent, *placement, id)?.map(|stored| stored.account));
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
            import::require_unmarked(&transaction.open_table(META)?)?;
            let (committed, after) = commit::apply(transaction, before, &proposals)?;
            // The proposals are returned to be dropped by the thread that cloned them, which has them in its cache.
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
        self.read(move |snapshot| accounts::list(snapshot, &query)).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let after = after.cloned();
        self.read(move |snapshot| accounts::list_ids(snapshot, after.as_ref(), limit)).await
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        self.read(|snapshot| Ok(Some(snapshot.transaction.open_table(ACCOUNTS)?.len()?))).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        // Goes through the queue, so a disk that does not answer is noticed.
        self.writer.run(OpenFile::require_writable).await?;
        self.read(|_| Ok(())).await
    }

    fn properties(&self) -> &StoreProperties {
        &self.properties
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}
