//! The store on a simulated disk that loses power, or refuses to write.
//!
//! When the power fails, any sectors that were written and not synced are lost. Killing a process does not show that, since
//! the operating system still writes what the process has written.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bank_domain::{Change, Entry, Plan};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use redb::{Builder, Database, DatabaseError, StorageBackend};
use tokio::time::sleep;

use super::{
    EmbeddedOptions, EmbeddedStore, check,
    medium::{Initialize, Medium},
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

fn options() -> EmbeddedOptions {
    EmbeddedOptions { cache_bytes_max: 1 << 20, ..EmbeddedOptions::default() }
}

#[derive(Clone, Debug)]
struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: StdRng,
    /// What survives a power failure.
    durable: Vec<u8>,
    /// What reads show.
    cached: Vec<u8>,
    /// Changes that are not synced.
    pending: Vec<DiskChange>,
    /// The number of changes until the power fails.
    changes_left: Option<usize>,
    /// The probability that a change is refused.
    failure_rate: f64,
    /// The probability that a sync fails half way.
    sync_failure_rate: f64,
    /// Whether syncs report success without doing anything.
    ignores_syncs: bool,
}

#[derive(Clone, Debug)]
enum DiskChange {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl DiskChange {
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
    /// Fails if the next change is to fail.
    fn before_change(&mut self) -> io::Result<()> {
        if self.changes_left == Some(0) {
            return Err(io::Error::other("the power is off"));
        }
        self.changes_left = self.changes_left.map(|left| left - 1);
        if self.random.random_bool(self.failure_rate) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Writes a random half of the sectors that are not synced, and drops the others.
    fn lose_pending(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                DiskChange::Write(offset, data) => {
                    for (number, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                        if self.random.random_bool(0.5) {
                            let sector = DiskChange::Write(offset + number * SECTOR_BYTES, sector.to_vec());
                            sector.apply(&mut self.durable);
                        }
                    }
                }
                length @ DiskChange::Length(_) => {
                    if self.random.random_bool(0.5) {
                        length.apply(&mut self.durable);
                    }
                }
            }
        }
        self.cached.clone_from(&self.durable);
    }
}

impl FaultyDisk {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: StdRng::seed_from_u64(seed),
            durable: Vec::new(),
            cached: Vec::new(),
            pending: Vec::new(),
            changes_left: None,
            failure_rate: 0.0,
            sync_failure_rate: 0.0,
            ignores_syncs: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn bank(&self) -> Bank {
        Bank::new(Arc::new(EmbeddedStore::open_on(Box::new(self.clone()), options()).await.unwrap()))
    }

    fn restore_power(&self) {
        let mut state = self.state();
        state.lose_pending();
        state.changes_left = None;
    }
}

impl StorageBackend for FaultyDisk {
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
        state.before_change()?;
        let change = DiskChange::Length(usize::try_from(length).unwrap());
        change.apply(&mut state.cached);
        state.pending.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.before_change()?;
        let failure_rate = state.sync_failure_rate;
        if state.random.random_bool(failure_rate) {
            // As on Linux: data that could not be written stays in the cache and is not written again.
            let cached = state.cached.clone();
            state.lose_pending();
            state.cached = cached;
            return Err(io::Error::other("a sync has failed"));
        }
        if !state.ignores_syncs {
            for change in std::mem::take(&mut state.pending) {
                change.apply(&mut state.durable);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.before_change()?;
        let change = DiskChange::Write(usize::try_from(offset).unwrap(), data.to_vec());
        change.apply(&mut state.cached);
        state.pending.push(change);
        Ok(())
    }
}

impl Medium for FaultyDisk {
    fn name(&self) -> String {
        "a faulty disk".to_owned()
    }

    fn create(&self, builder: &Builder, initialize: Initialize<'_>) -> Result<Option<Database>, StoreError> {
        if !self.state().cached.is_empty() {
            return Ok(None);
        }
        let database = builder.create_with_backend(self.clone()).unwrap();
        initialize(&database)?;
        Ok(Some(database))
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.clone())
    }

    fn drop_cache(&self) {
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

/// A bank whose accounts have money.
async fn new_bank(disk: &FaultyDisk) -> Bank {
    let bank = disk.bank().await;
    for account_id in ACCOUNTS {
        bank.open_with(account_id, 1_000_000).await;
    }
    bank
}

/// Some movements that build on each other.
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

/// The acknowledged entries that are not in their histories.
async fn missing_entries(bank: &Bank, acknowledged: &[Proposal]) -> Vec<Arc<Entry>> {
    let mut histories = HashMap::new();
    for account_id in ACCOUNTS {
        histories.insert(id(account_id), bank.history(account_id).await);
    }
    let is_missing = |change: &&Change| {
        let index = usize::try_from(change.entry.sequence).unwrap() - 1;
        histories[&change.account.id].get(index) != Some(&*change.entry)
    };
    let plans = acknowledged.iter().map(|proposal| proposal.decision.as_ref().unwrap());
    plans.flat_map(Plan::changes).filter(is_missing).map(|change| Arc::clone(&change.entry)).collect()
}

/// What a power failure has destroyed.
#[derive(Debug, thiserror::Error)]
enum Loss {
    #[error("the file is damaged: {0:?}")]
    Damage(Vec<String>),
    #[error("acknowledged entries are missing: {0:?}")]
    Entries(Vec<Arc<Entry>>),
}

/// The bank after a power failure, unless something acknowledged was lost.
async fn intact_bank(disk: &FaultyDisk, acknowledged: &[Proposal]) -> Result<Bank, Loss> {
    disk.restore_power();
    match check::check(disk, &options()) {
        Ok(report) if report.problem_count == 0 => {}
        Ok(report) => return Err(Loss::Damage(report.problems)),
        Err(error @ StoreError::Corrupt(_)) => return Err(Loss::Damage(vec![error.to_string()])),
        Err(error) => panic!("{error}"),
    }
    let bank = disk.bank().await;
    let missing = missing_entries(&bank, acknowledged).await;
    if missing.is_empty() { Ok(bank) } else { Err(Loss::Entries(missing)) }
}

/// Lets the power fail again and again, each time during some change.
async fn power_trial(seed: u64, ignores_syncs: bool) -> Result<(), Loss> {
    let disk = FaultyDisk::new(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let mut bank = new_bank(&disk).await;
    disk.state().ignores_syncs = ignores_syncs;
    let mut acknowledged = Vec::new();
    for _ in 0..15 {
        disk.state().changes_left = Some(random.random_range(1..150));
        let unknown = loop {
            let proposals = some_proposals(&bank, &mut random).await;
            match bank.store().commit(&proposals).await {
                Ok(committed) => assert!(committed.outcomes.iter().all(|it| *it == Outcome::Applied)),
                Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => break proposals,
                Err(error) => panic!("{error}"),
            }
            acknowledged.extend(proposals);
        };
        assert_eq!(disk.state().changes_left, Some(0), "the commit failed while the power was on");
        drop(bank);
        bank = intact_bank(&disk, &acknowledged).await?;
        // The commit that failed was applied or not. Sent again, it is applied once.
        assert_eq!(bank.commit(&unknown).await.outcomes, vec![Outcome::Applied; unknown.len()]);
        acknowledged.extend(unknown);
        bank.assert_sound().await;
    }
    Ok(())
}

#[tokio::test]
async fn acknowledged_commits_survive_a_power_failure() {
    for _ in 0..3 {
        let seed = seed_from_environment();
        eprintln!("BANK_TEST_SEED={seed}");
        power_trial(seed, false).await.unwrap_or_else(|loss| panic!("{loss}"));
    }
}

/// The trial detects a loss. Anything that fails otherwise fails this test.
#[tokio::test]
async fn a_disk_that_ignores_syncs_loses_acknowledged_commits() {
    let mut losses = 0;
    for seed in 0..5 {
        losses += usize::from(power_trial(seed, true).await.is_err());
    }
    assert!(losses > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_recovers_when_the_disk_accepts_writes_again() {
    let seed = seed_from_environment();
    eprintln!("BANK_TEST_SEED={seed}");
    let disk = FaultyDisk::new(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let bank = new_bank(&disk).await;
    let mut acknowledged = Vec::new();
    for _ in 0..5 {
        disk.state().failure_rate = 0.02;
        disk.state().sync_failure_rate = 0.1;
        for _ in 0..5 {
            let proposals = some_proposals(&bank, &mut random).await;
            let committed = bank.commit(&proposals).await;
            assert!(committed.outcomes.iter().all(|outcome| *outcome == Outcome::Applied), "{committed:?}");
            acknowledged.extend(proposals);
        }
        // The disk is full: nothing is acknowledged, and the health check fails.
        disk.state().failure_rate = 1.0;
        let proposals = some_proposals(&bank, &mut random).await;
        let error = bank.store().commit(&proposals).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(matches!(bank.store().health().await, Err(StoreError::Unavailable(_))));
        assert!(matches!(bank.store().commit(&proposals).await, Err(StoreError::Unavailable(_))));
        disk.state().failure_rate = 0.0;
        disk.state().sync_failure_rate = 0.0;
        while bank.store().health().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(bank.commit(&proposals).await.outcomes, vec![Outcome::Applied; proposals.len()]);
        acknowledged.extend(proposals);
    }
    assert_eq!(missing_entries(&bank, &acknowledged).await, []);
    bank.assert_sound().await;

    // Everything is on the disk, and not only in the cache of the operating system.
    disk.state().changes_left = Some(0);
    drop(bank);
    intact_bank(&disk, &acknowledged).await.unwrap().assert_sound().await;
}
