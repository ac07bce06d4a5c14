//! Random requests on a store that fails: nothing acknowledged is lost, and nothing is done twice.

use std::{collections::HashMap, sync::Arc};

use bank_domain::{Entry, EntryKind, RequestId};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use super::{
    bank::Bank,
    commands::{Request, deposit, named, request_id, transfer, withdraw},
    faulty_store::FaultyStore,
    random::Seed,
};
use crate::{Outcome, Proposal, RecordedOutcome, Store, StoreError};

const ACCOUNTS: [&str; 5] = ["1", "2", "3", "4", "5"];
const CLIENTS: usize = 4;
/// How often a client resends a commit with an unknown outcome before it gives up.
const SENDS_MAX: usize = 4;
const FAULT_RATE: f64 = 0.08;

/// What a client finally knows about a request.
#[derive(Debug)]
enum Verdict {
    /// This entry was written.
    Written(Arc<Entry>),
    /// Nothing was written.
    Rejected,
    /// The client gave up; the request may have been applied.
    Unknown,
}

/// Runs concurrent clients that deposit, withdraw and transfer, on a store that fails before and after the effect. Then
/// compares the outcomes that they know with the histories.
///
/// # Panics
/// If an acknowledged movement is not in the histories exactly once, a rejected one is, or one with an unknown outcome is
/// there twice.
pub async fn trial(store: Arc<dyn Store>, seed: u64, requests_per_client: usize) {
    let seed = Seed(seed);
    let faulty = Arc::new(FaultyStore::new(Arc::clone(&store), FAULT_RATE, seed.0));
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
            // Every other request has the id of a request that another client makes concurrently.
            let owner = if number % 2 == 0 { self.number } else { self.number / 2 };
            let name = format!("client-{owner}-{number}-{}", number % 2);
            let request = self.request(&name, number);
            let verdict = self.resolve(&request).await;
            verdicts.push((request_id(&name), verdict));
        }
        verdicts
    }

    fn request(&mut self, name: &str, number: usize) -> Request {
        if number % 2 == 1 {
            // The request is shared by two clients, so it does not depend on the client.
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

    /// Decides again after a conflict, and resends after an unknown outcome.
    async fn resolve(&self, request: &Request) -> Verdict {
        loop {
            let proposal = self.bank.propose(request.clone()).await;
            match self.send(&proposal).await {
                Some(Outcome::Applied) => return verdict_of(&proposal),
                Some(Outcome::Replayed(RecordedOutcome::Entry(entry))) => return Verdict::Written(entry),
                Some(Outcome::Replayed(RecordedOutcome::Rejected(_))) => return Verdict::Rejected,
                // This attempt has written nothing, and never will.
                Some(Outcome::Conflict) => {}
                Some(other) => panic!("{other:?}"),
                None => return Verdict::Unknown,
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
            // `assert_sound` checks the other side of a transfer.
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
    assert!(written.keys().all(known), "an entry of an unknown request");
    let acknowledged = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Written(_))).count();
    assert!(acknowledged * 2 > verdicts.len(), "hardly any request was applied");
}
