//! A store that fails before or after the effect of a call.

use std::{
    collections::HashSet,
    mem,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{AccountsQuery, Backup, Committed, EntriesQuery, Proposal, Store, StoreError, StoreProperties};

/// The faults of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
/// Reads fail as well; health checks, exports and imports do not.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    /// The probability of each fault, and of the failure of a read.
    fault_rate: f64,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    delayed: Vec<Vec<Proposal>>,
    injected: HashSet<Fault>,
}

impl FaultyStore {
    /// Wraps a store. `fault_rate` is the probability of each kind of fault.
    pub fn new(inner: Arc<dyn Store>, fault_rate: f64, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let state = State { random, delayed: Vec::new(), injected: HashSet::new() };
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
        injected.insert(fault);
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

    fn backup(&self) -> Option<&dyn Backup> {
        self.inner.backup()
    }

    fn lanes(&self) -> usize {
        self.inner.lanes()
    }

    fn lane(&self, account_id: &AccountId) -> usize {
        self.inner.lane(account_id)
    }
}
