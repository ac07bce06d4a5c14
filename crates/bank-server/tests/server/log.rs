//! The log of a call: one span, and amounts only at debug level.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bank_proto::v1;

use crate::support::{
    Bank,
    api::{connect, deposit, failed, savings, withdraw},
};

async fn run_session(bank: &Bank) {
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client
        .deposit(v1::DepositRequest { request_id: "d1".to_owned(), ..deposit("a", 987_654) })
        .await
        .unwrap();
    let overdraw = v1::WithdrawRequest { request_id: "w1".to_owned(), ..withdraw("a", 987_655) };
    failed(client.withdraw(overdraw).await);
}

#[tokio::test]
async fn a_failed_call_is_logged_as_one_line_with_its_span_and_without_amounts() {
    let bank = Bank::memory().await;
    run_session(&bank).await;
    let ended = bank.logged("Withdraw ended with FailedPrecondition").await;
    let span = &ended["span"];
    assert_eq!(span["method"], "Withdraw", "{ended}");
    assert_eq!((&span["account"], &span["request_id"]), (&"a".into(), &"w1".into()));
    assert_eq!(span["outcome"], "FailedPrecondition");
    assert!(span["latency_us"].as_u64().is_some(), "{ended}");
    assert_eq!(bank.log().matches("Withdraw").count(), 2, "the line and its span");
    assert!(!bank.log().contains("98765"), "{}", bank.log());
}

#[tokio::test]
async fn debug_level_logs_every_call_with_amounts() {
    let bank = Bank::memory_with(&["--log-level", "debug"]).await;
    run_session(&bank).await;
    let done = bank.logged("Deposit done").await;
    assert_eq!((&done["span"]["method"], &done["span"]["outcome"]), (&"Deposit".into(), &"Ok".into()));
    bank.logged("Withdraw ended with FailedPrecondition").await;
    assert!(bank.log().contains("987654"));
}

#[tokio::test]
async fn input_cannot_forge_a_log_line() {
    let bank = Bank::memory().await;
    let mut client = connect(&bank.endpoint()).await;
    let forged = "a\n{\"level\":\"INFO\",\"message\":\"forged\"}\n\u{1b}[31m";
    failed(client.deposit(deposit(forged, 1)).await);
    failed(client.deposit(deposit(&"é".repeat(20_000), 1)).await);
    bank.logged("Deposit ended with InvalidArgument").await;
    assert!(bank.lines().iter().all(|line| line["message"] != "forged"), "{}", bank.log());
    assert!(bank.log().len() < 4_000, "long names are cut: {}", bank.log().len());
}
