//! Random commits on a store that fails: nothing acknowledged is lost, and nothing is done twice.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bank_domain::{Entry, EntryHash, Plan};
use tokio::task::JoinSet;

use super::{
    bank::Bank,
    faulty_store::FaultyStore,
    random::{ACCOUNT_IDS, RandomCommits, Seed},
};
use crate::{Outcome, Proposal, RecordedOutcome, Store, StoreError};

const CLIENTS: u64 = 4;
/// How often a client sends a commit with an unknown outcome before it gives up.
const SENDS_MAX: usize = 5;
const FAULT_RATE: f64 = 0.08;

/// A proposal and its outcome; `None` if the client gave up.
type Sent = (Proposal, Option<Outcome>);

/// Runs concurrent clients with random commits on a store that fails before and after the effect. Then compares the
/// outcomes that they know with the histories.
///
/// # Panics
/// If the entries of an applied proposal are missing, an entry belongs to no proposal that may have been applied, or a
/// request was executed twice.
pub async fn trial(store: Arc<dyn Store>, seed: u64, commits_per_client: usize) {
    let seed = Seed(seed);
    let faulty = Arc::new(FaultyStore::new(Arc::clone(&store), FAULT_RATE, seed.0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let bank = Bank::new(Arc::clone(&faulty) as Arc<dyn Store>);
        clients.spawn(client(bank, RandomCommits::new(seed.0.wrapping_add(number)), commits_per_client));
    }
    let sent: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    assert!(commits_per_client < 100 || faulty.has_injected_all());
    faulty.deliver_delayed().await.unwrap();
    let bank = Bank::new(store);
    bank.assert_sound().await;
    compare(&bank, &sent).await;
}

async fn client(bank: Bank, mut random: RandomCommits, commits: usize) -> Vec<Sent> {
    let mut sent = Vec::new();
    for _ in 0..commits {
        let proposals = random.next_on(&bank).await;
        let outcomes = send(&bank, &proposals).await;
        let outcomes =
            outcomes.map_or(vec![None; proposals.len()], |known| known.into_iter().map(Some).collect());
        sent.extend(proposals.into_iter().zip(outcomes));
    }
    sent
}

async fn send(bank: &Bank, proposals: &[Proposal]) -> Option<Vec<Outcome>> {
    let mut sends = 0;
    loop {
        sends += 1;
        match bank.store().commit(proposals).await {
            Ok(committed) => return Some(committed.outcomes),
            Err(StoreError::OutcomeUnknown(_)) if sends >= SENDS_MAX => return None,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

async fn compare(bank: &Bank, sent: &[Sent]) {
    let mut stored = HashMap::new();
    for account_id in ACCOUNT_IDS {
        stored.extend(bank.history(account_id).await.into_iter().map(|entry| (entry.hash, entry)));
    }
    let mut possible: HashSet<EntryHash> = HashSet::new();
    let mut executed = HashMap::new();
    let mut applied = 0;
    for (proposal, outcome) in sent {
        let entries: Vec<&Entry> =
            proposal.decision.iter().flat_map(Plan::changes).map(|change| &*change.entry).collect();
        match outcome {
            Some(Outcome::Applied) => {
                assert!(entries.iter().all(|entry| stored.get(&entry.hash) == Some(*entry)), "{proposal:?}");
                applied += 1;
            }
            Some(Outcome::Replayed(RecordedOutcome::Entry(entry))) => {
                assert_eq!(stored.get(&entry.hash), Some(&**entry));
            }
            _ => {}
        }
        if matches!(outcome, None | Some(Outcome::Applied)) {
            possible.extend(entries.iter().map(|entry| entry.hash));
            // Two attempts may have planned the same entry.
            if let Some(first) = entries.first().filter(|entry| stored.contains_key(&entry.hash)) {
                let written = executed.entry(&proposal.key).or_insert(first.hash);
                assert_eq!(*written, first.hash, "{:?} was executed twice", proposal.key);
            }
        }
    }
    assert!(stored.keys().all(|hash| possible.contains(hash)), "an entry of no proposal");
    assert!(applied * 4 > sent.len(), "hardly any proposal was applied: {applied} of {}", sent.len());
}
