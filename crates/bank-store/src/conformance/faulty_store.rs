//! A store that fails before or after the effect of a call.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    AccountsQuery, Backup, Committed, EntriesQuery, ImportBatch, ImportId, ImportStart, Proposal, RequestKey,
    RequestRecord, RequestsQuery, Store, StoreError, StoreProperties,
};

/// The faults of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The store is unavailable, and nothing is done.
    Unavailable,
    /// The request is lost: the outcome is unknown, and nothing is done.
    RequestLost,
    /// The reply is lost: the outcome is unknown, and everything is done.
    ReplyLost,
    /// The store crashes half way: the outcome is unknown, and the first half is done.
    HalfDone,
    /// The commit is delayed: the outcome is unknown, and it is done later, after other commits.
    Delayed,
}

const FAULTS: [Fault; 5] =
    [Fault::Unavailable, Fault::RequestLost, Fault::ReplyLost, Fault::HalfDone, Fault::Delayed];

/// A store that passes calls on to another, and fails now and then. Equal seeds and calls give equal faults.
///
/// Reads fail as well; health checks do not.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    /// The probability of each fault, and of the failure of a read.
    fault_rate: f64,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    delayed: Vec<Vec<Proposal>>,
    injected: BTreeMap<Fault, usize>,
}

impl FaultyStore {
    /// Wraps a store. `fault_rate` is the probability of each kind of fault.
    pub fn new(inner: Arc<dyn Store>, fault_rate: f64, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let state = State { random, delayed: Vec::new(), injected: BTreeMap::new() };
        Self { inner, fault_rate, state: Mutex::new(state) }
    }

    /// Whether every kind of fault has happened.
    pub fn has_injected_all(&self) -> bool {
        self.state.lock().unwrap().injected.len() == FAULTS.len()
    }

    /// Delivers all delayed commits.
    ///
    /// # Errors
    /// Those of the wrapped store.
    pub async fn deliver_delayed(&self) -> Result<(), StoreError> {
        let delayed = mem::take(&mut self.state.lock().unwrap().delayed);
        for proposals in delayed {
            self.inner.commit(&proposals).await?;
        }
        Ok(())
    }

    fn fault(&self) -> Option<Fault> {
        let State { random, injected, .. } = &mut *self.state.lock().unwrap();
        let fault = FAULTS.into_iter().find(|_| random.random_bool(self.fault_rate))?;
        *injected.entry(fault).or_default() += 1;
        Some(fault)
    }

    /// Delivers a random delayed commit now and then.
    async fn deliver_one(&self) -> Result<(), StoreError> {
        let proposals = {
            let State { random, delayed, .. } = &mut *self.state.lock().unwrap();
            if delayed.is_empty() || random.random_bool(0.7) {
                return Ok(());
            }
            let index = random.random_range(0..delayed.len());
            delayed.swap_remove(index)
        };
        self.inner.commit(&proposals).await.map(drop)
    }

    async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let is_lost = self.state.lock().unwrap().random.random_bool(self.fault_rate);
        if is_lost { Err(StoreError::OutcomeUnknown("a read was lost".to_owned())) } else { read.await }
    }

    /// The import calls of the wrapped store, which has them if this method is called.
    fn inner_backup(&self) -> &dyn Backup {
        self.inner.backup().unwrap()
    }

    /// Makes a call of an import. Such a call can be sent again as a whole, and not in part.
    async fn import_call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.fault() {
            None => return call.await,
            Some(Fault::Unavailable) => return Err(StoreError::Unavailable("an injected fault".to_owned())),
            Some(Fault::RequestLost | Fault::HalfDone | Fault::Delayed) => {}
            Some(Fault::ReplyLost) => drop(call.await?),
        }
        Err(StoreError::OutcomeUnknown("an injected fault".to_owned()))
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        self.deliver_one().await?;
        match self.fault() {
            None => return self.inner.commit(proposals).await,
            Some(Fault::Unavailable) => return Err(StoreError::Unavailable("an injected fault".to_owned())),
            Some(Fault::RequestLost) => {}
            Some(Fault::ReplyLost) => drop(self.inner.commit(proposals).await?),
            Some(Fault::HalfDone) => {
                // A chain is never divided.
                let half = &proposals[..proposals.len() / 2];
                let whole = half.iter().rposition(|proposal| !proposal.linked).map_or(0, |last| last + 1);
                self.inner.commit(&half[..whole]).await?;
            }
            Some(Fault::Delayed) => self.state.lock().unwrap().delayed.push(proposals.to_vec()),
        }
        Err(StoreError::OutcomeUnknown("an injected fault".to_owned()))
    }

    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        self.read(self.inner.load(ids)).await
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        self.read(self.inner.entries(query)).await
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        self.read(self.inner.accounts(query)).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.read(self.inner.account_ids(after, limit)).await
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        self.read(self.inner.account_count()).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.inner.health().await
    }

    fn properties(&self) -> &StoreProperties {
        self.inner.properties()
    }

    async fn epoch_after(&self, epoch: u64) -> u64 {
        self.inner.epoch_after(epoch).await
    }

    fn backup(&self) -> Option<&dyn Backup> {
        self.inner.backup().map(|_| self as &dyn Backup)
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn lanes(&self) -> usize {
        self.inner.lanes()
    }

    fn lane(&self, account_id: &AccountId) -> usize {
        self.inner.lane(account_id)
    }
}

#[async_trait]
impl Backup for FaultyStore {
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<(RequestKey, RequestRecord)>, StoreError> {
        self.read(self.inner_backup().requests(query)).await
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError> {
        self.import_call(self.inner_backup().begin_import(import)).await
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        self.import_call(self.inner_backup().import(import, batch)).await
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.import_call(self.inner_backup().finish_import(import)).await
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.import_call(self.inner_backup().abandon_import(import)).await
    }
}
