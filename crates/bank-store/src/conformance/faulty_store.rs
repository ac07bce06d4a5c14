//! A store that fails, before the effect or after it.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    AccountsQuery, Backup, Committed, Durability, EntriesQuery, ImportBatch, ImportId, ImportStart, Proposal,
    RequestKey, RequestRecord, RequestsQuery, Secret, Store, StoreError, clock::Timekeeper,
};

/// How likely each fault is, from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct FaultRates {
    /// A read does not come through.
    pub read_lost: f64,
    /// A commit is turned away: [`StoreError::Unavailable`], and nothing is done.
    pub commit_refused: f64,
    /// A commit is lost on its way: [`StoreError::OutcomeUnknown`], and nothing is done.
    pub request_lost: f64,
    /// The answer is lost on its way: [`StoreError::OutcomeUnknown`], and all is done.
    pub reply_lost: f64,
    /// The store dies half way: [`StoreError::OutcomeUnknown`], and the first half is done.
    pub half_done: f64,
    /// A commit is held up: [`StoreError::OutcomeUnknown`], and it is done later, after others.
    pub delayed: f64,
}

impl FaultRates {
    /// No faults: a decorator that does nothing.
    pub const NONE: Self = Self {
        read_lost: 0.0,
        commit_refused: 0.0,
        request_lost: 0.0,
        reply_lost: 0.0,
        half_done: 0.0,
        delayed: 0.0,
    };

    /// Every fault is as likely as this.
    pub const fn all(rate: f64) -> Self {
        Self {
            read_lost: rate,
            commit_refused: rate,
            request_lost: rate,
            reply_lost: rate,
            half_done: rate,
            delayed: rate,
        }
    }
}

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    CommitRefused,
    RequestLost,
    ReplyLost,
    HalfDone,
    Delayed,
}

/// Hands calls on to another store, and fails now and then.
///
/// Equal seeds fail equally in equal orders of calls.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    rates: FaultRates,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    /// Commits that are still on their way.
    delayed: Vec<Vec<Proposal>>,
    injected: BTreeMap<Fault, usize>,
}

impl FaultyStore {
    /// Fails as often as told, by a seed.
    pub fn new(inner: Arc<dyn Store>, rates: FaultRates, seed: u64) -> Self {
        let state =
            State { random: StdRng::seed_from_u64(seed), delayed: Vec::new(), injected: BTreeMap::new() };
        Self { inner, rates, state: Mutex::new(state) }
    }

    /// Whether every kind of fault has happened to some commit.
    pub fn has_injected_all(&self) -> bool {
        self.state.lock().unwrap().injected.len() == 5
    }

    /// Lets every commit arrive that is still on its way.
    ///
    /// # Errors
    /// As the store below has them.
    pub async fn deliver_delayed(&self) -> Result<(), StoreError> {
        let delayed = mem::take(&mut self.state.lock().unwrap().delayed);
        for proposals in delayed {
            self.inner.commit(&proposals).await?;
        }
        Ok(())
    }

    fn fault(&self) -> Option<Fault> {
        let State { random, injected, .. } = &mut *self.state.lock().unwrap();
        let rates = [
            (Fault::CommitRefused, self.rates.commit_refused),
            (Fault::RequestLost, self.rates.request_lost),
            (Fault::ReplyLost, self.rates.reply_lost),
            (Fault::HalfDone, self.rates.half_done),
            (Fault::Delayed, self.rates.delayed),
        ];
        let (fault, _) = rates.into_iter().find(|(_, rate)| random.random_bool(*rate))?;
        *injected.entry(fault).or_default() += 1;
        Some(fault)
    }

    /// Delayed commits arrive some time later, in any order.
    async fn deliver_one(&self) -> Result<(), StoreError> {
        let arrived = {
            let State { random, delayed, .. } = &mut *self.state.lock().unwrap();
            if delayed.is_empty() || random.random_bool(0.7) {
                return Ok(());
            }
            let place = random.random_range(0..delayed.len());
            delayed.swap_remove(place)
        };
        self.inner.commit(&arrived).await.map(|_| ())
    }

    fn before_read(&self) -> Result<(), StoreError> {
        let is_lost = self.state.lock().unwrap().random.random_bool(self.rates.read_lost);
        if is_lost { Err(StoreError::OutcomeUnknown("a read was lost".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        self.deliver_one().await?;
        let unknown = |what: &str| Err(StoreError::OutcomeUnknown(what.to_owned()));
        match self.fault() {
            None => self.inner.commit(proposals).await,
            Some(Fault::CommitRefused) => Err(StoreError::Unavailable("a commit was refused".to_owned())),
            Some(Fault::RequestLost) => unknown("a commit was lost"),
            Some(Fault::ReplyLost) => {
                self.inner.commit(proposals).await?;
                unknown("a reply was lost")
            }
            Some(Fault::HalfDone) => {
                // A chain is all or nothing, so it is never cut in two.
                let mut half = proposals.len() / 2;
                while half > 0 && proposals[half - 1].linked {
                    half -= 1;
                }
                self.inner.commit(&proposals[..half]).await?;
                unknown("a commit was cut short")
            }
            Some(Fault::Delayed) => {
                self.state.lock().unwrap().delayed.push(proposals.to_vec());
                unknown("a commit was delayed")
            }
        }
    }

    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        self.before_read()?;
        self.inner.load(ids).await
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        self.before_read()?;
        self.inner.entries(query).await
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        self.before_read()?;
        self.inner.accounts(query).await
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.before_read()?;
        self.inner.account_ids(after, limit).await
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        self.before_read()?;
        self.inner.account_count().await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.inner.health().await
    }

    fn clock(&self) -> &Timekeeper {
        self.inner.clock()
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn bank_id(&self) -> &str {
        self.inner.bank_id()
    }

    fn secret(&self) -> &Secret {
        self.inner.secret()
    }

    async fn epoch_after(&self, epoch: u64) -> u64 {
        self.inner.epoch_after(epoch).await
    }

    fn partitions(&self) -> u32 {
        self.inner.partitions()
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

impl FaultyStore {
    /// What is below, which has been asked for before.
    fn inner_backup(&self) -> &dyn Backup {
        self.inner.backup().unwrap()
    }

    /// Makes a call of an import, which can be sent again as a whole and not in half.
    async fn importing<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let unknown = || Err(StoreError::OutcomeUnknown("a call of an import was lost".to_owned()));
        match self.fault() {
            None => call.await,
            Some(Fault::CommitRefused) => Err(StoreError::Unavailable("an import was refused".to_owned())),
            Some(Fault::RequestLost | Fault::HalfDone | Fault::Delayed) => unknown(),
            Some(Fault::ReplyLost) => {
                call.await?;
                unknown()
            }
        }
    }
}

#[async_trait]
impl Backup for FaultyStore {
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<(RequestKey, RequestRecord)>, StoreError> {
        self.before_read()?;
        self.inner_backup().requests(query).await
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError> {
        self.importing(self.inner_backup().begin_import(import)).await
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        self.importing(self.inner_backup().import(import, batch)).await
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.importing(self.inner_backup().finish_import(import)).await
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.importing(self.inner_backup().abandon_import(import)).await
    }
}
