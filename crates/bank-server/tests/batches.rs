//! Batches against the real server: each operation is what a call of its own would be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use bank_proto::v1::{self, operation::Kind, operation_result::Outcome};
use futures::{TryStreamExt as _, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use support::{
    Bank, Redis,
    api::{
        Client, balance, batch, checking, connect, deposit, failed, history, interest, money, of_stream,
        savings, status_of, transfer, usd, withdraw,
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
    // Nothing else of an answer says that it is to a dry run.
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

/// Makes the call of its own that an operation stands for; of any kind of client.
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
        support::api::assert_sound(&other);
    }
}

/// Dry runs were of one batch: the next began with what is stored, and ids that were used twice were ignored.
#[tokio::test]
async fn a_dry_run_on_a_stream_is_answered_as_the_real_run_is_and_leaves_nothing() {
    let mut random = StdRng::seed_from_u64(4711);
    let (_bank, mut client) = bank_with_accounts().await;
    client.deposit(deposit("a", 5_000)).await.unwrap();
    let mut asked = vec![any_operation(&mut random)];
    let mut batches = Vec::new();
    for _ in 0..60 {
        let count = random.random_range(1..20);
        let from = asked.len();
        for _ in 0..count {
            // Some are asked for again.
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
async fn a_batch_that_is_only_checked_treats_ids_that_it_uses_twice_as_the_real_one_would() {
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
    // What is stored of requests is not looked up.
    let request = v1::ExecuteBatchRequest { validate_only: true, ..batch([named(6)]) };
    let results = execute(&mut client, request).await;
    assert!(matches!(&results[0], Became::Done { balance: 11, replayed: false, .. }), "{results:?}");
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
async fn the_receipt_of_what_moves_no_money_has_an_amount_of_zero_and_its_entry() {
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
async fn what_is_only_checked_changes_nothing() {
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
            create(v1::CreateAccountRequest { owner: "carol".to_owned(), ..savings("c") }),
            Kind::FreezeAccount(freeze("a")),
            Kind::UnfreezeAccount(unfreeze("a")),
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
    let missing = "SCOPE_MISSING";
    assert_eq!(theirs, ["done", "ACCOUNT_NOT_FOUND", "done", missing, missing, missing, missing]);
    // One without leave fails all of an atomic batch, and nothing is done.
    let all = v1::ExecuteBatchRequest { atomic: true, ..operations() };
    let theirs = reasons(alice.execute_batch(all).await.unwrap());
    let aborted = "BATCH_ABORTED";
    assert_eq!(theirs, [aborted, aborted, aborted, missing, aborted, aborted, aborted]);
    let a = v1::GetAccountRequest { account_id: "a".to_owned() };
    assert_eq!(alice.get_account(a).await.unwrap().into_inner().account.unwrap().version, 3);
    let theirs = reasons(clerk.execute_batch(operations()).await.unwrap());
    assert_eq!(theirs, [missing, missing, missing, "done", missing, "done", "done"]);
    assert_eq!(reasons(admin.execute_batch(operations()).await.unwrap()), ["done"; 7]);

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
            "permission_denied alice CreateAccount c  PermissionDenied",
            "permission_denied alice FreezeAccount a  PermissionDenied",
            "permission_denied alice UnfreezeAccount a  PermissionDenied",
            "permission_denied alice CalculateInterest a  PermissionDenied",
            "permission_denied clerk Deposit a  PermissionDenied",
            "permission_denied clerk Withdraw b w1 PermissionDenied",
            "permission_denied clerk Transfer a  PermissionDenied",
            "administrative clerk CalculateInterest a  Ok",
            "permission_denied clerk CreateAccount c  PermissionDenied",
            "administrative clerk FreezeAccount a  Ok",
            "administrative clerk UnfreezeAccount a  Ok",
            "administrative root Deposit a  Ok",
            "administrative root Withdraw b w1 Ok",
            "administrative root Transfer a  Ok",
            "administrative root CalculateInterest a  Ok",
            "administrative root CreateAccount c  Ok",
            "administrative root FreezeAccount a  Ok",
            "administrative root UnfreezeAccount a  Ok",
        ]
    );
}

/// A dry run that filled somebody else's account up told what it held by when it was full.
#[tokio::test]
async fn a_dry_run_does_not_depend_on_what_somebody_else_has() {
    const STEP: i64 = 1 << 52;
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let mut alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
    let mut bob = issuer.caller(&bank.endpoint(), "bob", CUSTOMER).await;
    alice.create_account(savings("a")).await.unwrap();
    bob.create_account(savings("b")).await.unwrap();
    bob.deposit(deposit("b", 100)).await.unwrap();
    // All that 64 bits hold.
    let amounts = || (0..2047).map(|_| STEP).chain([STEP - 1]);
    let deposits = amounts().map(|amount| Kind::Deposit(deposit("a", amount)));
    let transfers = amounts().map(|amount| Kind::Transfer(transfer("a", "b", amount)));
    let operations: Vec<_> = deposits.chain(transfers).collect();
    let messages: Vec<_> = operations
        .chunks(1000)
        .map(|operations| v1::ExecuteStreamRequest {
            validate_only: true,
            receipts_only: true,
            ..of_stream(batch(operations.to_vec()))
        })
        .collect();
    let replies = alice.execute_stream(stream::iter(messages)).await.unwrap().into_inner();
    let replies: Vec<_> = replies.try_collect().await.unwrap();
    let became: Vec<_> = replies.into_iter().flat_map(|reply| reasons(reply.results)).collect();
    assert_eq!(became, vec!["done"; 2 * 2048]);
}

#[tokio::test]
async fn an_operation_of_each_kind_needs_the_scope_of_its_own_call() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let mut root = issuer.caller(&bank.endpoint(), "root", ALL).await;
    for account in [checking("a", 0), savings("b")] {
        root.create_account(v1::CreateAccountRequest { owner: "alice".to_owned(), ..account }).await.unwrap();
    }
    root.deposit(deposit("a", 100)).await.unwrap();
    for scope in ["bank.read", "bank.write", "bank.admin", "bank.write bank.admin"] {
        let mut alice = issuer.caller(&bank.endpoint(), "alice", scope).await;
        let operations = [
            Kind::Deposit(deposit("a", 1)),
            Kind::Withdraw(withdraw("a", 1)),
            Kind::Transfer(transfer("a", "b", 1)),
            Kind::CalculateInterest(Box::new(interest("a", "2.5"))),
            create(savings("new")),
            create(checking("new", 1)),
            create(v1::CreateAccountRequest { owner: "bob".to_owned(), ..savings("new") }),
            Kind::SetOverdraftLimit(limit("a", 1)),
            Kind::FreezeAccount(freeze("a")),
            Kind::CloseAccount(close("b")),
        ];
        let request = v1::ExecuteBatchRequest { validate_only: true, ..batch(operations.clone()) };
        let results = alice.execute_batch(request).await.unwrap().into_inner().results;
        for (operation, result) in operations.into_iter().zip(results) {
            let said = format!("{scope}: {operation:?}");
            let is_denied =
                |became: &Became| matches!(became, Became::Failed { code: Code::PermissionDenied, .. });
            let (singly, together) = (singly!(alice, only_checked(operation)), became(result));
            assert_eq!(is_denied(&singly), is_denied(&together), "{said}: {singly:?} {together:?}");
            if is_denied(&singly) {
                assert_eq!(singly, together, "{said}");
            }
        }
    }
}

fn only_checked(mut operation: Kind) -> Kind {
    *match &mut operation {
        Kind::Deposit(request) => &mut request.validate_only,
        Kind::Withdraw(request) => &mut request.validate_only,
        Kind::Transfer(request) => &mut request.validate_only,
        Kind::CalculateInterest(request) => &mut request.validate_only,
        Kind::CreateAccount(request) => &mut request.validate_only,
        Kind::SetOverdraftLimit(request) => &mut request.validate_only,
        Kind::FreezeAccount(request) => &mut request.validate_only,
        Kind::UnfreezeAccount(request) => &mut request.validate_only,
        Kind::CloseAccount(request) => &mut request.validate_only,
    } = true;
    operation
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
    let error = failed(client.execute_batch(long).await);
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"), "{error:?}");
    assert!(error.message.contains("server.batch_bytes_max"), "{error:?}");
    let description = "d".repeat(70_000);
    let error = failed(client.deposit(v1::DepositRequest { description, ..deposit("a", 1) }).await);
    assert!(error.message.contains("server.message_bytes_max"), "{error:?}");
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

    // An account is opened, used and changed in one batch; where one operation is refused, it never was.
    let new = |last: Kind| {
        let opened = v1::CreateAccountRequest { request_id: named("10"), ..checking("new", 50) };
        let steps = [Kind::Deposit(deposit("new", 100)), Kind::Transfer(transfer("new", "b", 120)), last];
        all([create(opened)].into_iter().chain(steps).collect())
    };
    let refused = new(Kind::CloseAccount(close("new")));
    assert_eq!(
        reasons(execute(refused).await),
        ["BATCH_ABORTED", "BATCH_ABORTED", "BATCH_ABORTED", "BALANCE_NOT_ZERO"]
    );
    assert_eq!(reasons(execute(all(vec![Kind::Deposit(deposit("new", 1))])).await), ["ACCOUNT_NOT_FOUND"]);
    let good = new(Kind::FreezeAccount(freeze("new")));
    assert_eq!(reasons(execute(good).await), ["done"; 4]);
    let again = v1::CreateAccountRequest { request_id: named("10"), ..checking("new", 50) };
    assert_eq!(reasons(execute(all(vec![create(again)])).await), ["replayed"]);
    let all_of_new = [
        Kind::UnfreezeAccount(unfreeze("new")),
        Kind::Deposit(deposit("new", 20)),
        Kind::SetOverdraftLimit(limit("new", 0)),
        Kind::CloseAccount(close("new")),
    ];
    assert_eq!(reasons(execute(all(all_of_new.to_vec())).await), ["done"; 4]);

    // More than otherwise share a commit.
    let mut many: Vec<_> = (0..600).map(|_| Kind::Deposit(deposit("b", 1))).collect();
    many.push(Kind::Withdraw(withdraw("b", 100_000)));
    let results = reasons(execute(all(many.clone())).await);
    assert_eq!((&*results[599], &*results[600]), ("BATCH_ABORTED", "INSUFFICIENT_FUNDS"));
    many.pop();
    assert_eq!(reasons(execute(all(many)).await), ["done"; 600]);
    assert_eq!((balance(&mut client, "a").await, balance(&mut client, "b").await), (960, 770));
    for (account, entries) in [("a", 5), ("b", 604), ("new", 8)] {
        let history = history(&mut client, account).await;
        support::api::assert_sound(&history);
        assert_eq!(history.len(), entries);
    }
}

/// It was told that its id "has been used for a different request".
#[tokio::test]
async fn a_request_id_that_is_used_twice_in_an_atomic_batch_is_told_with_both_operations() {
    let (_bank, mut client) = bank_with_accounts().await;
    let named = |account: &str, amount| {
        Kind::Deposit(v1::DepositRequest { request_id: "r".to_owned(), ..deposit(account, amount) })
    };
    for other in [named("a", 1), named("a", 2)] {
        let operations = [named("b", 1), named("a", 1), Kind::Deposit(deposit("a", 1)), other];
        let request = v1::ExecuteBatchRequest { atomic: true, ..batch(operations.clone()) };
        let mut results = client.execute_batch(request).await.unwrap().into_inner().results;
        let Some(Outcome::Error(error)) = results.pop().unwrap().outcome else { panic!() };
        let error = failed(Err::<(), _>(status_of(error)));
        assert_eq!((error.code, &*error.reason), (Code::InvalidArgument, "REQUEST_ID_REPEATED"));
        assert_eq!(
            error.message,
            "operations 1 and 3 of the atomic batch both have the request id r on account a; each needs its own"
        );
        assert_eq!((&*error.metadata["first_operation"], &*error.metadata["second_operation"]), ("1", "3"));
        assert_eq!(reasons(results), ["BATCH_ABORTED"; 3]);
    }
    assert_eq!(balance(&mut client, "a").await, 0);
    // On another account it is another id; and operations that stand for themselves may repeat one another.
    let both = v1::ExecuteBatchRequest { atomic: true, ..batch([named("a", 1), named("b", 1)]) };
    let results = client.execute_batch(both).await.unwrap().into_inner().results;
    assert_eq!(reasons(results), ["done"; 2]);
    assert_eq!(balance(&mut client, "a").await, 1);
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
