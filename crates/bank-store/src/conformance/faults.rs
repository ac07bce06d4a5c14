//! Random work on a store that fails: nothing acknowledged is lost, nothing is done twice.

use std::{collections::HashMap, sync::Arc};

use bank_domain::{Entry, EntryKind, RequestId};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use super::{
    bank::{Bank, Request},
    commands::{deposit, named, request_id, transfer, withdraw},
    faulty_store::{FaultRates, FaultyStore},
    random::Seed,
};
use crate::{Outcome, Proposal, RecordedOutcome, Store, StoreError};

const ACCOUNTS: [&str; 5] = ["1", "2", "3", "4", "5"];
const CLIENTS: usize = 4;
/// How often a client sends a commit whose outcome it does not know, before it gives up.
const SENDS_MAX: usize = 4;
const FAULT_RATE: f64 = 0.08;

/// What a client knows of a request in the end.
#[derive(Debug)]
enum Verdict {
    /// It was told that this entry was written.
    Written(Arc<Entry>),
    /// It was told that nothing was.
    Rejected,
    /// It gave up: it may have been written.
    Unknown,
}

/// Runs clients that deposit, withdraw and transfer at once, on a store that fails before and after
/// the effect, and then compares what they were told with the histories.
///
/// # Panics
/// If an acknowledged movement is not there exactly once, a refused one is, or one of unknown
/// outcome is there twice.
pub async fn trial(store: Arc<dyn Store>, seed: u64, requests_per_client: usize) {
    let seed = Seed(seed);
    let faulty = Arc::new(FaultyStore::new(Arc::clone(&store), FaultRates::all(FAULT_RATE), seed.0));
    let bank = Bank::new(store);
    for account_id in ACCOUNTS {
        bank.open_with(account_id, 1_000).await;
    }

    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client {
            bank: Bank::new(Arc::clone(&faulty) as Arc<dyn Store>),
            random: StdRng::seed_from_u64(seed.0.wrapping_add(number as u64)),
            number,
        };
        clients.spawn(client.run(requests_per_client));
    }
    let verdicts: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    assert!(requests_per_client < 100 || faulty.has_injected_all());
    faulty.deliver_delayed().await.unwrap();

    bank.assert_sound().await;
    compare(&bank, &verdicts).await;
}

struct Client {
    bank: Bank,
    random: StdRng,
    number: usize,
}

impl Client {
    async fn run(mut self, requests: usize) -> Vec<(RequestId, Verdict)> {
        let mut verdicts = Vec::new();
        for number in 0..requests {
            // Every other request has the name of one that another client makes at the same time.
            let owner = if number % 2 == 0 { self.number } else { self.number / 2 };
            let name = format!("client-{owner}-{number}-{}", number % 2);
            let request = self.request(&name, number);
            let verdict = self.insist(&request).await;
            verdicts.push((request_id(&name), verdict));
        }
        verdicts
    }

    fn request(&mut self, name: &str, number: usize) -> Request {
        if number % 2 == 1 {
            // Shared by clients, so it must be the same from each.
            return named(name, transfer(ACCOUNTS[number % 5], ACCOUNTS[(number + 1) % 5], 7));
        }
        let account = ACCOUNTS[self.random.random_range(0..5)];
        let amount = self.random.random_range(1..900);
        let other = ACCOUNTS[self.random.random_range(0..5)];
        let command = match self.random.random_range(0..3) {
            0 => deposit(account, amount),
            1 => withdraw(account, amount),
            _ if account == other => deposit(account, amount),
            _ => transfer(account, other, amount),
        };
        named(name, command)
    }

    /// Decides again after a conflict, and sends again what has an unknown outcome.
    async fn insist(&self, request: &Request) -> Verdict {
        let mut may_be_written = false;
        loop {
            let proposal = self.bank.propose(request.clone()).await;
            match self.send(&proposal).await {
                Some(Outcome::Applied) => return verdict_of(&proposal),
                Some(Outcome::Replayed(RecordedOutcome::Entry(entry))) => return Verdict::Written(entry),
                Some(Outcome::Replayed(RecordedOutcome::Rejected(_))) => return Verdict::Rejected,
                // Of this attempt nothing is written, and nothing will be.
                Some(Outcome::Conflict) => {}
                Some(other) => panic!("{other:?}"),
                None => may_be_written = true,
            }
            if may_be_written {
                return Verdict::Unknown;
            }
        }
    }

    async fn send(&self, proposal: &Proposal) -> Option<Outcome> {
        let mut sends = 0;
        loop {
            match self.bank.store().commit(std::slice::from_ref(proposal)).await {
                Ok(mut committed) => return committed.outcomes.pop(),
                Err(StoreError::OutcomeUnknown(_)) if sends >= SENDS_MAX => return None,
                Err(error) if error.is_retryable() => sends += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn verdict_of(proposal: &Proposal) -> Verdict {
    match &proposal.decision {
        Ok(plan) => Verdict::Written(Arc::clone(&plan.primary.entry)),
        Err(_) => Verdict::Rejected,
    }
}

async fn compare(bank: &Bank, verdicts: &[(RequestId, Verdict)]) {
    let mut written: HashMap<RequestId, Vec<Entry>> = HashMap::new();
    for account_id in ACCOUNTS {
        for entry in bank.history(account_id).await {
            // The other side of a transfer is what soundness is about.
            let is_first_side = !matches!(entry.kind, EntryKind::TransferIn { .. });
            if let Some(request_id) = entry.request_id.clone().filter(|_| is_first_side) {
                written.entry(request_id).or_default().push(entry);
            }
        }
    }
    for (request_id, verdict) in verdicts {
        let entries = written.get(request_id).map(Vec::as_slice).unwrap_or_default();
        match verdict {
            Verdict::Written(entry) => assert_eq!(entries, [(**entry).clone()], "{request_id}"),
            Verdict::Rejected => assert_eq!(entries, [], "{request_id}"),
            Verdict::Unknown => assert!(entries.len() <= 1, "{request_id}: {entries:?}"),
        }
    }
    let known = |id: &RequestId| verdicts.iter().any(|(request_id, _)| request_id == id);
    assert!(written.keys().all(known), "an entry of a request that nobody made");
    let acknowledged = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Written(_))).count();
    assert!(acknowledged * 2 > verdicts.len(), "hardly anything came through");
}
