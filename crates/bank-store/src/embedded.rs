//! One file on this machine, on [redb](https://docs.rs/redb): durable, and nothing else to run.
//!
//! A commit is one transaction, on disk before it is acknowledged: a batch shares one `fsync`. The
//! file serves one server at a time.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `meta` | field | what this bank is: `bank_id`, `layout`, `partitions`, `request_window_seconds`; the newest `import` |
//! | `accounts` | partition, account id | an account, and where in the log its newest entry is |
//! | `log` | position, in the order of commits | an entry, and where the one before it on its account is |
//! | `milestones` | account id, time, sequence | where every 64th entry of an account is |
//! | `owners` | owner, account id | nothing: which accounts an owner has |
//! | `requests` | window of time, request id, account id, caller | the outcome of a request |
//!
//! Entries of all accounts share the log, and records of new requests lie side by side (the ids that
//! clients make grow with time), so that a commit changes few pages of the file however many accounts
//! it touches: what a commit costs is the pages that it changes. A history is a list that runs
//! backwards through the log.
//!
//! Cost: for each proposal one look-up for each window of request records, one insertion into the log
//! for each entry and one of a record; for each distinct account, one look-up and one insertion. Memory:
//! the cache, and what a commit or a reply holds.

mod backup;
#[cfg(test)]
mod bad_disk;
mod check;
mod codec;
mod commit;
mod file;
mod history;
mod list;
mod medium;
mod options;
mod requests;
mod tables;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};
use redb::{ReadTransaction, ReadableTableMetadata as _};
use tokio::task::spawn_blocking;

pub use self::{check::Checked, options::EmbeddedOptions};
use self::{
    file::{damaged, storage_error},
    medium::{FileMedium, Medium},
    requests::Retention,
    tables::{ACCOUNTS, META},
    writer::{OpenFile, Writer},
};
use crate::{
    AccountsQuery, Backup, Committed, Durability, DurabilityLevel, EntriesQuery, Proposal, Store, StoreError,
    partition::Partitions,
};

/// A bank kept in a file. Dropping it finishes what is being written, and closes the file.
pub struct EmbeddedStore {
    file: Arc<OpenFile>,
    writer: Writer,
    partitions: Partitions,
    retention: Retention,
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
        let seconds = file::retention_seconds(&options);
        let file = unblocked(move || OpenFile::open(medium, &options)).await?;
        let window_seconds = file.identity().request_window_seconds;
        let file = Arc::new(file);
        Ok(Self {
            writer: Writer::start(Arc::clone(&file))?,
            partitions: file.identity().partitions,
            retention: Retention { seconds, window_seconds },
            file,
        })
    }

    /// Reads a whole file, and checks that its pages are as they were written and that all that is in
    /// them fits together: every history is dense and adds up to its account. Repairs what can be
    /// repaired.
    ///
    /// # Errors
    /// As for [`open`](Self::open); there must be a file, and nobody else may have it open.
    pub async fn check(options: EmbeddedOptions) -> Result<Checked, StoreError> {
        let medium = FileMedium::new(&options.path, options.free_bytes_min);
        unblocked(move || check::check(&medium, &options)).await
    }

    /// Reads from one snapshot, where waiting for the disk holds nobody up.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction, Partitions) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (file, partitions) = (Arc::clone(&self.file), self.partitions);
        unblocked(move || {
            let snapshot = file.snapshot()?;
            backup::require_whole(&snapshot.open_table(META).map_err(storage_error)?)?;
            work(&snapshot, partitions)
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
        self.read(move |transaction, partitions| {
            let accounts = transaction.open_table(ACCOUNTS).map_err(storage_error)?;
            let account = |id| Ok(list::filed(&accounts, partitions, id)?.map(|filed| filed.account));
            ids.iter().map(account).collect()
        })
        .await
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        if proposals.is_empty() {
            return Ok(Committed::default());
        }
        let (partitions, retention) = (self.partitions, self.retention);
        let proposals = proposals.to_vec();
        self.writer
            .write(move |transaction| {
                backup::require_whole(&transaction.open_table(META).map_err(storage_error)?)?;
                commit::apply(transaction, partitions, retention, &proposals)
            })
            .await
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let query = query.clone();
        self.read(move |transaction, partitions| history::entries(transaction, partitions, &query)).await
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let query = query.clone();
        self.read(move |transaction, partitions| list::accounts(transaction, partitions, &query)).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let after = after.cloned();
        self.read(move |transaction, partitions| list::ids(transaction, partitions, after.as_ref(), limit))
            .await
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        let count = self.read(|transaction, _| {
            transaction.open_table(ACCOUNTS).map_err(storage_error)?.len().map_err(storage_error)
        });
        count.await.map(Some)
    }

    async fn health(&self) -> Result<(), StoreError> {
        // By way of the queue: a disk that does not answer holds this up, too.
        self.writer.run(OpenFile::require_writable).await?;
        self.read(|_, _| Ok(())).await
    }

    fn name(&self) -> String {
        format!("embedded in {}", self.file.name())
    }

    fn durability(&self) -> Durability {
        Durability {
            level: DurabilityLevel::Always,
            replicas: 0,
            words: "what is acknowledged is on this machine's disk".to_owned(),
        }
    }

    fn bank_id(&self) -> &str {
        &self.file.identity().bank_id
    }

    fn partitions(&self) -> u32 {
        self.partitions.count()
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}
