//! The scopes that operations of a batch need, and the limits that they count against.

use super::*;

#[tokio::test]
async fn each_operation_needs_the_scope_of_its_call_and_is_audited_as_one() {
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
    // One operation without the scope fails its whole atomic batch, and nothing is done.
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

/// The bug: a dry run that filled a foreign account revealed its balance by when it was full.
#[tokio::test]
async fn a_dry_run_does_not_depend_on_the_accounts_of_others() {
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
    // A batch above the burst can never be admitted, and the error says so.
    let error = failed(client.execute_batch(deposits(11)).await);
    assert_eq!(error.message, "operations has 11 operations; 1 to 10 are allowed");
}

#[tokio::test]
async fn limits_message_sizes_and_allows_larger_batches() {
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
