//! The audit: a correct bank passes, also while it is in use, and tampering is found at the first
//! changed entry.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tampering;

use std::{path::Path, sync::Arc, time::Duration};

use bank_domain::Timestamp;
use bank_proto::v1::{self, AuditFindingKind as Kind, audit_accounts_response::News};
use bank_server::audit;
use bank_store::{
    DurabilityLevel, RedisStore, Store,
    redis::{RedisOptions, RedisUrl},
};
use redb::{Database, ReadableTable as _, TableDefinition};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tonic::{Code, Request, Status, Streaming};

use crate::support::{
    Bank, Redis,
    api::{Client, checking, connect, deposit, failed, interest, money, savings, transfer, usd, withdraw},
};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// The events of an audit except its progress.
#[derive(Debug, Default)]
struct Audited {
    findings: Vec<v1::AuditFinding>,
    summary: v1::AuditSummary,
}

impl Audited {
    /// What was found: the account, the kind and the entry, in the order of the accounts.
    fn found(&self) -> Vec<(&str, Kind, i64)> {
        let found = self.findings.iter();
        let mut found: Vec<_> = found.map(|it| (&*it.account_id, it.kind(), it.sequence)).collect();
        found.sort_unstable();
        found
    }
}

fn request(account_id: &str) -> v1::AuditAccountsRequest {
    v1::AuditAccountsRequest { account_id: account_id.to_owned() }
}

async fn start(client: &mut Client, account_id: &str) -> Streaming<v1::AuditAccountsResponse> {
    client.audit_accounts(request(account_id)).await.unwrap().into_inner()
}

/// Audits an account, or all, to the end.
async fn audit(client: &mut Client, account_id: &str) -> Audited {
    let mut replies = start(client, account_id).await;
    let mut audited = Audited::default();
    while let Some(reply) = replies.message().await.unwrap() {
        match reply.news.unwrap() {
            News::Progress(_) => {}
            News::Finding(finding) => audited.findings.push(finding),
            News::Summary(summary) => {
                audited.summary = summary;
                assert_eq!(replies.message().await.unwrap(), None, "nothing comes after the summary");
                assert_eq!(usize::try_from(audited.summary.findings), Ok(audited.findings.len()));
                return audited;
            }
        }
    }
    panic!("without a summary");
}

/// The error of an audit that fails.
async fn failure(client: &mut Client, request: impl tonic::IntoRequest<v1::AuditAccountsRequest>) -> Status {
    let mut replies = match client.audit_accounts(request).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return status,
    };
    loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it has not failed"),
            Err(status) => return status,
        }
    }
}

fn books(currency_code: &str, sums: [i64; 5]) -> v1::AuditBooks {
    let [money_in, money_out, interest, transferred, held] = sums.map(|sum| sum.to_string());
    let currency_code = currency_code.to_owned();
    v1::AuditBooks { currency_code, money_in, money_out, interest, transferred, held, balanced: true }
}

/// Accounts in two currencies, with every kind of entry.
async fn fill(client: &mut Client) {
    client.create_account(savings("a")).await.unwrap();
    client.create_account(checking("b", 5_000)).await.unwrap();
    client.create_account(savings("closed")).await.unwrap();
    let yen = v1::CreateAccountRequest { currency_code: "JPY".to_owned(), ..savings("yen") };
    client.create_account(yen).await.unwrap();
    client.deposit(deposit("a", 10_000)).await.unwrap();
    client.deposit(v1::DepositRequest { amount: money("JPY", 777), ..deposit("yen", 0) }).await.unwrap();
    client.withdraw(withdraw("a", 1_000)).await.unwrap();
    client.transfer(transfer("a", "b", 2_000)).await.unwrap();
    client.transfer(transfer("b", "a", 6_000)).await.unwrap();
    client.calculate_interest(interest("a", "2.5")).await.unwrap();
    client.calculate_interest(interest("b", "10")).await.unwrap();
    let limit = v1::SetOverdraftLimitRequest {
        account_id: "b".to_owned(),
        overdraft_limit: usd(4_500),
        ..Default::default()
    };
    client.set_overdraft_limit(limit).await.unwrap();
    let account_id = || "a".to_owned();
    let freeze = v1::FreezeAccountRequest { account_id: account_id(), ..Default::default() };
    client.freeze_account(freeze).await.unwrap();
    client.deposit(deposit("a", 1)).await.unwrap();
    let unfreeze = v1::UnfreezeAccountRequest { account_id: account_id(), ..Default::default() };
    client.unfreeze_account(unfreeze).await.unwrap();
    let close = v1::CloseAccountRequest { account_id: "closed".to_owned(), ..Default::default() };
    client.close_account(close).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_passes_and_shows_the_totals() {
    let redis = Redis::start().await;
    let directory = tempfile::tempdir().unwrap();
    let on_file = Bank::on_file(&directory.path().join("bank.redb")).await;
    for bank in [Bank::memory().await, Bank::on_redis(&redis).await, on_file] {
        let mut client = connect(&bank.endpoint()).await;
        assert_eq!(audit(&mut client, "").await.summary, v1::AuditSummary::default());
        fill(&mut client).await;

        let audited = audit(&mut client, "").await;
        assert_eq!(audited.findings, []);
        // 13,000 earn 2.5 %, -4,000 cost 10 %.
        let dollars = books("USD", [10_001, 1_000, 325 - 400, 0, 8_926]);
        assert_eq!(
            audited.summary,
            v1::AuditSummary {
                accounts_checked: 4,
                entries_checked: 18,
                findings: 0,
                books: vec![books("JPY", [777, 0, 0, 0, 777]), dollars],
            }
        );

        let audited = audit(&mut client, "b").await;
        assert_eq!(audited.findings, []);
        assert_eq!(audited.summary.books, [books("USD", [0, 0, -400, -4_000, -4_400])]);
        assert_eq!((audited.summary.accounts_checked, audited.summary.entries_checked), (1, 5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_passes_while_the_bank_is_in_use() {
    const ACCOUNTS: usize = 6;
    let redis = Redis::start().await;
    let banks = [Bank::on_redis(&redis).await, Bank::on_redis(&redis).await];
    let mut client = connect(&banks[0].endpoint()).await;
    for number in 0..ACCOUNTS {
        client.create_account(checking(&number.to_string(), 1_000_000)).await.unwrap();
    }
    let mut tellers = JoinSet::new();
    for teller in 0..8 {
        let endpoint = banks[teller % 2].endpoint();
        tellers.spawn(async move {
            let mut client = connect(&endpoint).await;
            for step in 0.. {
                let from = ((teller + step) % ACCOUNTS).to_string();
                let to = ((teller + step + 1 + step % (ACCOUNTS - 1)) % ACCOUNTS).to_string();
                match step % 5 {
                    0 => drop(client.deposit(deposit(&from, 7)).await.unwrap()),
                    1 => drop(client.withdraw(withdraw(&from, 3)).await.unwrap()),
                    _ if from == to => {}
                    _ => drop(client.transfer(transfer(&from, &to, 11)).await.unwrap()),
                }
                // Each audit reads all that was written before it.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
    let mut entries = Vec::new();
    let give_up_at = Instant::now() + PATIENCE;
    // At least five, until there was work.
    while entries.len() < 5 || entries[entries.len() - 1] <= entries[0] + 100 {
        assert!(Instant::now() < give_up_at, "there was no work: {entries:?}");
        let audited = audit(&mut client, "").await;
        assert_eq!(audited.findings, []);
        assert!(audited.summary.books.iter().all(|books| books.balanced), "{:?}", audited.summary);
        entries.push(audited.summary.entries_checked);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(tellers.try_join_next().is_none(), "no call has failed");
    tellers.shutdown().await;
    assert_eq!(audit(&mut client, "").await.findings, []);
}

#[tokio::test]
async fn an_audit_that_fails_gives_the_reason() {
    let bank = Bank::memory().await;
    let mut client = connect(&bank.endpoint()).await;
    let absent = failed::<()>(Err(failure(&mut client, request("nobody")).await));
    assert_eq!((absent.code, &*absent.reason), (Code::NotFound, "ACCOUNT_NOT_FOUND"));
    let invalid = failed::<()>(Err(failure(&mut client, request("a b")).await));
    assert_eq!((invalid.code, &*invalid.reason), (Code::InvalidArgument, "INVALID_ARGUMENT"));
}

/// A bank with one account on a Redis that was just frozen.
async fn frozen(flags: &[&str]) -> (Redis, Bank, Client) {
    let redis = Redis::start().await;
    let patient = ["--set", "store.redis.command_timeout_ms=60000"];
    let bank = Bank::on_redis_with(&redis, &[&patient, flags].concat()).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    redis.freeze();
    (redis, bank, client)
}

/// An audit that fails after it has started.
async fn started(client: &mut Client) -> Streaming<v1::AuditAccountsResponse> {
    let mut replies = start(client, "").await;
    let first = replies.message().await.unwrap().unwrap();
    assert!(matches!(first.news, Some(News::Progress(_))), "{first:?}");
    replies
}

#[tokio::test]
async fn an_audit_may_take_longer_than_other_calls() {
    let (redis, _bank, mut client) = frozen(&["--set", "server.request_timeout_ms_max=2000"]).await;
    let mut replies = started(&mut client).await;
    let thaw = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(4)).await;
        redis.thaw();
        redis
    });
    let mut progress = 0;
    loop {
        match replies.message().await.unwrap().unwrap().news.unwrap() {
            News::Progress(_) => progress += 1,
            News::Finding(finding) => panic!("{finding:?}"),
            News::Summary(summary) => break assert_eq!(summary.accounts_checked, 1),
        }
    }
    assert!(progress > 1, "it says that it is still there");
    drop(thaw.await.unwrap());
}

#[tokio::test]
async fn an_audit_ends_at_the_deadline_of_its_caller_or_the_server() {
    let (_redis, _bank, mut client) = frozen(&["--set", "server.stream_timeout_ms_max=500"]).await;
    for timeout in [Some(Duration::from_millis(200)), None] {
        let mut request = Request::new(request(""));
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let error = tokio::time::timeout(PATIENCE, failure(&mut client, request)).await.unwrap();
        // If the client library's timer fires first, the library makes the error.
        if timeout.is_none() || error.code() != Code::Cancelled {
            assert_eq!(failed::<()>(Err(error)).code, Code::DeadlineExceeded);
        }
    }
}

#[tokio::test]
async fn limits_concurrent_audits() {
    let (redis, _bank, mut client) = frozen(&["--set", "server.concurrent_audits_max=1"]).await;
    let running = started(&mut client).await;
    let error = failed::<()>(Err(failure(&mut client, request("a")).await));
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "TOO_MANY_AUDITS"));
    assert!(error.details.retry_info().is_some() && error.details.quota_failure().is_some());
    // Once its caller has left, the next one can start.
    drop(running);
    redis.thaw();
    let give_up_at = Instant::now() + PATIENCE;
    while let Err(status) = start(&mut client, "").await.message().await {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(Instant::now() < give_up_at, "the audit continues without its caller");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An audit does not delay shutdown, whether it is read or not.
#[tokio::test]
async fn an_audit_ends_when_the_server_drains() {
    let (redis, bank, mut client) = frozen(&["--set", "server.shutdown_grace_ms=60000"]).await;
    let mut replies = started(&mut client).await;
    let _unread = started(&mut connect(&bank.endpoint()).await).await;
    let ended = tokio::spawn(async move { bank.terminate().await });
    let status = loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("as if it were done"),
            Err(status) => break status,
        }
    };
    let error = failed::<()>(Err(status));
    assert_eq!((error.code, &*error.reason), (Code::Unavailable, "SHUTTING_DOWN"));
    let exit = tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap();
    assert!(exit.success(), "{exit:?}");
    redis.thaw();
}
