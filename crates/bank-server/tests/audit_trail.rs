//! The audit trail: every denied call and every act of administration, whatever the log is set to,
//! and never a secret.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use bank_proto::v1;
use serde_json::Value;
use support::{
    Bank, Redis,
    api::{checking, connect, deposit, failed, savings, transfer, withdraw},
    tokens::{ALL, CUSTOMER, Issuer},
};
use tonic::Request;

/// Nothing is written but that the server started, and the audit trail.
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
async fn denials_and_acts_of_administration_are_written_down_whatever_the_log_is_set_to() {
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

    // What everybody does with what is theirs is nobody's business.
    alice.create_account(savings("a")).await.unwrap();
    alice.deposit(deposit("a", 10)).await.unwrap();
    failed(alice.withdraw(withdraw("a", 11)).await);
    failed(alice.withdraw(withdraw("absent", 1)).await);
    admin.create_account(savings("r")).await.unwrap();
    alice.transfer(transfer("a", "r", 1)).await.unwrap();
    alice.list_accounts(all()).await.unwrap();
    assert_eq!(trail(&bank), [""; 0]);

    connect(&bank.endpoint()).await.deposit(deposit("a", 1)).await.unwrap_err();
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

#[tokio::test]
async fn an_act_that_nobody_waits_for_is_written_down_all_the_same() {
    let issuer = Issuer::new();
    let redis = Redis::start().await;
    let bank = Bank::with_tokens_on(&redis, &issuer, &[]).await;
    let mut alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
    let mut admin = issuer.caller(&bank.endpoint(), "root", ALL).await;
    alice.create_account(savings("a")).await.unwrap();
    redis.freeze();
    // Time enough for calls to arrive.
    let patience = Duration::from_secs(1);
    let mut hasty = Request::new(v1::DepositRequest { request_id: "d1".to_owned(), ..deposit("a", 1) });
    hasty.set_timeout(patience);
    admin.deposit(hasty).await.unwrap_err();
    let mut hasty = Request::new(deposit("a", 1));
    hasty.set_timeout(patience);
    alice.deposit(hasty).await.unwrap_err();
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
    assert!(trail[1].starts_with("administrative root Deposit a  "), "{trail:?}");
}

#[tokio::test]
async fn without_authentication_only_the_methods_of_administration_are_written_down() {
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
async fn no_secret_is_in_the_log_of_a_whole_run_however_much_is_said() {
    let password = "redis-password-that-nobody-may-read";
    let issuer = Issuer::new();
    let redis = Redis::start_locked(password).await;
    let verbose = ["--log-level", "trace", "--set", "log.filter=trace"];
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
    // The parts of a token that are in no other: what is after the header.
    let parts = |token: &str| token.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let secrets =
        [parts(&good), parts(&forged), vec![password.to_owned(), support::tokens::SECRET.to_owned()]];
    for secret in secrets.concat() {
        assert!(!log.contains(&secret), "{secret:?} is in the log");
    }
}
