//! What a payer can learn about the balance of a foreign account: nothing, unless the payment would exceed the maximum
//! balance; and how much they would have to pay for that.
//!
//! The bug: a dry run of [deposit 2^63 - 1 into an own account, transfer X to a foreign one] was `OUT_OF_RANGE` exactly
//! if the foreign balance and X exceeded 64 bits; 63 such dry runs revealed it to the cent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bank_proto::v1::{self, operation::Kind, operation_result::Outcome};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    Bank,
    api::{batch, checking, connect, deposit, failed, savings, status_of, transfer, usd, withdraw},
    tokens::{CUSTOMER, Caller, Issuer},
};

/// The default of `bank.amount_minor_units_max`, and of `server.batch_operations_max`.
const AMOUNT_MAX: i64 = 1 << 53;
const OPERATIONS_MAX: usize = 1000;

#[tokio::test]
async fn names_the_limits_of_movements_and_overdrafts() {
    let bank = Bank::memory().await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(checking("a", AMOUNT_MAX)).await.unwrap();
    client.create_account(savings("b")).await.unwrap();
    let limit = |minor_units| v1::SetOverdraftLimitRequest {
        account_id: "a".to_owned(),
        overdraft_limit: usd(minor_units),
        ..Default::default()
    };
    client.deposit(deposit("a", AMOUNT_MAX)).await.unwrap();
    client.transfer(transfer("a", "b", AMOUNT_MAX)).await.unwrap();
    client.withdraw(withdraw("a", AMOUNT_MAX)).await.unwrap();
    client.set_overdraft_limit(limit(AMOUNT_MAX)).await.unwrap();
    let info = client.get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.limits.unwrap().amount_minor_units_max, AMOUNT_MAX);

    let before = client.get_account(v1::GetAccountRequest { account_id: "a".to_owned() }).await.unwrap();
    for more in [AMOUNT_MAX + 1, i64::MAX] {
        let in_batch = batch([Kind::Deposit(deposit("a", 1)), Kind::Deposit(deposit("a", more))]);
        for (error, field) in [
            (failed(client.deposit(deposit("a", more)).await), "amount"),
            (failed(client.withdraw(withdraw("a", more)).await), "amount"),
            (failed(client.transfer(transfer("a", "b", more)).await), "amount"),
            (failed(client.set_overdraft_limit(limit(more)).await), "overdraft_limit"),
            (failed(client.create_account(checking("c", more)).await), "overdraft_limit"),
            (failed(client.execute_batch(in_batch).await), "operations[1].deposit.amount"),
        ] {
            assert_eq!(
                (error.code, &*error.reason),
                (Code::InvalidArgument, "INVALID_ARGUMENT"),
                "{error:?}"
            );
            let violation = &error.details.bad_request().unwrap().field_violations[0];
            assert_eq!(violation.field, format!("{field}.minor_units"));
            assert_eq!(
                violation.description,
                format!("must be at most 9007199254740992 minor units, is {more}")
            );
        }
    }
    let after = client.get_account(v1::GetAccountRequest { account_id: "a".to_owned() }).await.unwrap();
    assert_eq!(before.into_inner(), after.into_inner());
}

/// How each operation ended: its code, its reason, and the balance of the account that pays.
async fn ends(caller: &mut Caller, request: v1::ExecuteBatchRequest) -> Vec<(Code, String, i64)> {
    let results = caller.execute_batch(request).await.unwrap().into_inner().results;
    let end = |result: v1::OperationResult| match result.outcome.unwrap() {
        Outcome::Receipt(receipt) => (Code::Ok, String::new(), receipt.balance_minor_units),
        Outcome::Error(error) => {
            let status = status_of(error);
            (status.code(), status.get_error_details().error_info().unwrap().reason.clone(), 0)
        }
        other => panic!("a receipt was asked for: {other:?}"),
    };
    results.into_iter().map(end).collect()
}

fn receipts(operations: impl IntoIterator<Item = Kind>) -> v1::ExecuteBatchRequest {
    v1::ExecuteBatchRequest { receipts_only: true, ..batch(operations) }
}

/// A bank where one batch of mallory could fill an account with a little over 2^57 units. The account of rich has
/// that much, the one of poor does not.
async fn town() -> (Bank, Caller) {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let mut mallory = issuer.caller(&bank.endpoint(), "mallory", CUSTOMER).await;
    let mut rich = issuer.caller(&bank.endpoint(), "rich", CUSTOMER).await;
    let mut poor = issuer.caller(&bank.endpoint(), "poor", CUSTOMER).await;
    for (caller, account_id) in [(&mut mallory, "mallory1"), (&mut rich, "rich1"), (&mut poor, "poor1")] {
        caller.create_account(savings(account_id)).await.unwrap();
    }
    let deposits = |account_id: &'static str, count| {
        receipts((0..count).map(move |_| Kind::Deposit(deposit(account_id, AMOUNT_MAX))))
    };
    ends(&mut mallory, deposits("mallory1", OPERATIONS_MAX)).await;
    ends(&mut rich, deposits("rich1", 30)).await;
    (bank, mallory)
}

fn payments(account_id: &str) -> v1::ExecuteBatchRequest {
    let payment = |_| Kind::Transfer(transfer("mallory1", account_id, AMOUNT_MAX));
    receipts((0..OPERATIONS_MAX).map(payment))
}

#[tokio::test]
async fn a_dry_run_does_not_reveal_the_balance_of_another_owner() {
    let (_bank, mut mallory) = town().await;
    let mut ended = Vec::new();
    for account_id in ["rich1", "poor1"] {
        for atomic in [false, true] {
            let dry_run = v1::ExecuteBatchRequest { validate_only: true, atomic, ..payments(account_id) };
            ended.push(ends(&mut mallory, dry_run).await);
        }
    }
    assert!(ended[0].iter().all(|(code, _, _)| *code == Code::Ok), "{:?}", ended[0]);
    assert!(ended.windows(2).all(|two| two[0] == two[1]), "rich and poor differ");
}

#[tokio::test]
async fn a_real_payment_beyond_the_balance_limit_is_rejected() {
    let (_bank, mut mallory) = town().await;
    let ended = ends(&mut mallory, payments("rich1")).await;
    let paid = ended.iter().take_while(|(code, _, _)| *code == Code::Ok).count();
    assert_eq!(paid, 1024 - 30 - 1, "one less than 2^63, in parts of 2^53");
    for (code, reason, _) in &ended[paid..] {
        assert_eq!((*code, reason.as_str()), (Code::OutOfRange, "BALANCE_OUT_OF_RANGE"));
    }
}
