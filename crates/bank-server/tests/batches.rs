//! Batches against the real server: each operation is what a call of its own would be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use bank_proto::v1::{self, operation::Kind, operation_result::Outcome};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use support::{
    Bank, Redis,
    api::{
        Client, balance, batch, checking, connect, deposit, failed, history, interest, money, savings,
        status_of, transfer, usd, withdraw,
    },
    tokens::{ALL, CUSTOMER, Issuer},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What became of an operation, as far as it is the same on every bank: no times, and no hashes.
#[derive(Debug, PartialEq)]
enum Became {
    Done { message: String, balance: i64, sequence: i64, replayed: bool },
    Failed { code: Code, message: String, details: String },
}

fn done(message: String, balance: Option<v1::Money>, entry: Option<v1::Entry>, replayed: bool) -> Became {
    let (balance, sequence) = (balance.unwrap().minor_units, entry.unwrap().sequence);
    Became::Done { message, balance, sequence, replayed }
}

fn failure(status: &Status) -> Became {
    let mut details = status.get_error_details();
    let info = details.error_info().unwrap().clone();
    // Its values have no order.
    let values: std::collections::BTreeMap<_, _> = info.metadata.into_iter().collect();
    details.set_error_info(info.reason, info.domain, std::collections::HashMap::new());
    let details = format!("{values:?} {details:?}");
    Became::Failed { code: status.code(), message: status.message().to_owned(), details }
}

fn became(result: v1::OperationResult) -> Became {
    match result.outcome.unwrap() {
        Outcome::Deposit(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
        Outcome::Withdraw(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
        Outcome::Transfer(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
        Outcome::CalculateInterest(reply) => {
            assert!(reply.breakdown.is_some() && reply.interest.is_some());
            done(reply.message, reply.balance, reply.entry, reply.replayed)
        }
        Outcome::Error(error) => failure(&status_of(error)),
        Outcome::Receipt(receipt) => panic!("nobody asked for {receipt:?}"),
    }
}

/// Makes the call of its own that an operation stands for.
async fn singly(client: &mut Client, operation: Kind) -> Became {
    macro_rules! call {
        ($method:ident, $request:expr) => {
            match client.$method($request).await.map(tonic::Response::into_inner) {
                Ok(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
                Err(status) => failure(&status),
            }
        };
    }
    match operation {
        Kind::Deposit(request) => call!(deposit, request),
        Kind::Withdraw(request) => call!(withdraw, request),
        Kind::Transfer(request) => call!(transfer, request),
        Kind::CalculateInterest(request) => call!(calculate_interest, *request),
    }
}

async fn execute(client: &mut Client, request: v1::ExecuteBatchRequest) -> Vec<Became> {
    let results = client.execute_batch(request).await.unwrap().into_inner().results;
    results.into_iter().map(became).collect()
}

async fn bank_with_accounts() -> (Bank, Client) {
    let bank = Bank::memory_with(&["--set", "callers.calls_burst_max=1000000"]).await;
    let mut client = connect(&bank.endpoint()).await;
    for account in [savings("a"), savings("b"), checking("c", 500), savings("closed"), savings("frozen")] {
        client.create_account(account).await.unwrap();
    }
    let euros = v1::CreateAccountRequest { currency_code: "EUR".to_owned(), ..savings("e") };
    client.create_account(euros).await.unwrap();
    let close = v1::CloseAccountRequest { account_id: "closed".to_owned(), ..Default::default() };
    client.close_account(close).await.unwrap();
    let freeze = v1::FreezeAccountRequest { account_id: "frozen".to_owned(), ..Default::default() };
    client.freeze_account(freeze).await.unwrap();
    (bank, client)
}

const ACCOUNTS: [&str; 7] = ["a", "b", "c", "e", "closed", "frozen", "absent"];

fn any_operation(random: &mut StdRng) -> Kind {
    let account = *ACCOUNTS.choose(random).unwrap();
    let others: Vec<_> = ACCOUNTS.into_iter().filter(|other| *other != account).collect();
    let other = others.choose(random).unwrap();
    let amount = random.random_range(1..1_000);
    // Few names, so that some come again, for the same request or for another.
    let request_id = match random.random_range(0..3) {
        0 => format!("r{}", random.random_range(0..40)),
        _ => String::new(),
    };
    match random.random_range(0..10) {
        0..4 => Kind::Deposit(v1::DepositRequest {
            amount: money(if random.random_bool(0.1) { "EUR" } else { "" }, amount),
            request_id,
            ..deposit(account, 1)
        }),
        4..6 => Kind::Withdraw(v1::WithdrawRequest { request_id, ..withdraw(account, amount) }),
        6..9 => Kind::Transfer(v1::TransferRequest { request_id, ..transfer(account, other, amount) }),
        _ => Kind::CalculateInterest(Box::new(v1::CalculateInterestRequest {
            request_id,
            ..interest(account, "2.5")
        })),
    }
}

#[tokio::test]
async fn operations_end_as_single_calls_do_and_leave_the_same_histories() {
    let mut random = StdRng::seed_from_u64(4711);
    let (_one, mut singles) = bank_with_accounts().await;
    let (_other, mut batches) = bank_with_accounts().await;
    for _ in 0..60 {
        let count = random.random_range(1..40);
        let operations: Vec<_> = (0..count).map(|_| any_operation(&mut random)).collect();
        let together = execute(&mut batches, batch(operations.clone())).await;
        assert_eq!(together.len(), operations.len());
        for (operation, together) in operations.into_iter().zip(together) {
            let said = format!("{operation:?}");
            assert_eq!(singly(&mut singles, operation).await, together, "{said}");
        }
    }
    for account in ACCOUNTS.into_iter().filter(|account| *account != "absent") {
        let plain = |entry: &v1::Entry| {
            let v1::Entry { sequence, kind, amount, balance_after, request_id, .. } = entry.clone();
            (sequence, kind, amount, balance_after, request_id, entry.counterparty_account_id.clone())
        };
        let [one, other] = [history(&mut singles, account).await, history(&mut batches, account).await];
        assert!(one.iter().map(plain).eq(other.iter().map(plain)), "{account}");
        support::api::assert_sound(&other);
    }
}

#[tokio::test]
async fn a_batch_that_is_sent_again_gets_the_results_of_the_first() {
    let (_bank, mut client) = bank_with_accounts().await;
    let named = |number: usize, request: v1::WithdrawRequest| {
        Kind::Withdraw(v1::WithdrawRequest { request_id: format!("r{number}"), ..request })
    };
    client.deposit(deposit("a", 100)).await.unwrap();
    let request =
        batch([named(1, withdraw("a", 60)), named(2, withdraw("a", 60)), named(3, withdraw("a", 40))]);
    let first = execute(&mut client, request.clone()).await;
    client.deposit(deposit("a", 1_000)).await.unwrap();
    let again = execute(&mut client, request).await;
    for (first, again) in first.iter().zip(&again) {
        match (first, again) {
            (
                Became::Done { message, balance, sequence, replayed: false },
                Became::Done { message: m, balance: b, sequence: s, replayed: true },
            ) => assert_eq!((message, balance, sequence), (m, b, s)),
            (Became::Failed { message, .. }, Became::Failed { message: m, details, .. }) => {
                assert_eq!(message, m);
                assert!(details.contains("replayed"), "{details}");
            }
            _ => panic!("{first:?} {again:?}"),
        }
    }
    assert_eq!(balance(&mut client, "a").await, 1_000);
}

#[tokio::test]
async fn receipts_say_the_least() {
    let (_bank, mut client) = bank_with_accounts().await;
    let operations = [Kind::Deposit(deposit("a", 100)), Kind::Withdraw(withdraw("a", 30))];
    let request = v1::ExecuteBatchRequest { receipts_only: true, ..batch(operations) };
    let results = client.execute_batch(request).await.unwrap().into_inner().results;
    let entries = history(&mut client, "a").await;
    for (result, entry) in results.into_iter().zip(&entries[1..]) {
        let Outcome::Receipt(receipt) = result.outcome.unwrap() else { panic!() };
        assert_eq!((&receipt.transaction_id, receipt.sequence), (&entry.transaction_id, entry.sequence));
        assert_eq!(receipt.currency_code, "USD");
        assert_eq!(Some(receipt.amount_minor_units), entry.amount.as_ref().map(|amount| amount.minor_units));
        assert_eq!(usd(receipt.balance_minor_units), entry.balance_after);
        assert!(!receipt.replayed);
    }
}

#[tokio::test]
async fn what_is_only_checked_changes_nothing() {
    let (_bank, mut client) = bank_with_accounts().await;
    let operations = [Kind::Deposit(deposit("a", 100)), Kind::Withdraw(withdraw("b", 30))];
    let request = v1::ExecuteBatchRequest { validate_only: true, ..batch(operations) };
    let results = execute(&mut client, request).await;
    assert!(matches!(&results[0], Became::Done { balance: 100, sequence: 2, .. }), "{results:?}");
    assert!(matches!(&results[1], Became::Failed { code: Code::FailedPrecondition, .. }), "{results:?}");
    assert_eq!(history(&mut client, "a").await.len(), 1);
}

#[tokio::test]
async fn all_violations_are_told_with_the_operations_that_they_are_in() {
    let (_bank, mut client) = bank_with_accounts().await;
    let operations = [
        Kind::Deposit(deposit("a", 1)),
        Kind::Withdraw(withdraw("{}", 0)),
        Kind::Deposit(v1::DepositRequest { validate_only: true, ..deposit("a", 1) }),
        Kind::CalculateInterest(Box::new(interest("a", "much"))),
    ];
    let mut request = batch(operations);
    request.operations.push(v1::Operation { kind: None });
    let error = failed(client.execute_batch(request).await);
    assert_eq!((error.code, &*error.reason), (Code::InvalidArgument, "INVALID_ARGUMENT"));
    let fields = |details: &tonic_types::ErrorDetails| -> Vec<String> {
        let violations = &details.bad_request().unwrap().field_violations;
        violations.iter().map(|violation| violation.field.clone()).collect()
    };
    assert_eq!(
        fields(&error.details),
        [
            "operations[1].withdraw.account_id",
            "operations[1].withdraw.amount.minor_units",
            "operations[2].deposit.validate_only",
            "operations[3].calculate_interest.annual_interest_rate",
            "operations[4]",
        ]
    );
    // A thousand of them do not fit into headers.
    let error = failed(client.execute_batch(batch((0..1000).map(|_| Kind::Deposit(deposit("", 0))))).await);
    let violations = fields(&error.details);
    assert_eq!((violations.len(), &*violations[20]), (21, "operations"));
    assert!(error.message.ends_with("operations has 1980 more violations"), "{}", error.message);
    for count in [0, 1001] {
        let error =
            failed(client.execute_batch(batch((0..count).map(|_| Kind::Deposit(deposit("a", 1))))).await);
        assert_eq!(error.message, format!("operations has {count} operations; 1 to 1000 are allowed"));
    }
    assert_eq!(history(&mut client, "a").await.len(), 1, "nothing was done");
}

#[tokio::test]
async fn each_operation_needs_what_its_own_call_would_and_is_written_down_as_that() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let mut alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
    let mut bob = issuer.caller(&bank.endpoint(), "bob", CUSTOMER).await;
    let mut admin = issuer.caller(&bank.endpoint(), "root", ALL).await;
    let mut clerk = issuer.caller(&bank.endpoint(), "clerk", "bank.admin").await;
    alice.create_account(savings("a")).await.unwrap();
    bob.create_account(savings("b")).await.unwrap();
    let operations = || {
        let named = v1::WithdrawRequest { request_id: "w1".to_owned(), ..withdraw("b", 1) };
        batch([
            Kind::Deposit(deposit("a", 100)),
            Kind::Withdraw(named),
            Kind::Transfer(transfer("a", "b", 10)),
            Kind::CalculateInterest(Box::new(interest("a", "2.5"))),
        ])
    };
    let reasons = |reply: tonic::Response<v1::ExecuteBatchResponse>| -> Vec<String> {
        let results = reply.into_inner().results.into_iter();
        results
            .map(|result| match result.outcome.unwrap() {
                Outcome::Error(error) => failed(Err::<(), _>(status_of(error))).reason,
                _ => "done".to_owned(),
            })
            .collect()
    };
    let theirs = reasons(alice.execute_batch(operations()).await.unwrap());
    assert_eq!(theirs, ["done", "ACCOUNT_NOT_FOUND", "done", "SCOPE_MISSING"]);
    // One without leave fails all of an atomic batch, and nothing is done.
    let all = v1::ExecuteBatchRequest { atomic: true, ..operations() };
    let theirs = reasons(alice.execute_batch(all).await.unwrap());
    assert_eq!(theirs, ["BATCH_ABORTED", "BATCH_ABORTED", "BATCH_ABORTED", "SCOPE_MISSING"]);
    let a = v1::GetAccountRequest { account_id: "a".to_owned() };
    assert_eq!(alice.get_account(a).await.unwrap().into_inner().account.unwrap().version, 3);
    assert_eq!(reasons(clerk.execute_batch(operations()).await.unwrap())[2..], ["SCOPE_MISSING", "done"]);
    assert_eq!(reasons(admin.execute_batch(operations()).await.unwrap()), ["done"; 4]);

    bank.terminate().await;
    let lines = bank.lines();
    let audited = lines.iter().filter(|line| line["target"] == "bank::audit");
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let trail: Vec<_> = audited
        .map(|line| {
            ["event", "subject", "method", "account", "request_id", "outcome"]
                .map(|field| text(line, field))
                .join(" ")
        })
        .collect();
    assert_eq!(
        trail,
        [
            "concealed alice Withdraw b w1 NotFound",
            "permission_denied alice CalculateInterest a  PermissionDenied",
            "permission_denied alice CalculateInterest a  PermissionDenied",
            "permission_denied clerk Deposit a  PermissionDenied",
            "permission_denied clerk Withdraw b w1 PermissionDenied",
            "permission_denied clerk Transfer a  PermissionDenied",
            "administrative clerk CalculateInterest a  Ok",
            "administrative root Deposit a  Ok",
            "administrative root Withdraw b w1 Ok",
            "administrative root Transfer a  Ok",
            "administrative root CalculateInterest a  Ok",
        ]
    );
}

#[tokio::test]
async fn operations_count_against_the_rate_of_their_caller() {
    let flags = ["--set", "callers.calls_per_second_max=1", "--set", "callers.calls_burst_max=10"];
    let bank = Bank::memory_with(&flags).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let deposits = |count| batch((0..count).map(|_| Kind::Deposit(deposit("a", 1))));
    client.execute_batch(deposits(6)).await.unwrap();
    let error = failed(client.execute_batch(deposits(6)).await);
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "RATE_LIMITED"));
    assert!(!error.details.retry_info().unwrap().retry_delay.unwrap().is_zero());
    // One that could never be carried out says so.
    let error = failed(client.execute_batch(deposits(11)).await);
    assert_eq!(error.message, "operations has 11 operations; 1 to 10 are allowed");
}

#[tokio::test]
async fn large_messages_are_for_batches_only_and_bounded_too() {
    let (bank, mut client) = bank_with_accounts().await;
    let wordy =
        |count: usize| {
            batch((0..count).map(|_| {
                Kind::Deposit(v1::DepositRequest { description: "€".repeat(256), ..deposit("a", 1) })
            }))
        };
    let results = client.execute_batch(wordy(1000)).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 1000);
    let mut long = batch([]);
    long.operations.resize(
        10,
        v1::Operation {
            kind: Some(Kind::Deposit(v1::DepositRequest {
                description: "d".repeat(250_000),
                ..deposit("a", 1)
            })),
        },
    );
    let status = client.execute_batch(long).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    let description = "d".repeat(70_000);
    let status = client.deposit(v1::DepositRequest { description, ..deposit("a", 1) }).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert_eq!(bank.exit(), None);
}

fn reasons(results: Vec<v1::OperationResult>) -> Vec<String> {
    results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            Outcome::Error(error) => failed(Err::<(), _>(status_of(error))).reason,
            Outcome::Receipt(receipt) if receipt.replayed => "replayed".to_owned(),
            _ => "done".to_owned(),
        })
        .collect()
}

async fn all_or_none(bank: Bank) {
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.create_account(savings("b")).await.unwrap();
    let named = |name: &str| name.to_owned();
    let pay_in =
        |id, amount| Kind::Deposit(v1::DepositRequest { request_id: named(id), ..deposit("a", amount) });
    let pass_on = |id, amount| {
        Kind::Transfer(v1::TransferRequest { request_id: named(id), ..transfer("a", "b", amount) })
    };
    let all = |operations: Vec<Kind>| v1::ExecuteBatchRequest {
        atomic: true,
        receipts_only: true,
        ..batch(operations)
    };
    let mut execute = async |request| client.execute_batch(request).await.unwrap().into_inner().results;

    let refused = all(vec![pay_in("1", 100), pass_on("2", 60), pass_on("3", 60), pay_in("4", 1)]);
    let results = execute(refused.clone()).await;
    let Some(Outcome::Error(aborted)) = results[0].outcome.clone() else { panic!("{results:?}") };
    assert_eq!(failed(Err::<(), _>(status_of(aborted))).metadata["failed_operation"], "2");
    let expected = ["BATCH_ABORTED", "BATCH_ABORTED", "INSUFFICIENT_FUNDS", "BATCH_ABORTED"];
    assert_eq!(reasons(results), expected);
    // The ids of the others are unused; what was refused is refused again, whatever there is by now.
    assert_eq!(reasons(execute(all(vec![pay_in("1", 1_000)])).await), ["done"]);
    let again = all(vec![pay_in("5", 100), pass_on("3", 60)]);
    assert_eq!(reasons(execute(again).await), ["BATCH_ABORTED", "INSUFFICIENT_FUNDS"]);

    let good = all(vec![pay_in("6", 10), pass_on("7", 20), pass_on("8", 30)]);
    assert_eq!(reasons(execute(good.clone()).await), ["done"; 3]);
    assert_eq!(reasons(execute(good).await), ["replayed"; 3]);
    let partly = all(vec![pay_in("9", 10), pass_on("7", 20)]);
    assert_eq!(reasons(execute(partly).await), ["BATCH_ABORTED", "PARTLY_EXECUTED"]);

    // More than otherwise share a commit.
    let mut many: Vec<_> = (0..600).map(|_| Kind::Deposit(deposit("b", 1))).collect();
    many.push(Kind::Withdraw(withdraw("b", 100_000)));
    let results = reasons(execute(all(many.clone())).await);
    assert_eq!((&*results[599], &*results[600]), ("BATCH_ABORTED", "INSUFFICIENT_FUNDS"));
    many.pop();
    assert_eq!(reasons(execute(all(many)).await), ["done"; 600]);
    assert_eq!((balance(&mut client, "a").await, balance(&mut client, "b").await), (960, 650));
    for (account, entries) in [("a", 5), ("b", 603)] {
        let history = history(&mut client, account).await;
        support::api::assert_sound(&history);
        assert_eq!(history.len(), entries);
    }
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_none_in_memory() {
    all_or_none(Bank::memory().await).await;
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_none_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    all_or_none(Bank::on_file(&directory.path().join("bank.redb")).await).await;
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_none_on_redis() {
    let redis = Redis::start().await;
    all_or_none(Bank::on_redis(&redis).await).await;
}
