//! The contract between the bank and its backends.

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};

use crate::{
    AccountsQuery, Backup, Committed, Durability, EntriesQuery, Placement, Proposal, Secret, StoreError,
    clock::Timekeeper,
};

/// Accounts with their histories, and the outcomes of requests.
///
/// # Guarantees
///
/// * **Atomicity.** The accounts and entries of a proposal become visible together with the record of its request,
///   to every reader in every process. This holds for each proposal, not for a whole commit: a reader may see some
///   of its proposals applied and others not yet.
/// * **Linearizability.** [`Store::load`], [`Store::entries`] and [`Store::accounts`] see every commit that was
///   acknowledged before they were called.
/// * **Idempotency.** The same commit may be sent any number of times. A proposal that was applied the first time
///   is not applied again, and answers [`Outcome::Applied`](crate::Outcome::Applied) again, for as long as its
///   request record is kept. A rejection without a record is compared anew each time, so it may conflict later.
/// * **Order.** The entries of an account are numbered from 1 without gaps, and their times never decrease. The
///   newest entry has the version, balance and hash of the account.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads accounts, in the order of `ids`; `None` for an account that does not exist.
    ///
    /// Each account is consistent. Two of them may be from different instants.
    ///
    /// # Errors
    /// [`StoreError`]. A read can always be repeated.
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError>;

    /// Applies proposals in order, and returns one [`Outcome`](crate::Outcome) for each.
    ///
    /// The first rule that matches decides:
    ///
    /// 1. The request has a record: `Applied` if the record is of this attempt, otherwise `Replayed` or
    ///    `RequestIdReused`. This comes first, so a commit that was applied and is sent again is no conflict.
    /// 2. An account has another head than the proposal was decided on, or belongs to an earlier proposal of this
    ///    commit that was not applied: `Conflict`. The second condition matters because the head may match by
    ///    accident.
    /// 3. The stored data of an account is damaged: `Damaged`.
    /// 4. Otherwise the changes and the record are written: `Applied`.
    ///
    /// A chain ([`Proposal::linked`]) is written as a whole or not at all. Its proposals build on each other, and
    /// all of its request keys differ. For the whole chain, the first rule that matches decides:
    ///
    /// 1. Some requests have records: these answer as above, the others `Abandoned`.
    /// 2. Some proposals are in conflict or damaged: these answer so, the others `Abandoned`.
    /// 3. Some decisions are rejections: only the record of the first rejection is written. It answers `Applied`,
    ///    the others `Abandoned`. Later proposals build on the state before the chain.
    /// 4. Otherwise all are `Applied`.
    ///
    /// # Errors
    /// [`StoreError`]. If its outcome is unknown, some proposals may have been applied: send the same proposals
    /// again to find out.
    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError>;

    /// Reads entries of one account; none if the account does not exist.
    ///
    /// # Errors
    /// [`StoreError`]. A read can always be repeated.
    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError>;

    /// Lists accounts by partition and id, or those of one owner by id.
    ///
    /// One page shows a single instant, so money that moves meanwhile is counted once; where a commit does not span
    /// partitions, that holds for the accounts of each partition. A page with fewer accounts than its limit is the last one. Over all pages each account is listed once; an account that is opened
    /// meanwhile may be missing.
    ///
    /// # Errors
    /// [`StoreError`]. A read can always be repeated.
    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError>;

    /// Lists the ids of all accounts after the given one, in the order of [`Store::accounts`]. Includes accounts
    /// that cannot be read.
    ///
    /// # Errors
    /// [`StoreError`]. A read can always be repeated.
    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// The number of accounts; `None` if the store would have to walk through all of them.
    ///
    /// # Errors
    /// [`StoreError`]. A read can always be repeated.
    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Checks that the store can take commits now.
    ///
    /// # Errors
    /// [`StoreError`] with the reason why it cannot.
    async fn health(&self) -> Result<(), StoreError>;

    /// What does not change while the store is open.
    fn properties(&self) -> &StoreProperties;

    /// See [`StoreProperties::name`].
    fn name(&self) -> String {
        self.properties().name.clone()
    }

    /// See [`StoreProperties::durability`].
    fn durability(&self) -> Durability {
        self.properties().durability.clone()
    }

    /// See [`StoreProperties::clock`].
    fn clock(&self) -> &Timekeeper {
        &self.properties().clock
    }

    /// See [`StoreProperties::bank_id`].
    fn bank_id(&self) -> &str {
        &self.properties().bank_id
    }

    /// See [`StoreProperties::secret`].
    fn secret(&self) -> &Secret {
        &self.properties().secret
    }

    /// See [`StoreProperties::placement`].
    fn placement(&self) -> Placement {
        self.properties().placement
    }

    /// Waits for an epoch later than the given one. The first is 0.
    ///
    /// An epoch ends when the store may have gone back to an earlier state unnoticed: when its connection was lost
    /// and made again. Who remembers acknowledged entries can then check that they are still there. The epoch of a
    /// store that never goes back does not end.
    async fn epoch_after(&self, _epoch: u64) -> u64 {
        std::future::pending().await
    }

    /// Export and import; `None` if this store only wraps another.
    fn backup(&self) -> Option<&dyn Backup> {
        None
    }

    /// Writes what makes the next start fast, and releases exclusive resources. No acknowledged write depends on
    /// it. Every later call fails.
    async fn close(&self) {}

    /// The number of lanes. Proposals of one lane can share a commit.
    fn lanes(&self) -> usize {
        1
    }

    /// The lane of an account, less than [`Store::lanes`].
    fn lane(&self, _account_id: &AccountId) -> usize {
        0
    }
}

/// What does not change while a store is open.
#[derive(Clone, Debug)]
pub struct StoreProperties {
    /// A description without secrets: `memory`, `redis at 127.0.0.1:6379`.
    pub name: String,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// The clock of the store and of everything that uses it.
    pub clock: Timekeeper,
    /// Identifies this bank: drawn when it was initialized, and stored in it.
    pub bank_id: String,
    /// A secret that all servers of this bank share. It never changes.
    pub secret: Secret,
    /// Where accounts are placed, fixed when the bank was initialized.
    pub placement: Placement,
    /// Whether a proposal or a chain may have accounts of several partitions. False for a Redis Cluster, which commits each
    /// partition on its own: [`Store::commit`] fails then.
    pub commits_span_partitions: bool,
}
