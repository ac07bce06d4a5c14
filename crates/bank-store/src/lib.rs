//! Where the bank keeps accounts, entries and request records.
//!
//! A [`Store`] knows no rule of the bank. It holds accounts, and applies a [`Proposal`] if and only
//! if every account that the proposal was decided on is still as it was then: its head, the hash of its newest entry, is still the same. So
//! the rules run in one place, on every backend, and a decision on stale state cannot take effect.
//!
//! | backend | holds | for |
//! |---|---|---|
//! | [`MemoryStore`] | this process's memory | tests; the reference of the contract |
//! | [`EmbeddedStore`] | one file, on redb | one durable server that needs nothing else |
//! | [`RedisStore`] | Redis 7.0 or newer, or Valkey | many servers, one bank |
//!
//! The feature `conformance` has the suite that every backend passes.

mod backup;
mod checks;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod durability;
pub mod embedded;
mod error;
mod memory;
mod partition;
mod proposal;
mod query;
pub mod redis;
mod secret;

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};

use self::clock::Timekeeper;

pub use backup::{
    Backup, HistoryPart, ImportBatch, ImportBegun, ImportId, KeptOutcome, KeptRequest, RequestsQuery,
    partition_of,
};
pub use durability::{Durability, DurabilityLevel};
pub use embedded::EmbeddedStore;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use proposal::{Attempt, Caller, Committed, Outcome, Proposal, Recorded, RequestKey};
pub use query::{AccountsQuery, EntriesQuery, Order};
pub use redis::RedisStore;
pub use secret::Secret;

/// Accounts with their histories, and the outcomes of requests.
///
/// # What an observer may see
///
/// * **Atomicity.** The accounts and entries of one proposal and the record of its request become
///   visible together or not at all, to every reader, in every process. That holds for each
///   proposal on its own, not for a batch: a reader may see a batch half applied.
/// * **Linearizability.** [`Store::load`], [`Store::entries`] and [`Store::accounts`] see every commit
///   that was answered before they were called.
/// * **Idempotency.** A commit may be sent again, by this process, as often as it likes: each
///   proposal that was applied the first time answers [`Outcome::Applied`] again, and is not
///   applied again. That holds for as long as request records are kept. A rejection that is not
///   recorded is compared anew each time, since it left nothing: it may conflict where it did not.
/// * **Order.** The entries of an account are dense from 1, their times never run backwards, and
///   the newest carries the account's version, balance and hash.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The accounts as they are now, in the order asked for; `None` for one that does not exist.
    ///
    /// Each account is consistent in itself. Two of them may be from different instants.
    ///
    /// # Errors
    /// [`StoreError`]; a read is always safe to repeat.
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError>;

    /// Applies proposals, in order, and answers one outcome for each.
    ///
    /// For each proposal, the first of these that holds:
    ///
    /// 1. Its request has a record: [`Outcome::Applied`] if the record is of this very attempt, else
    ///    [`Outcome::Replayed`] or [`Outcome::RequestIdReused`]. This comes before the heads are
    ///    compared: else a commit that was applied and sent again would report a false conflict.
    /// 2. An account that it was decided on has another head, or was part of an earlier proposal
    ///    of this commit that did not apply: [`Outcome::Conflict`]. The second matters where
    ///    proposals build on each other: the head may match by accident.
    /// 3. What is stored of an account that it would change is not what the bank writes:
    ///    [`Outcome::Damaged`].
    /// 4. Otherwise its changes and its record are written: [`Outcome::Applied`].
    ///
    /// A chain ([`Proposal::linked`]) is written as a whole or not at all. Its proposals build on each
    /// other, and its requests are all different. Of the whole chain, the first of these that holds:
    ///
    /// 1. Some of its requests have records: each of these answers as above, the others
    ///    [`Outcome::Abandoned`].
    /// 2. Some answer [`Outcome::Conflict`] or [`Outcome::Damaged`]: the others [`Outcome::Abandoned`].
    /// 3. Some of its decisions are rejections: the record of the first one is all that is written. That one
    ///    answers [`Outcome::Applied`] and the others [`Outcome::Abandoned`]; what comes after the chain
    ///    builds on what was before it.
    /// 4. Otherwise all are [`Outcome::Applied`].
    ///
    /// # Errors
    /// [`StoreError`]. Where its outcome is unknown, some proposals may have been applied: send the
    /// same ones again to find out.
    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError>;

    /// Entries of one account; none for an account that does not exist.
    ///
    /// # Errors
    /// [`StoreError`]; a read is always safe to repeat.
    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError>;

    /// Accounts, each exactly once over all pages: all of them in the order of their partition and
    /// then their id, those of one owner in the order of their id.
    ///
    /// They are as they all were at one instant, so money that is moved meanwhile is seen once, on one
    /// side or on the other. Fewer than asked for means that there are no more. An account that is
    /// opened meanwhile may or may not be among them.
    ///
    /// # Errors
    /// [`StoreError`]; a read is always safe to repeat.
    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError>;

    /// The ids of all accounts in the order of [`Store::accounts`], beyond the one given, at most so
    /// many; those of accounts too that cannot be read.
    ///
    /// # Errors
    /// [`StoreError`]; a read is always safe to repeat.
    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// How many accounts there are, if that takes no walk through all of them.
    ///
    /// # Errors
    /// [`StoreError`]; a read is always safe to repeat.
    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Whether the store can take commits now.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot: why.
    async fn health(&self) -> Result<(), StoreError>;

    /// What it is, in words: `memory`, `redis at 127.0.0.1:6379`. Never a secret.
    fn name(&self) -> String;

    /// What an acknowledged write survives, and what it does not.
    fn durability(&self) -> Durability;

    /// What the store goes by for the time, and so whoever uses it.
    fn clock(&self) -> &Timekeeper;

    /// What tells this bank from any other: drawn when it was founded, and kept with it.
    fn bank_id(&self) -> &str;

    /// What only the servers of this bank know; the same for all of them, and for good.
    fn secret(&self) -> &Secret;

    /// Waits for an epoch later than this one. They count from 0.
    ///
    /// An epoch ends when the store may have gone back to an earlier state without anybody being
    /// told: when the connection to it was lost and made anew. Whoever remembers what was
    /// acknowledged in earlier epochs can look whether it is still there. The epoch of a store that
    /// never goes back does not end.
    async fn epoch_after(&self, _epoch: u64) -> u64 {
        std::future::pending().await
    }

    /// How many partitions the accounts are spread over: fixed when the bank was founded.
    fn partitions(&self) -> u32;

    /// What backs the bank up and restores it; none where the store only stands for another.
    fn backup(&self) -> Option<&dyn Backup> {
        None
    }

    /// Writes down what makes the next opening fast, and lets go of what only one process may
    /// hold. Nothing acknowledged depends on it. Every call after it fails.
    async fn close(&self) {}

    /// How many lanes there are. Proposals on one lane can share a commit.
    fn lanes(&self) -> usize {
        1
    }

    /// The lane that an account is on, below [`Store::lanes`].
    fn lane(&self, _account_id: &AccountId) -> usize {
        0
    }
}
