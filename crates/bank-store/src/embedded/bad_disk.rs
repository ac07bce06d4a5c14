//! A disk that loses its power, and one that refuses to write, under the store.
//!
//! What has been written and not synced is lost in any part when the power fails, sector by sector.
//! Killing a process shows nothing of that: the system still writes what the process has written.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bank_domain::Plan;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use redb::{Builder, Database, DatabaseError, StorageBackend};
use tokio::time::sleep;

use super::{
    EmbeddedOptions, EmbeddedStore,
    medium::{Found, Medium},
};
use crate::{
    Outcome, Proposal, StoreError,
    conformance::{
        Bank,
        commands::{deposit, id, transfer},
        seed_from_environment,
    },
};

const SECTOR_BYTES: usize = 512;
const ACCOUNTS: [&str; 4] = ["1", "2", "3", "4"];

#[derive(Clone, Debug)]
struct BadDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: StdRng,
    /// What is on the disk for good.
    durable: Vec<u8>,
    /// What the system takes to be on the disk.
    cached: Vec<u8>,
    /// What has not been synced.
    pending: Vec<Change>,
    /// After so many changes the power fails.
    changes_left: Option<usize>,
    /// How likely each change is to be refused, from 0 to 1.
    rejection_rate: f64,
    /// How likely each sync is to fail half way.
    sync_rejection_rate: f64,
    /// Whether a sync does nothing, and says that it has.
    is_lying: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                image.resize(image.len().max(end), 0);
                image[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl State {
    /// A change that is about to be made; an error if it comes to nothing.
    fn change(&mut self) -> io::Result<()> {
        if self.changes_left == Some(0) {
            return Err(io::Error::other("the power is off"));
        }
        self.changes_left = self.changes_left.map(|left| left - 1);
        if self.random.random_bool(self.rejection_rate) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Writes some of what is not synced, in any order of its sectors, and forgets the rest.
    fn lose_pending(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write(offset, data) => {
                    for (number, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                        if self.random.random_bool(0.5) {
                            let sector = Change::Write(offset + number * SECTOR_BYTES, sector.to_vec());
                            sector.apply(&mut self.durable);
                        }
                    }
                }
                length @ Change::Length(_) => {
                    if self.random.random_bool(0.5) {
                        length.apply(&mut self.durable);
                    }
                }
            }
        }
        self.cached.clone_from(&self.durable);
    }
}

impl BadDisk {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: StdRng::seed_from_u64(seed),
            durable: Vec::new(),
            cached: Vec::new(),
            pending: Vec::new(),
            changes_left: None,
            rejection_rate: 0.0,
            sync_rejection_rate: 0.0,
            is_lying: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn store(&self) -> Result<EmbeddedStore, StoreError> {
        let options = EmbeddedOptions { cache_bytes_max: 1 << 20, ..EmbeddedOptions::default() };
        EmbeddedStore::open_on(Box::new(self.clone()), options).await
    }

    async fn bank(&self) -> Bank {
        Bank::new(Arc::new(self.store().await.unwrap()))
    }
}

impl StorageBackend for BadDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let offset = usize::try_from(offset).unwrap();
        let found = state.cached.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let change = Change::Length(usize::try_from(length).unwrap());
        change.apply(&mut state.cached);
        state.pending.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let rejection_rate = state.sync_rejection_rate;
        if state.random.random_bool(rejection_rate) {
            // As Linux does: what could not be written is not tried again, but stays in memory.
            let cached = state.cached.clone();
            state.lose_pending();
            state.cached = cached;
            return Err(io::Error::other("a sync has failed"));
        }
        if !state.is_lying {
            for change in std::mem::take(&mut state.pending) {
                change.apply(&mut state.durable);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let change = Change::Write(usize::try_from(offset).unwrap(), data.to_vec());
        change.apply(&mut state.cached);
        state.pending.push(change);
        Ok(())
    }
}

impl Medium for BadDisk {
    fn name(&self) -> String {
        "a bad disk".to_owned()
    }

    fn create(&self, builder: &Builder, found: Found<'_>) -> Result<Option<Database>, StoreError> {
        if !self.state().cached.is_empty() {
            return Ok(None);
        }
        let database = builder.create_with_backend(self.clone()).unwrap();
        found(&database)?;
        Ok(Some(database))
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.clone())
    }

    fn forget_cached(&self) {
        let mut state = self.state();
        let pending = state.pending.clone();
        state.cached = state.durable.clone();
        for change in pending {
            change.apply(&mut state.cached);
        }
    }

    fn obstacle(&self) -> Option<String> {
        None
    }
}

/// A bank with money on its accounts.
async fn founded(disk: &BadDisk) -> Bank {
    let bank = disk.bank().await;
    for account_id in ACCOUNTS {
        bank.open_with(account_id, 1_000_000).await;
    }
    bank
}

/// A few movements that build on each other.
async fn some_proposals(bank: &Bank, random: &mut StdRng) -> Vec<Proposal> {
    let mut view = bank.view(&ACCOUNTS).await;
    (0..random.random_range(1..20))
        .map(|_| {
            let (account, other) = (random.random_range(0..3), 3);
            let amount = random.random_range(1..100);
            if random.random_bool(0.5) {
                view.propose(deposit(ACCOUNTS[account], amount))
            } else {
                view.propose(transfer(ACCOUNTS[account], ACCOUNTS[other], amount))
            }
        })
        .collect()
}

/// Every movement of acknowledged commits is there, each once.
async fn assert_all_there(bank: &Bank, acknowledged: &[Vec<Proposal>]) {
    bank.assert_sound().await;
    let mut histories = HashMap::new();
    for account_id in ACCOUNTS {
        histories.insert(id(account_id), bank.history(account_id).await);
    }
    let plans = acknowledged.iter().flatten().map(|proposal| proposal.decision.as_ref().unwrap());
    for change in plans.flat_map(Plan::changes) {
        let place = usize::try_from(change.entry.sequence).unwrap() - 1;
        let found = histories[&change.account.id].get(place);
        assert_eq!(found, Some(&*change.entry), "an acknowledged entry is lost");
    }
}

/// Lets the power fail again and again, each time in the middle of something.
async fn power_trial(seed: u64, is_lying: bool) {
    let disk = BadDisk::new(seed);
    let mut random = StdRng::seed_from_u64(seed);
    drop(founded(&disk).await);
    disk.state().is_lying = is_lying;
    for _ in 0..15 {
        let bank = disk.bank().await;
        disk.state().changes_left = Some(random.random_range(1..150));
        let mut acknowledged = Vec::new();
        let unknown = loop {
            let proposals = some_proposals(&bank, &mut random).await;
            match bank.store().commit(&proposals).await {
                Ok(committed) => assert!(committed.outcomes.iter().all(|it| *it == Outcome::Applied)),
                Err(_) => break proposals,
            }
            acknowledged.push(proposals);
        };
        drop(bank);
        disk.state().lose_pending();
        disk.state().changes_left = None;

        let bank = disk.bank().await;
        assert_all_there(&bank, &acknowledged).await;
        // What was not acknowledged is there or not, and sent again it is there once.
        assert_eq!(bank.commit(&unknown).await.outcomes, vec![Outcome::Applied; unknown.len()]);
        assert_all_there(&bank, &[unknown]).await;
    }
}

#[tokio::test]
async fn what_is_acknowledged_survives_a_loss_of_power() {
    for _ in 0..3 {
        let seed = seed_from_environment();
        eprintln!("BANK_TEST_SEED={seed}");
        power_trial(seed, false).await;
    }
}

/// The trial sees a loss: a disk that lies about having synced loses what was acknowledged.
#[tokio::test]
async fn a_disk_that_lies_is_found_out() {
    let trials = (0..5).map(|seed| tokio::spawn(power_trial(seed, true)));
    let mut found_out = 0;
    for trial in trials {
        found_out += usize::from(trial.await.is_err());
    }
    assert!(found_out > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_back_by_itself_when_the_disk_takes_writes_again() {
    let seed = seed_from_environment();
    eprintln!("BANK_TEST_SEED={seed}");
    let disk = BadDisk::new(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let bank = founded(&disk).await;
    let mut acknowledged = Vec::new();
    for _ in 0..5 {
        disk.state().rejection_rate = 0.02;
        disk.state().sync_rejection_rate = 0.1;
        for _ in 0..5 {
            let proposals = some_proposals(&bank, &mut random).await;
            let committed = bank.commit(&proposals).await;
            assert!(committed.outcomes.iter().all(|outcome| *outcome == Outcome::Applied), "{committed:?}");
            acknowledged.push(proposals);
        }
        // Full: nothing is acknowledged, and health says so.
        disk.state().rejection_rate = 1.0;
        let proposals = some_proposals(&bank, &mut random).await;
        let error = bank.store().commit(&proposals).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(matches!(bank.store().health().await, Err(StoreError::Unavailable(_))));
        assert!(matches!(bank.store().commit(&proposals).await, Err(StoreError::Unavailable(_))));
        disk.state().rejection_rate = 0.0;
        disk.state().sync_rejection_rate = 0.0;
        while bank.store().health().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(bank.commit(&proposals).await.outcomes, vec![Outcome::Applied; proposals.len()]);
        acknowledged.push(proposals);
    }
    assert_all_there(&bank, &acknowledged).await;

    // All of it is on the disk, and not only in the memory of the system.
    disk.state().changes_left = Some(0);
    drop(bank);
    disk.state().lose_pending();
    disk.state().changes_left = None;
    assert_all_there(&disk.bank().await, &acknowledged).await;
}
