//! The audit trail: every denied call and every administrative action, at any log level, and never a
//! secret.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bank_proto::v1::{self, operation::Kind};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use crate::support::{
    Bank, Redis, admin,
    api::{batch, checking, connect, deposit, failed, of_stream, savings, transfer, withdraw},
    tokens::{ALL, CUSTOMER, Issuer},
};

/// Only the start of the server and the audit trail are logged.
const SILENT: [&str; 4] = [
    "--log-level",
    "error",
    "--set",
    "log.filter=off,bank_server=info,bank::audit=off,bank::audit[call]=off",
];

/// The audit trail so far, each event as `event subject method account request_id outcome`.
fn trail(bank: &Bank) -> Vec<String> {
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let audited = |line: &Value| line["target"] == "bank::audit";
    let event = |line: &Value| {
        ["event", "subject", "method", "account", "request_id", "outcome"]
            .map(|field| text(line, field))
            .join(" ")
    };
    bank.lines().iter().filter(|line| audited(line)).map(event).collect()
}

#[tokio::test]
async fn audits_denials_and_administration_at_any_log_level() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &SILENT).await;
    let mut alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
    let mut admin = issuer.caller(&bank.endpoint(), "root", ALL).await;
    let freeze = || v1::FreezeAccountRequest {
        account_id: "a".to_owned(),
        request_id: "f1".to_owned(),
        ..Default::default()
    };
    let owned =
        |account_id: &str| v1::CreateAccountRequest { owner: "bob".to_owned(), ..savings(account_id) };
    let all = v1::ListAccountsRequest::default;

    // What customers do with their own accounts is not audited.
    alice.create_account(savings("a")).await.unwrap();
    alice.deposit(deposit("a", 10)).await.unwrap();
    failed(alice.withdraw(withdraw("a", 11)).await);
    failed(alice.withdraw(withdraw("absent", 1)).await);
    admin.create_account(savings("r")).await.unwrap();
    alice.transfer(transfer("a", "r", 1)).await.unwrap();
    alice.list_accounts(all()).await.unwrap();
    assert_eq!(trail(&bank), [""; 0]);

    let nobody = connect(&bank.endpoint()).await.deposit(deposit("a", 1)).await;
    assert_eq!(failed(nobody).reason, "CREDENTIALS_MISSING");
    failed(alice.freeze_account(freeze()).await);
    failed(alice.create_account(owned("b")).await);
    failed(alice.create_account(checking("b", 5)).await);
    admin.create_account(owned("b")).await.unwrap();
    admin.create_account(checking("r2", 5)).await.unwrap();
    failed(alice.withdraw(withdraw("b", 1)).await);
    failed(alice.get_account(v1::GetAccountRequest { account_id: "b".to_owned() }).await);
    failed(alice.transfer(transfer("b", "a", 1)).await);
    failed(alice.list_accounts(v1::ListAccountsRequest { owner: "bob".to_owned(), ..all() }).await);
    admin.freeze_account(freeze()).await.unwrap();
    failed(admin.freeze_account(v1::FreezeAccountRequest { request_id: String::new(), ..freeze() }).await);
    admin.deposit(deposit("a", 1)).await.unwrap();
    failed(admin.withdraw(v1::WithdrawRequest { validate_only: true, ..withdraw("b", 1) }).await);
    admin.get_account(v1::GetAccountRequest { account_id: "a".to_owned() }).await.unwrap();
    admin.list_accounts(all()).await.unwrap();
    admin.get_account(v1::GetAccountRequest { account_id: "r".to_owned() }).await.unwrap();
    let expected = [
        "unauthenticated  Deposit   Unauthenticated",
        "permission_denied alice FreezeAccount a f1 PermissionDenied",
        "permission_denied alice CreateAccount b  PermissionDenied",
        "permission_denied alice CreateAccount b  PermissionDenied",
        "administrative root CreateAccount b  Ok",
        "administrative root CreateAccount r2  Ok",
        "concealed alice Withdraw b  NotFound",
        "concealed alice GetAccount b  NotFound",
        "concealed alice Transfer b  NotFound",
        "permission_denied alice ListAccounts   PermissionDenied",
        "administrative root FreezeAccount a f1 Ok",
        "administrative root FreezeAccount a  FailedPrecondition",
        "administrative root Deposit a  Ok",
        "administrative root Withdraw b  FailedPrecondition",
        "administrative root GetAccount a  Ok",
        "administrative root ListAccounts   Ok",
    ];
    bank.terminate().await;
    assert_eq!(trail(&bank), expected);
    for line in bank.lines().iter().filter(|line| line["target"] == "bank::audit") {
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert_eq!(line["level"], "INFO");
    }
}

/// Whether time ran out before there was an answer, for the caller or for the server.
fn gave_up<T: std::fmt::Debug>(result: Result<T, Status>) -> bool {
    [Code::DeadlineExceeded, Code::Cancelled].contains(&result.unwrap_err().code())
}

#[tokio::test]
async fn audits_an_administrative_action_whose_caller_left() {
    let issuer = Issuer::new();
    let redis = Redis::start().await;
    let bank = Bank::with_tokens_on(&redis, &issuer, &[]).await;
    let mut alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
    let mut admin = issuer.caller(&bank.endpoint(), "root", ALL).await;
    alice.create_account(savings("a")).await.unwrap();
    redis.freeze();
    // Long enough for calls to arrive.
    let patience = Duration::from_secs(1);
    let mut hasty = Request::new(v1::DepositRequest { request_id: "d1".to_owned(), ..deposit("a", 1) });
    hasty.set_timeout(patience);
    assert!(gave_up(admin.deposit(hasty).await));
    let mut hasty = Request::new(deposit("a", 1));
    hasty.set_timeout(patience);
    assert!(gave_up(alice.deposit(hasty).await));
    let dropped = tokio::time::timeout(patience, admin.deposit(deposit("a", 1))).await;
    assert!(dropped.is_err());
    redis.thaw();
    alice.deposit(deposit("a", 1)).await.unwrap();
    bank.terminate().await;
    let trail = trail(&bank);
    let outcome = |event: &str| event.rsplit_once(' ').unwrap().1.to_owned();
    assert_eq!(trail.len(), 2, "{trail:?}");
    assert!(trail[0].starts_with("administrative root Deposit a d1 "), "{trail:?}");
    // Either side may have been the first to give up.
    assert!(matches!(&*outcome(&trail[0]), "DeadlineExceeded" | "Cancelled"), "{trail:?}");
    assert_eq!(trail[1], "administrative root Deposit a  Ok", "what became of it in the end");
}

/// The bug: a batch or stream that its caller reset was executed without an audit event.
#[tokio::test]
async fn a_batch_whose_caller_left_is_audited_with_its_outcome() {
    let issuer = Issuer::new();
    let redis = Redis::start().await;
    let bank =
        Bank::with_tokens_on(&redis, &issuer, &["--set", "store.redis.command_timeout_ms=60000"]).await;
    let mut alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
    let mut admin = issuer.caller(&bank.endpoint(), "root", ALL).await;
    alice.create_account(savings("a")).await.unwrap();
    let named = |minor_units, request_id: &str| {
        let request_id = request_id.to_owned();
        Kind::Deposit(v1::DepositRequest { request_id, ..deposit("a", minor_units) })
    };
    let unary = {
        let mut admin = admin.clone();
        let request = v1::DepositRequest { request_id: "u".to_owned(), ..deposit("a", 1) };
        async move { admin.deposit(request).await.map(drop) }
    };
    let one = {
        let mut admin = admin.clone();
        let batch = batch([named(2, "b1"), Kind::Withdraw(withdraw("a", 1_000_000))]);
        async move { admin.execute_batch(batch).await.map(drop) }
    };
    let (send, batches) = mpsc::channel(2);
    for (minor_units, request_id) in [(4, "s1"), (8, "s2")] {
        send.send(of_stream(batch([named(minor_units, request_id)]))).await.unwrap();
    }
    let many = async move {
        let mut replies = admin.execute_stream(ReceiverStream::new(batches)).await?.into_inner();
        replies.message().await.map(drop)
    };
    redis.freeze();
    let calls = [tokio::spawn(unary), tokio::spawn(one), tokio::spawn(many)];
    // All commands are queued or being committed.
    admin::in_work(&bank, 1 + 5).await;
    for call in calls {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    // tonic resets a call once its messages have come to an end, too.
    drop(send);
    // The server has noticed that they left.
    admin::becomes(&bank, "bank_calls_in_flight", 0).await;
    redis.thaw();
    let give_up_at = Instant::now() + Duration::from_mins(1);
    while trail(&bank).len() < 5 {
        assert!(Instant::now() < give_up_at, "{:?}", trail(&bank));
        sleep(Duration::from_millis(20)).await;
    }
    bank.terminate().await;
    let mut trail = trail(&bank);
    trail.sort_unstable();
    let expected = [
        "administrative root Deposit a b1 Ok",
        "administrative root Deposit a s1 Ok",
        "administrative root Deposit a s2 Ok",
        "administrative root Deposit a u Ok",
        "administrative root Withdraw a  FailedPrecondition",
    ];
    assert_eq!(trail, expected);
}

#[tokio::test]
async fn the_audit_trail_distinguishes_dry_runs() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let mut admin = issuer.caller(&bank.endpoint(), "root", ALL).await;
    let owned = v1::CreateAccountRequest { owner: "bob".to_owned(), ..savings("b") };
    admin.create_account(v1::CreateAccountRequest { validate_only: true, ..owned.clone() }).await.unwrap();
    admin.create_account(owned).await.unwrap();
    for validate_only in [true, false] {
        let batch = batch([Kind::Deposit(deposit("b", 1))]);
        admin.execute_batch(v1::ExecuteBatchRequest { validate_only, ..batch }).await.unwrap();
    }
    bank.terminate().await;
    let lines = bank.lines();
    let dry: Vec<_> = lines
        .iter()
        .filter(|line| line["target"] == "bank::audit")
        .map(|line| &line["validate_only"])
        .collect();
    assert_eq!(dry, [true, false, true, false]);
}

/// How many denials of a kind the audit trail reports, and in how many events.
fn denials(bank: &Bank, event: &str, subject: &str) -> (u64, usize) {
    let lines = bank.lines();
    let of = |line: &&Value| line["event"] == event && line["subject"] == subject;
    let times = lines.iter().filter(of).map(|line| line["times"].as_u64().unwrap());
    (times.clone().sum(), times.count())
}

/// The bugs: a caller without scopes could write megabytes a second into the audit trail, and of 5,000 calls that were
/// rejected, 4,837 were recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_audited_denials_per_caller_and_counts_all() {
    const CALLS: usize = 2_000;
    let issuer = Issuer::new();
    let flags = ["--set", "callers.calls_per_second_max=1000000", "--set", "callers.calls_burst_max=1000000"];
    let bank = Bank::with_tokens(&issuer, &flags).await;
    let mut bob = issuer.caller(&bank.endpoint(), "bob", CUSTOMER).await;
    bob.create_account(savings("b")).await.unwrap();
    let slow = Bank::with_tokens(
        &issuer,
        &["--set", "callers.calls_per_second_max=1", "--set", "callers.calls_burst_max=5"],
    )
    .await;
    let powerless = issuer.caller(&bank.endpoint(), "powerless", "").await;
    let curious = issuer.caller(&bank.endpoint(), "curious", CUSTOMER).await;
    let hasty = issuer.caller(&slow.endpoint(), "hasty", CUSTOMER).await;
    let unauthenticated = connect(&bank.endpoint()).await;
    let call = |number: usize| {
        let (mut powerless, mut curious, mut hasty, mut unauthenticated) =
            (powerless.clone(), curious.clone(), hasty.clone(), unauthenticated.clone());
        async move {
            failed(powerless.deposit(deposit("b", 1)).await);
            failed(curious.get_account(v1::GetAccountRequest { account_id: "b".to_owned() }).await);
            failed(unauthenticated.deposit(deposit("b", 1)).await);
            let balance = v1::GetBalanceRequest { account_id: format!("x{number}"), as_of: None };
            failed(hasty.get_balance(balance).await).reason == "RATE_LIMITED"
        }
    };
    let turned_away = stream::iter(0..CALLS).map(call).buffer_unordered(16);
    let turned_away: Vec<bool> = turned_away.collect().await;
    let turned_away = turned_away.into_iter().filter(|it| *it).count();
    let made = u64::try_from(CALLS).unwrap();
    let expected = [
        (&bank, "permission_denied", "powerless", made),
        (&bank, "concealed", "curious", made),
        (&bank, "unauthenticated", "", made),
        (&slow, "rate_limited", "hasty", u64::try_from(turned_away).unwrap()),
    ];
    // After a pause all have been recorded.
    let give_up_at = Instant::now() + Duration::from_mins(1);
    for (bank, event, subject, count) in expected {
        while denials(bank, event, subject).0 < count {
            assert!(Instant::now() < give_up_at, "{event}: {:?} of {count}", denials(bank, event, subject));
            sleep(Duration::from_millis(50)).await;
        }
        let (counted, events) = denials(bank, event, subject);
        assert_eq!(counted, count, "{event}");
        assert!(events < CALLS / 2, "{event}: {events} events");
    }
    // So are those just before the end.
    failed(powerless.clone().deposit(deposit("b", 1)).await);
    for _ in 0..150 {
        failed(unauthenticated.clone().deposit(deposit("b", 1)).await);
    }
    bank.terminate().await;
    assert_eq!(denials(&bank, "permission_denied", "powerless").0, made + 1);
    assert_eq!(denials(&bank, "unauthenticated", "").0, made + 150);
}

#[tokio::test]
async fn without_authentication_only_administrative_methods_are_audited() {
    let bank = Bank::memory().await;
    let mut operator = connect(&bank.endpoint()).await;
    operator
        .create_account(v1::CreateAccountRequest { owner: "bob".to_owned(), ..savings("b") })
        .await
        .unwrap();
    operator.deposit(deposit("b", 1)).await.unwrap();
    operator.list_accounts(v1::ListAccountsRequest::default()).await.unwrap();
    operator
        .freeze_account(v1::FreezeAccountRequest { account_id: "b".to_owned(), ..Default::default() })
        .await
        .unwrap();
    bank.terminate().await;
    assert_eq!(trail(&bank), ["administrative  FreezeAccount b  Ok"]);
}

#[tokio::test]
async fn never_logs_a_secret_even_at_trace_level() {
    let password = "redis-password-that-nobody-may-read";
    let issuer = Issuer::new();
    let redis = Redis::start_locked(password).await;
    // With one partition, as each command is traced.
    let verbose = ["--log-level", "trace", "--set", "log.filter=trace", "--set", "store.partitions=1"];
    let bank = Bank::with_tokens_on(&redis, &issuer, &verbose).await;
    let good = issuer.token("alice", ALL);
    let forged = format!("{}x", issuer.token("mallory", ALL));
    let mut caller = issuer.caller(&bank.endpoint(), "alice", ALL).await;
    caller.create_account(savings("a")).await.unwrap();
    failed(caller.withdraw(withdraw("a", 1)).await);
    failed(caller.get_account(v1::GetAccountRequest { account_id: "absent".to_owned() }).await);
    for value in [format!("Bearer {good}"), format!("Bearer {forged}"), format!("Basic {good}"), good.clone()]
    {
        let mut request = Request::new(deposit("a", 1));
        request.metadata_mut().insert("authorization", value.parse().unwrap());
        let outcome = connect(&bank.endpoint()).await.deposit(request).await;
        assert_eq!(outcome.is_ok(), value == format!("Bearer {good}"), "{outcome:?}");
    }
    bank.terminate().await;
    let log = bank.log() + &bank.errors();
    assert!(log.contains(r#""level":"TRACE""#) && log.contains("Deposit done"), "it said all it can");
    assert!(log.contains("hyper") || log.contains("h2"), "and so did the libraries");
    // The parts of a token that no other has: those after the header.
    let parts = |token: &str| token.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let secrets =
        [parts(&good), parts(&forged), vec![password.to_owned(), crate::support::tokens::SECRET.to_owned()]];
    for secret in secrets.concat() {
        assert!(!log.contains(&secret), "{secret:?} is in the log");
    }
}
