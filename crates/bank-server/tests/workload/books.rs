//! Reads all that a bank holds, once it is still, and lets it audit itself.

use std::time::Duration;

use bank_client::{AuditFinding, AuditNews, BankClient, ListOrder, TryStreamExt as _};
use tokio::time::{Instant, sleep};

use super::{
    history::{Action, Books, Entry, Outcome, Recorder, Seen},
    tellers::perform,
};

/// How long a bank may take to come to rest: longer than a server looks for an unknown outcome.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Reads every entry between two lists of all accounts that show the same, so that nothing has
/// happened meanwhile. The lists are operations of the recording as well: they come after all else,
/// and so must show all that was acknowledged.
///
/// # Panics
/// If the bank cannot be read, or does not come to rest.
pub async fn read(recorder: &Recorder, endpoint: &str) -> Books {
    let client = BankClient::builder(endpoint).timeout(PATIENCE).connect_lazy().unwrap();
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        let accounts = list(recorder, &client).await;
        let mut books = Books::new();
        for Seen { account, .. } in &accounts {
            books.insert(account.clone(), entries(&client, account).await);
        }
        if list(recorder, &client).await == accounts {
            return books;
        }
        assert!(Instant::now() < give_up_at, "the bank has not come to rest within {PATIENCE:?}");
        sleep(PAUSE).await;
    }
}

/// What the bank itself finds wrong with its accounts, and with the chains of their entries.
pub async fn audit(endpoint: &str) -> Vec<AuditFinding> {
    let client = BankClient::builder(endpoint).timeout(PATIENCE).connect_lazy().unwrap();
    let give_up_at = Instant::now() + PATIENCE;
    // No client repeats an audit by itself, and a read of it may take too long on a machine that is busy.
    let news = loop {
        match client.audit_accounts().stream().try_collect::<Vec<_>>().await {
            Ok(news) => break news,
            Err(error) => assert!(error.is_retryable() && Instant::now() < give_up_at, "{error}"),
        }
        sleep(PAUSE).await;
    };
    assert!(matches!(news.last(), Some(AuditNews::Summary(_))), "{news:?}");
    let findings = news.into_iter().filter_map(|news| match news {
        AuditNews::Finding(finding) => Some(finding),
        _ => None,
    });
    findings.collect()
}

async fn list(recorder: &Recorder, client: &BankClient) -> Vec<Seen> {
    match perform(recorder, client, Action::ListAccounts, PATIENCE).await {
        Outcome::Accounts(accounts) => accounts,
        other => panic!("the accounts cannot be listed: {other}"),
    }
}

async fn entries(client: &BankClient, account: &str) -> Vec<Entry> {
    let history = client.history(account).order(ListOrder::OldestFirst).page_size(1000).stream();
    history.map_ok(Entry::from).try_collect().await.unwrap()
}

impl From<bank_client::Entry> for Entry {
    fn from(entry: bank_client::Entry) -> Self {
        Self {
            sequence: entry.sequence,
            request_id: entry.request_id.map(String::from).unwrap_or_default(),
            transaction_id: entry.transaction_id.into(),
            kind: entry.kind,
            amount: entry.amount.minor_units,
            balance_after: entry.balance_after.minor_units,
            counterparty: entry.counterparty.map(|account| account.to_string()),
        }
    }
}
