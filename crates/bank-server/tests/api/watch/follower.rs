//! Follows a watch, and compares what it reports with the histories.

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

/// What a watch has reported so far.
pub(crate) struct Follower {
    reported: Arc<Mutex<Reported>>,
    following: JoinHandle<()>,
}

#[derive(Default)]
struct Reported {
    entries: BTreeMap<AccountId, Vec<Entry>>,
    token: Option<String>,
    interruptions: usize,
}

impl Reported {
    /// Records the next entry; a gap or a repetition fails the test.
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
        let reported = Arc::<Mutex<Reported>>::default();
        let (shared, hearing) = (Arc::clone(&reported), Arc::clone(&reported));
        let call = call.on_interruption(move |_| hearing.lock().unwrap().interruptions += 1);
        let following = tokio::spawn(async move {
            let mut news = call.stream();
            while let Some(news) = news.try_next().await.unwrap() {
                let mut reported = shared.lock().unwrap();
                news.entries.into_iter().for_each(|entry| reported.take(entry));
                reported.token = Some(news.resume_token);
            }
        });
        Self { reported, following }
    }

    /// Waits until it has started; its starting position is fixed then.
    pub(crate) async fn has_started(&self) {
        self.until(|reported| reported.token.is_some()).await;
    }

    /// Waits until it has reported this entry of this account.
    pub(crate) async fn has_reported(&self, account_id: &str, sequence: u64) {
        let id: AccountId = account_id.parse().unwrap();
        let newest = |reported: &Reported| Some(reported.entries.get(&id)?.last()?.sequence);
        self.until(|reported| newest(reported) >= Some(sequence)).await;
    }

    /// Waits until it has reported the whole histories of these accounts.
    pub(crate) async fn reports_all_of(&self, bank: &BankClient, accounts: &[&str]) {
        for account_id in accounts {
            let history = bank.history(*account_id).order(ListOrder::OldestFirst).page_size(1_000);
            let history: Vec<_> = history.stream().try_collect().await.unwrap();
            self.has_reported(account_id, history.len() as u64).await;
            assert_eq!(self.entries(account_id), history);
        }
    }

    /// The reported entries of an account.
    pub(crate) fn entries(&self, account_id: &str) -> Vec<Entry> {
        let id = account_id.parse().unwrap();
        self.reported.lock().unwrap().entries.get(&id).cloned().unwrap_or_default()
    }

    /// How often it was interrupted.
    pub(crate) fn interruptions(&self) -> usize {
        self.reported.lock().unwrap().interruptions
    }

    /// Ends it, and returns its resume token.
    pub(crate) async fn end(self) -> String {
        self.has_started().await;
        self.following.abort();
        self.reported.lock().unwrap().token.clone().unwrap()
    }

    async fn until(&self, is_so: impl Fn(&Reported) -> bool) {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            // In this order, so that the last report is not missed.
            let has_ended = self.following.is_finished();
            if is_so(&self.reported.lock().unwrap()) {
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
