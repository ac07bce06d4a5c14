//! Follows a watch, and holds what it is told against what there is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bank_client::{
    AccountId, BankClient, Call, Entry, ListOrder, TryStreamExt as _, methods::WatchTransactions,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a watch has told so far.
pub(crate) struct Follower {
    told: Arc<Mutex<Told>>,
    following: JoinHandle<()>,
}

#[derive(Default)]
struct Told {
    entries: BTreeMap<AccountId, Vec<Entry>>,
    token: Option<String>,
    interruptions: usize,
}

impl Told {
    /// Takes what comes next; a gap or a repetition ends the test.
    fn take(&mut self, entry: Entry) {
        let entries = self.entries.entry(entry.account_id.clone()).or_default();
        if let Some(last) = entries.last() {
            assert_eq!(
                entry.sequence,
                last.sequence + 1,
                "of {} after {last:?}: {entry:?}",
                entry.account_id
            );
        }
        entries.push(entry);
    }
}

impl Follower {
    pub(crate) fn of(call: Call<WatchTransactions>) -> Self {
        let told = Arc::<Mutex<Told>>::default();
        let (shared, hearing) = (Arc::clone(&told), Arc::clone(&told));
        let call = call.on_interruption(move |_| hearing.lock().unwrap().interruptions += 1);
        let following = tokio::spawn(async move {
            let mut news = call.stream();
            while let Some(news) = news.try_next().await.unwrap() {
                let mut told = shared.lock().unwrap();
                news.entries.into_iter().for_each(|entry| told.take(entry));
                told.token = Some(news.resume_token);
            }
        });
        Self { told, following }
    }

    /// Waits until it has begun, which is when its beginning is settled.
    pub(crate) async fn has_begun(&self) {
        self.until(|told| told.token.is_some()).await;
    }

    /// Waits until this account was told up to this entry.
    pub(crate) async fn has_told(&self, account_id: &str, sequence: u64) {
        let id: AccountId = account_id.parse().unwrap();
        let newest = |told: &Told| Some(told.entries.get(&id)?.last()?.sequence);
        self.until(|told| newest(told) >= Some(sequence)).await;
    }

    /// Waits until it has told all that there is of these accounts, from the first entry on.
    pub(crate) async fn tells_all_of(&self, bank: &BankClient, accounts: &[&str]) {
        for account_id in accounts {
            let history = bank.history(*account_id).order(ListOrder::OldestFirst).page_size(1_000);
            let history: Vec<_> = history.stream().try_collect().await.unwrap();
            self.has_told(account_id, history.len() as u64).await;
            assert_eq!(self.entries(account_id), history);
        }
    }

    /// What it was told of an account.
    pub(crate) fn entries(&self, account_id: &str) -> Vec<Entry> {
        let id = account_id.parse().unwrap();
        self.told.lock().unwrap().entries.get(&id).cloned().unwrap_or_default()
    }

    /// How often it was broken off.
    pub(crate) fn interruptions(&self) -> usize {
        self.told.lock().unwrap().interruptions
    }

    /// Ends it, and gives its token.
    pub(crate) async fn end(self) -> String {
        self.has_begun().await;
        self.following.abort();
        self.told.lock().unwrap().token.clone().unwrap()
    }

    async fn until(&self, is_so: impl Fn(&Told) -> bool) {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            // In this order, so that what was told last is not missed.
            let has_ended = self.following.is_finished();
            if is_so(&self.told.lock().unwrap()) {
                return;
            }
            assert!(!has_ended, "the watch has ended");
            assert!(Instant::now() < give_up_at, "the watch does not tell what there is");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.following.abort();
    }
}
