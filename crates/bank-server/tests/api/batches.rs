//! Batches against the real server: each operation behaves like its own call.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bank_proto::v1::{self, operation::Kind, operation_result::Outcome};
use futures::{TryStreamExt as _, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Bank, Redis,
    api::{
        Client, balance, batch, checking, connect, deposit, failed, history, interest, money, of_stream,
        savings, status_of, transfer, usd, withdraw,
    },
    tokens::{ALL, CUSTOMER, Issuer},
};

/// The outcome of an operation, without what differs between banks: times and hashes.
#[derive(Debug, PartialEq)]
enum Became {
    Done { message: String, balance: i64, sequence: i64, replayed: bool },
    Failed { code: Code, message: String, details: String },
}

fn done(message: String, balance: Option<v1::Money>, entry: Option<v1::Entry>, replayed: bool) -> Became {
    let (balance, sequence) = (balance.unwrap().minor_units, entry.unwrap().sequence);
    // Nothing else in a reply shows that it is a dry run.
    let message =
        message.strip_prefix("Dry run. The call would answer: ").map_or(message.clone(), str::to_owned);
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
        Outcome::CreateAccount(reply) => {
            assert_eq!(reply.account.unwrap().account_id, reply.account_id);
            done(reply.message, reply.balance, reply.entry, reply.replayed)
        }
        Outcome::SetOverdraftLimit(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
        Outcome::FreezeAccount(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
        Outcome::UnfreezeAccount(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
        Outcome::CloseAccount(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
        Outcome::Error(error) => failure(&status_of(error)),
        Outcome::Receipt(receipt) => panic!("nobody asked for {receipt:?}"),
    }
}

macro_rules! answer {
    ($client:expr, $method:ident, $request:expr) => {
        match $client.$method($request).await.map(tonic::Response::into_inner) {
            Ok(reply) => done(reply.message, reply.balance, reply.entry, reply.replayed),
            Err(status) => failure(&status),
        }
    };
}

/// Makes the call that an operation stands for, with any kind of client.
macro_rules! singly {
    ($client:expr, $operation:expr) => {
        match $operation {
            Kind::Deposit(request) => answer!($client, deposit, request),
            Kind::Withdraw(request) => answer!($client, withdraw, request),
            Kind::Transfer(request) => answer!($client, transfer, request),
            Kind::CalculateInterest(request) => answer!($client, calculate_interest, *request),
            Kind::CreateAccount(request) => answer!($client, create_account, *request),
            Kind::SetOverdraftLimit(request) => answer!($client, set_overdraft_limit, request),
            Kind::FreezeAccount(request) => answer!($client, freeze_account, request),
            Kind::UnfreezeAccount(request) => answer!($client, unfreeze_account, request),
            Kind::CloseAccount(request) => answer!($client, close_account, request),
        }
    };
}

// After the macro, which they use.
mod atomic;
mod permissions;

fn create(account: v1::CreateAccountRequest) -> Kind {
    Kind::CreateAccount(Box::new(account))
}

fn limit(account_id: &str, minor_units: i64) -> v1::SetOverdraftLimitRequest {
    let account_id = account_id.to_owned();
    v1::SetOverdraftLimitRequest { account_id, overdraft_limit: usd(minor_units), ..Default::default() }
}

fn freeze(account_id: &str) -> v1::FreezeAccountRequest {
    v1::FreezeAccountRequest { account_id: account_id.to_owned(), ..Default::default() }
}

fn unfreeze(account_id: &str) -> v1::UnfreezeAccountRequest {
    v1::UnfreezeAccountRequest { account_id: account_id.to_owned(), ..Default::default() }
}

fn close(account_id: &str) -> v1::CloseAccountRequest {
    v1::CloseAccountRequest { account_id: account_id.to_owned(), ..Default::default() }
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
    client.close_account(close("closed")).await.unwrap();
    client.freeze_account(freeze("frozen")).await.unwrap();
    (bank, client)
}

/// The last three do not exist at first.
const ACCOUNTS: [&str; 9] = ["a", "b", "c", "e", "closed", "frozen", "n1", "n2", "n3"];

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
    match random.random_range(0..15) {
        0..4 => Kind::Deposit(v1::DepositRequest {
            amount: money(if random.random_bool(0.1) { "EUR" } else { "" }, amount),
            request_id,
            ..deposit(account, 1)
        }),
        4..6 => Kind::Withdraw(v1::WithdrawRequest { request_id, ..withdraw(account, amount) }),
        6..9 => Kind::Transfer(v1::TransferRequest { request_id, ..transfer(account, other, amount) }),
        9 => Kind::CalculateInterest(Box::new(v1::CalculateInterestRequest {
            request_id,
            ..interest(account, "2.5")
        })),
        10 => {
            let new = ["n1", "n2", "n3"].choose(random).unwrap();
            create(v1::CreateAccountRequest { request_id, ..checking(new, amount) })
        }
        11 => Kind::SetOverdraftLimit(v1::SetOverdraftLimitRequest { request_id, ..limit(account, amount) }),
        12 => Kind::FreezeAccount(v1::FreezeAccountRequest { request_id, ..freeze(account) }),
        13 => Kind::UnfreezeAccount(v1::UnfreezeAccountRequest { request_id, ..unfreeze(account) }),
        _ => Kind::CloseAccount(v1::CloseAccountRequest { request_id, ..close(account) }),
    }
}

#[tokio::test]
async fn operations_end_like_single_calls_and_leave_the_same_histories() {
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
            assert_eq!(singly!(singles, operation), together, "{said}");
        }
    }
    for account in ACCOUNTS {
        let plain = |entry: &v1::Entry| {
            let v1::Entry { sequence, kind, amount, balance_after, request_id, .. } = entry.clone();
            (sequence, kind, amount, balance_after, request_id, entry.counterparty_account_id.clone())
        };
        let [one, other] = [history(&mut singles, account).await, history(&mut batches, account).await];
        assert!(one.iter().map(plain).eq(other.iter().map(plain)), "{account}");
        crate::support::api::assert_sound(&other);
    }
}

/// The bug: each dry run covered one batch only, the next began with the stored state, and repeated ids were ignored.
#[tokio::test]
async fn a_dry_run_on_a_stream_answers_like_the_real_run_and_leaves_nothing() {
    let mut random = StdRng::seed_from_u64(4711);
    let (_bank, mut client) = bank_with_accounts().await;
    client.deposit(deposit("a", 5_000)).await.unwrap();
    let mut asked = vec![any_operation(&mut random)];
    let mut batches = Vec::new();
    for _ in 0..60 {
        let count = random.random_range(1..20);
        let from = asked.len();
        for _ in 0..count {
            // Some are sent again.
            let again = random.random_bool(0.2).then(|| asked.choose(&mut random).unwrap().clone());
            asked.push(again.unwrap_or_else(|| any_operation(&mut random)));
        }
        // Short ones, so that some succeed.
        let atomic = count < 5;
        batches.push(v1::ExecuteBatchRequest { atomic, ..batch(asked[from..].to_vec()) });
    }
    let named = Kind::Deposit(v1::DepositRequest { request_id: "twice".to_owned(), ..deposit("a", 1) });
    let all = |operations: &[Kind]| v1::ExecuteBatchRequest { atomic: true, ..batch(operations.to_vec()) };
    batches.push(all(&[named.clone(), named.clone()]));
    batches.push(all(std::slice::from_ref(&named)));
    batches.push(all(&[Kind::Deposit(deposit("b", 1)), named.clone()]));
    batches.push(all(&[named]));
    let mut runs = Vec::new();
    for validate_only in [true, false] {
        let before = history(&mut client, "a").await;
        let messages: Vec<_> = batches.iter().cloned().map(of_stream).collect();
        let messages =
            messages.into_iter().map(move |message| v1::ExecuteStreamRequest { validate_only, ..message });
        let replies = client.execute_stream(stream::iter(messages)).await.unwrap().into_inner();
        let replies: Vec<_> = replies.try_collect().await.unwrap();
        runs.push(
            replies
                .into_iter()
                .map(|reply| {
                    assert_eq!(reply.error, None);
                    reply.results.into_iter().map(became).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>(),
        );
        assert_eq!(history(&mut client, "a").await == before, validate_only);
    }
    for (number, (dry, real)) in runs[0].iter().zip(&runs[1]).enumerate() {
        assert_eq!(dry, real, "batch {number}: {:?}", batches[number]);
    }
    let said = format!("{:?}", runs[1]);
    for what in
        ["replayed: true", "REQUEST_ID_REUSED", "REQUEST_ID_REPEATED", "PARTLY_EXECUTED", "BATCH_ABORTED"]
    {
        assert!(said.contains(what), "{what} does not come up");
    }
}

#[tokio::test]
async fn a_dry_run_treats_repeated_request_ids_as_the_real_batch_does() {
    let (_bank, mut client) = bank_with_accounts().await;
    let named =
        |amount| Kind::Deposit(v1::DepositRequest { request_id: "r".to_owned(), ..deposit("a", amount) });
    let operations = [named(5), named(5), named(6)];
    let mut runs = Vec::new();
    for validate_only in [true, false] {
        let request = v1::ExecuteBatchRequest { validate_only, ..batch(operations.clone()) };
        runs.push(execute(&mut client, request).await);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(matches!(&runs[0][1], Became::Done { balance: 5, sequence: 2, replayed: true, .. }), "{runs:?}");
    assert!(matches!(&runs[0][2], Became::Failed { details, .. } if details.contains("REQUEST_ID_REUSED")));
    // Stored request records are not consulted.
    let request = v1::ExecuteBatchRequest { validate_only: true, ..batch([named(6)]) };
    let results = execute(&mut client, request).await;
    assert!(matches!(&results[0], Became::Done { balance: 11, replayed: false, .. }), "{results:?}");
}

#[tokio::test]
async fn a_resent_batch_gets_the_results_of_the_first() {
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
async fn receipts_contain_only_the_essential_fields() {
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
async fn the_receipt_of_a_command_without_movement_has_amount_zero() {
    let (_bank, mut client) = bank_with_accounts().await;
    let operations = [
        create(checking("new", 0)),
        Kind::Deposit(deposit("new", 70)),
        Kind::SetOverdraftLimit(limit("new", 100)),
        Kind::FreezeAccount(freeze("new")),
        Kind::UnfreezeAccount(unfreeze("new")),
        Kind::Withdraw(withdraw("new", 70)),
        Kind::CloseAccount(close("new")),
    ];
    let request = v1::ExecuteBatchRequest { receipts_only: true, ..batch(operations) };
    let results = client.execute_batch(request).await.unwrap().into_inner().results;
    let entries = history(&mut client, "new").await;
    assert_eq!(results.len(), entries.len());
    let mut amounts = Vec::new();
    for (result, entry) in results.into_iter().zip(entries) {
        let Some(Outcome::Receipt(receipt)) = result.outcome else { panic!("{result:?}") };
        assert_eq!((receipt.transaction_id, receipt.sequence), (entry.transaction_id, entry.sequence));
        assert_eq!((usd(receipt.balance_minor_units), &*receipt.currency_code), (entry.balance_after, "USD"));
        amounts.push(receipt.amount_minor_units);
    }
    assert_eq!(amounts, [0, 70, 0, 0, 0, -70, 0]);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (_bank, mut client) = bank_with_accounts().await;
    let operations = [Kind::Deposit(deposit("a", 100)), Kind::Withdraw(withdraw("b", 30))];
    let request = v1::ExecuteBatchRequest { validate_only: true, ..batch(operations) };
    let results = execute(&mut client, request).await;
    let message = "Successfully deposited $1.00".to_owned();
    assert_eq!(results[0], Became::Done { message, balance: 100, sequence: 2, replayed: false });
    assert!(matches!(&results[1], Became::Failed { code: Code::FailedPrecondition, .. }), "{results:?}");
    assert_eq!(history(&mut client, "a").await.len(), 1);
}

#[tokio::test]
async fn reports_all_violations_with_their_operations() {
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
    // Some clients accept 8 KiB of headers. The bug: twenty operations without a kind took more than that.
    let operations = vec![v1::Operation { kind: None }; 1000];
    let empty = v1::ExecuteBatchRequest { operations, ..Default::default() };
    let status = client.execute_batch(empty).await.unwrap_err();
    let bytes = status.message().len() + status.details().len().div_ceil(3) * 4;
    assert!(
        bytes < 8 * 1024 - 256 && status.message().ends_with("more violations"),
        "{bytes} bytes: {status:?}"
    );
    for count in [0, 1001] {
        let error =
            failed(client.execute_batch(batch((0..count).map(|_| Kind::Deposit(deposit("a", 1))))).await);
        assert_eq!(error.message, format!("operations has {count} operations; 1 to 1000 are allowed"));
    }
    assert_eq!(history(&mut client, "a").await.len(), 1, "nothing was done");
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
