//! Where watches begin, what they show to whom, and how they end.

use std::{sync::Arc, time::Duration};

use bank_client::{BankClient, Error, Rejection, StreamExt as _, TokenError};
use bank_proto::v1;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request};

use super::{SOON, cents, client, follower::Follower, open};
use crate::support::{
    Bank, Redis,
    api::{connect, deposit, failed, savings},
    tokens::{ALL, CUSTOMER, Issuer},
};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(10);

fn of(account_id: &str) -> v1::WatchTransactionsRequest {
    v1::WatchTransactionsRequest { account_id: account_id.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_watch_starts_now_by_default_and_confirms_it_at_once() {
    let server = Bank::memory_with(&SOON).await;
    let bank = client(&server.endpoint());
    open(&bank, "old").await;
    bank.deposit("old", cents(1)).await.unwrap();
    let mut news = bank.watch("old").stream();
    assert_eq!(news.next().await.unwrap().unwrap().entries, []);
    let written = bank.deposit("old", cents(2)).await.unwrap().entry;
    let reported = loop {
        let news = news.next().await.unwrap().unwrap();
        if !news.entries.is_empty() {
            break news.entries;
        }
    };
    assert_eq!(reported, [written]);

    // All accounts, and one that is opened later from its first entry on.
    let all = Follower::of(bank.watch_all());
    all.has_started().await;
    open(&bank, "new").await;
    bank.deposit("old", cents(3)).await.unwrap();
    all.has_reported("old", 4).await;
    all.reports_all_of(&bank, &["new"]).await;
    assert_eq!(all.entries("old").len(), 1);

    let all = Follower::of(bank.watch_all().from_start());
    all.reports_all_of(&bank, &["new", "old"]).await;
}

#[tokio::test]
async fn an_idle_watch_sends_heartbeats() {
    let server = Bank::memory_with(&SOON).await;
    let bank = client(&server.endpoint());
    open(&bank, "a").await;
    let mut stub = connect(&server.endpoint()).await;
    let mut replies = stub.watch_transactions(of("a")).await.unwrap().into_inner();
    let first = replies.message().await.unwrap().unwrap();
    for _ in 0..3 {
        let reply = replies.message().await.unwrap().unwrap();
        assert_eq!(reply, first);
        assert_eq!(reply.heartbeat_interval, Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }));
    }
}

#[tokio::test]
async fn callers_see_their_own_accounts_and_administrators_all() {
    let issuer = Issuer::new();
    let server = Bank::with_tokens(&issuer, &SOON).await;
    let as_caller = |subject: &str, scope: &str| {
        BankClient::builder(server.endpoint()).token(issuer.token(subject, scope)).connect_lazy().unwrap()
    };
    let (alice, bob) = (as_caller("alice", CUSTOMER), as_caller("bob", CUSTOMER));
    let admin = as_caller("admin", ALL);
    open(&alice, "alice1").await;
    open(&bob, "bob-1").await;
    open(&bob, "bob-2").await;

    let own = Follower::of(bob.watch_all().from_start());
    let named = Follower::of(admin.watch_all().owner("bob").from_start());
    let one = Follower::of(admin.watch("alice1").from_start());
    let all = Follower::of(admin.watch_all().from_start());
    alice.deposit("alice1", cents(1)).await.unwrap();
    bob.deposit("bob-1", cents(1)).await.unwrap();
    open(&bob, "bob-3").await;
    all.reports_all_of(&admin, &["alice1", "bob-1", "bob-2", "bob-3"]).await;
    for follower in [&own, &named] {
        follower.reports_all_of(&admin, &["bob-1", "bob-2", "bob-3"]).await;
        assert!(follower.entries("alice1").is_empty());
    }
    one.reports_all_of(&admin, &["alice1"]).await;

    // A foreign account looks nonexistent, and so does its owner.
    for account_id in ["bob-1", "nobody"] {
        let error = alice.watch(account_id).stream().next().await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::Rejected { rejection: Rejection::AccountNotFound { .. }, .. }),
            "{error:?}"
        );
        assert_eq!(error.to_string(), format!("account {account_id} does not exist"));
    }
    let error = alice.watch_all().owner("bob").stream().next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
    let error = as_caller("alice", "bank.write").watch_all().stream().next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");

    // Watching a foreign account is audited, whichever side ended the watch.
    one.end().await;
    let is_of_it = |line: &serde_json::Value| {
        line["event"] == "administrative"
            && line["method"] == "WatchTransactions"
            && line["account"] == "alice1"
    };
    timeout(PATIENCE, async {
        while !server.lines().iter().any(is_of_it) {
            sleep(PAUSE).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn shutdown_ends_watches_without_waiting_for_them() {
    let redis = Redis::start().await;
    let server = Bank::on_redis(&redis).await;
    let mut stub = connect(&server.endpoint()).await;
    stub.create_account(savings("a")).await.unwrap();
    let mut replies = stub.watch_transactions(of("a")).await.unwrap().into_inner();
    replies.message().await.unwrap().unwrap();
    server.signal("TERM");
    let error = failed(replies.message().await);
    assert_eq!((error.code, &*error.reason), (Code::Unavailable, "SHUTTING_DOWN"));
    assert!(server.wait_exit().await.success());
}

#[tokio::test]
async fn a_watch_ends_at_its_deadline() {
    let server = Bank::memory_with(&["--set", "server.stream_timeout_ms_max=300"]).await;
    let mut stub = connect(&server.endpoint()).await;
    stub.create_account(savings("a")).await.unwrap();
    let mut request = Request::new(of("a"));
    for _ in 0..2 {
        let mut replies = stub.watch_transactions(request).await.unwrap().into_inner();
        replies.message().await.unwrap().unwrap();
        let error = failed(replies.message().await);
        assert_eq!((error.code, &*error.reason), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
        request = Request::new(of("a"));
        // The server ends it a little before its caller would, so its status counts.
        request.set_timeout(Duration::from_millis(200));
    }

    // A client resumes after it.
    let follower = Follower::of(client(&server.endpoint()).watch("a").from_start());
    for sequence in 2..12 {
        stub.deposit(deposit("a", 1)).await.unwrap();
        follower.has_reported("a", sequence).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(follower.interruptions() > 0);
}

#[tokio::test]
async fn rejects_invalid_watch_requests() {
    let server = Bank::memory().await;
    let mut stub = connect(&server.endpoint()).await;
    for (request, field) in [
        (of("a b"), "account_id"),
        (v1::WatchTransactionsRequest { owner: "a b".to_owned(), ..of("") }, "owner"),
        (v1::WatchTransactionsRequest { owner: "alice".to_owned(), ..of("a") }, "owner"),
        (v1::WatchTransactionsRequest { start: 7, ..of("") }, "start"),
    ] {
        let mut replies = stub.watch_transactions(request).await.unwrap().into_inner();
        let error = failed(replies.message().await);
        assert_eq!(error.code, Code::InvalidArgument);
        assert_eq!(error.details.bad_request().unwrap().field_violations[0].field, field);
    }
    let mut replies = stub.watch_transactions(of("nobody")).await.unwrap().into_inner();
    assert_eq!(failed(replies.message().await).reason, "ACCOUNT_NOT_FOUND");
}

/// The store is unavailable for a while, and the server reports it; the client resumes.
#[tokio::test]
async fn a_watch_outlives_an_outage_of_the_store() {
    let mut redis = Redis::start_durable().await;
    let server = Bank::on_redis_with(&redis, &SOON).await;
    let bank = client(&server.endpoint());
    open(&bank, "a").await;
    let follower = Follower::of(bank.watch("a").from_start());
    follower.has_reported("a", 1).await;
    redis.kill();
    timeout(PATIENCE, async {
        while follower.interruptions() == 0 {
            sleep(PAUSE).await;
        }
    })
    .await
    .unwrap();
    redis.restart().await;
    bank.deposit("a", cents(1)).timeout(PATIENCE).await.unwrap();
    follower.reports_all_of(&bank, &["a"]).await;
}

/// A watch does not report anything after its bearer token has expired.
#[tokio::test]
async fn a_watch_ends_when_its_bearer_token_expires_and_resumes_with_another() {
    let issuer = Arc::new(Issuer::new());
    let server = Bank::with_tokens(&issuer, &["--set", "auth.jwt.leeway_seconds=0"]).await;
    let alice = BankClient::builder(server.endpoint()).token(issuer.token("alice", CUSTOMER));
    let alice = alice.connect_lazy().unwrap();
    open(&alice, "a").await;

    let short = || BankClient::builder(server.endpoint()).timeout(PATIENCE);
    let once = short().token(issuer.token_for(2, "alice", CUSTOMER)).connect_lazy().unwrap();
    let mut news = once.watch("a").stream();
    news.next().await.unwrap().unwrap();
    let error = timeout(PATIENCE, news.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Error::Unauthenticated { .. }), "{error:?}");

    let renewing = Arc::clone(&issuer);
    let renewed = short().token_source(move || {
        std::future::ready(Ok::<_, TokenError>(renewing.token_for(2, "alice", CUSTOMER)))
    });
    let follower = Follower::of(renewed.connect_lazy().unwrap().watch("a").from_start());
    timeout(PATIENCE, async {
        while follower.interruptions() < 2 {
            sleep(PAUSE).await;
        }
    })
    .await
    .unwrap();
    alice.deposit("a", cents(1)).await.unwrap();
    follower.reports_all_of(&alice, &["a"]).await;
}
