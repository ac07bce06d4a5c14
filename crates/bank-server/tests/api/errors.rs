//! Every error that a caller can get: its code, reason and details, and that invalid input leaves no
//! trace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bank_proto::v1::{self, operation::Kind};
use tokio::time::Instant;
use tonic::Code;

use crate::support::{
    Bank, Redis, admin,
    api::{
        Failed, balance, batch, checking, connect, deposit, failed, history, interest, money, savings,
        transfer, usd, withdraw,
    },
};

/// The default of `bank.amount_minor_units_max`.
const AMOUNT_MAX: i64 = 1 << 53;

fn change(account_id: &str) -> v1::FreezeAccountRequest {
    v1::FreezeAccountRequest { account_id: account_id.to_owned(), ..Default::default() }
}

fn close(account_id: &str) -> v1::CloseAccountRequest {
    v1::CloseAccountRequest { account_id: account_id.to_owned(), ..Default::default() }
}

fn limit(account_id: &str, minor_units: i64) -> v1::SetOverdraftLimitRequest {
    v1::SetOverdraftLimitRequest {
        account_id: account_id.to_owned(),
        overdraft_limit: usd(minor_units),
        ..Default::default()
    }
}

/// A rejection by the state of an account: `FAILED_PRECONDITION`, with its subject.
fn check_precondition(failed: &Failed, reason: &str, account_id: &str, values: &[(&str, &str)]) {
    assert_eq!((failed.code, failed.reason.as_str()), (Code::FailedPrecondition, reason), "{failed:?}");
    let violations = &failed.details.precondition_failure().unwrap().violations;
    assert_eq!(violations[0].r#type, reason);
    assert_eq!(violations[0].subject, format!("accounts/{account_id}"));
    assert_eq!(failed.metadata["account_id"], account_id);
    for (key, value) in values {
        assert_eq!(failed.metadata[*key], *value, "{failed:?}");
    }
}

fn check_resource(failed: &Failed, code: Code, reason: &str, name: &str) {
    assert_eq!((failed.code, failed.reason.as_str()), (code, reason), "{failed:?}");
    assert_eq!(failed.details.resource_info().unwrap().resource_name, name);
}

#[tokio::test]
async fn rejections_carry_their_reason_and_values() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("s")).await.unwrap();
    client.create_account(checking("c", 100)).await.unwrap();
    client.deposit(deposit("s", 1_050)).await.unwrap();
    client.withdraw(withdraw("c", 80)).await.unwrap();

    let error = failed(client.withdraw(withdraw("s", 2_000)).await);
    let values = [
        ("currency_code", "USD"),
        ("requested_minor_units", "2000"),
        ("available_minor_units", "1050"),
        ("balance_minor_units", "1050"),
    ];
    check_precondition(&error, "INSUFFICIENT_FUNDS", "s", &values);
    assert_eq!(error.message, "account s has $10.50 available, $20.00 requested");
    let error = failed(client.transfer(transfer("c", "s", 21)).await);
    let values = [("available_minor_units", "20"), ("balance_minor_units", "-80")];
    check_precondition(&error, "INSUFFICIENT_FUNDS", "c", &values);

    let euros = v1::DepositRequest { amount: money("EUR", 1), ..deposit("s", 1) };
    let error = failed(client.deposit(euros).await);
    let values = [("account_currency_code", "USD"), ("requested_currency_code", "EUR")];
    check_precondition(&error, "CURRENCY_MISMATCH", "s", &values);

    check_precondition(
        &failed(client.set_overdraft_limit(limit("s", 1)).await),
        "OVERDRAFT_NOT_ALLOWED",
        "s",
        &[],
    );
    let error = failed(client.set_overdraft_limit(limit("c", 79)).await);
    let values = [("balance_minor_units", "-80"), ("requested_minor_units", "79")];
    check_precondition(&error, "OVERDRAFT_IN_USE", "c", &values);
    let error = failed(client.close_account(close("s")).await);
    check_precondition(&error, "BALANCE_NOT_ZERO", "s", &[("balance_minor_units", "1050")]);

    let unfreeze = v1::UnfreezeAccountRequest { account_id: "s".to_owned(), ..Default::default() };
    check_precondition(&failed(client.unfreeze_account(unfreeze).await), "ACCOUNT_NOT_FROZEN", "s", &[]);
    client.freeze_account(change("s")).await.unwrap();
    check_precondition(&failed(client.withdraw(withdraw("s", 1)).await), "ACCOUNT_FROZEN", "s", &[]);
    check_precondition(&failed(client.freeze_account(change("s")).await), "ACCOUNT_FROZEN", "s", &[]);
    client.create_account(savings("gone")).await.unwrap();
    client.close_account(close("gone")).await.unwrap();
    check_precondition(&failed(client.deposit(deposit("gone", 1)).await), "ACCOUNT_CLOSED", "gone", &[]);

    client.create_account(savings("full")).await.unwrap();
    for _ in 0..2 {
        // 2^63 in all, so that the last one does not fit.
        let largest = batch((0..512).map(|_| Kind::Deposit(deposit("full", AMOUNT_MAX))));
        client.execute_batch(largest).await.unwrap();
    }
    let error = failed(client.deposit(deposit("full", AMOUNT_MAX)).await);
    assert_eq!((error.code, &*error.reason), (Code::OutOfRange, "BALANCE_OUT_OF_RANGE"));
    client.deposit(deposit("full", AMOUNT_MAX - 1)).await.unwrap();
    assert_eq!(balance(&mut client, "full").await, i64::MAX);

    let error = failed(client.create_account(savings("s")).await);
    check_resource(&error, Code::AlreadyExists, "ACCOUNT_ALREADY_EXISTS", "s");
}

#[tokio::test]
async fn every_call_reports_a_missing_account() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let no = "no".to_owned();
    let unfreeze = v1::UnfreezeAccountRequest { account_id: no.clone(), ..Default::default() };
    let list = v1::ListTransactionsRequest { account_id: no.clone(), ..Default::default() };
    for error in [
        failed(client.get_account(v1::GetAccountRequest { account_id: no.clone() }).await),
        failed(client.get_balance(v1::GetBalanceRequest { account_id: no.clone(), as_of: None }).await),
        failed(client.deposit(deposit("no", 1)).await),
        failed(client.withdraw(withdraw("no", 1)).await),
        failed(client.transfer(transfer("no", "a", 1)).await),
        failed(client.transfer(transfer("a", "no", 1)).await),
        failed(client.calculate_interest(interest("no", "1")).await),
        failed(client.list_transactions(list).await),
        failed(client.set_overdraft_limit(limit("no", 1)).await),
        failed(client.freeze_account(change("no")).await),
        failed(client.unfreeze_account(unfreeze).await),
        failed(client.close_account(close("no")).await),
    ] {
        check_resource(&error, Code::NotFound, "ACCOUNT_NOT_FOUND", "no");
        assert_eq!(error.message, "account no does not exist");
        assert_eq!(error.metadata["account_id"], "no");
    }
    for transaction_id in ["no/1767225600000-1", "a/1767225600000-1"] {
        let request = v1::GetTransactionRequest { transaction_id: transaction_id.to_owned() };
        let error = failed(client.get_transaction(request).await);
        check_resource(&error, Code::NotFound, "TRANSACTION_NOT_FOUND", transaction_id);
    }
    let before = prost_types::Timestamp { seconds: 1, nanos: 0 };
    let request = v1::GetBalanceRequest { account_id: "a".to_owned(), as_of: Some(before) };
    let error = failed(client.get_balance(request).await);
    check_resource(&error, Code::NotFound, "ACCOUNT_NOT_FOUND", "a");
    assert_eq!(error.message, "account a did not exist at 1970-01-01T00:00:01Z");
    assert_eq!(error.metadata["as_of_unix_ms"], "1000");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn invalid_input_is_reported_field_by_field_and_leaves_no_trace() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.create_account(savings("b")).await.unwrap();

    /// Expects `INVALID_ARGUMENT` that names exactly these fields.
    macro_rules! check {
        ($method:ident($request:expr) => $($field:literal),+) => {{
            let error = failed(client.$method($request).await);
            assert_eq!((error.code, &*error.reason), (Code::InvalidArgument, "INVALID_ARGUMENT"), "{error:?}");
            let violations = &error.details.bad_request().unwrap().field_violations;
            let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, [$($field),+], "{error:?}");
            for violation in violations {
                assert!(!violation.description.is_empty() && error.message.contains(&violation.description));
            }
        }};
    }

    let huge = "a".repeat(65);
    for account_id in ["", "{a}", "a{b", "a\nb", "a\0", "café", "a b", "a/b", "*", "${x}", &huge] {
        check!(create_account(savings(account_id)) => "account_id");
        check!(deposit(deposit(account_id, 1)) => "account_id");
        check!(withdraw(withdraw(account_id, 1)) => "account_id");
        check!(transfer(transfer(account_id, "b", 1)) => "account_id");
        check!(transfer(transfer("a", account_id, 1)) => "destination_account_id");
        check!(calculate_interest(interest(account_id, "1")) => "account_id");
        check!(get_account(v1::GetAccountRequest { account_id: account_id.to_owned() }) => "account_id");
        check!(close_account(close(account_id)) => "account_id");
        let balance = v1::GetBalanceRequest { account_id: account_id.to_owned(), as_of: None };
        check!(get_balance(balance) => "account_id");
        let list = v1::ListTransactionsRequest { account_id: account_id.to_owned(), ..Default::default() };
        check!(list_transactions(list) => "account_id");
    }
    for minor_units in [0, -1, i64::MIN] {
        check!(deposit(deposit("a", minor_units)) => "amount.minor_units");
        check!(withdraw(withdraw("a", minor_units)) => "amount.minor_units");
        check!(transfer(transfer("a", "b", minor_units)) => "amount.minor_units");
    }
    for code in ["usd", "US", "XXX", "XAU", "€", "USD\0", "ZZZ"] {
        check!(deposit(v1::DepositRequest { amount: money(code, 1), ..deposit("a", 1) }) => "amount.currency_code");
        check!(create_account(v1::CreateAccountRequest { currency_code: code.to_owned(), ..savings("n") })
            => "currency_code");
    }
    for code in ["BGN", "CUC", "HRK", "SLL", "ZWL"] {
        check!(create_account(v1::CreateAccountRequest { currency_code: code.to_owned(), ..savings("n") })
            => "currency_code");
    }
    check!(deposit(v1::DepositRequest { amount: None, ..deposit("a", 1) }) => "amount");
    check!(transfer(transfer("a", "a", 1)) => "destination_account_id");
    for request_id in ["a b", "a\n", "é", &*"r".repeat(65)] {
        check!(deposit(v1::DepositRequest { request_id: request_id.to_owned(), ..deposit("a", 1) }) => "request_id");
    }
    for description in ["a\nb", "\0", &*"d".repeat(257)] {
        let description = description.to_owned();
        check!(deposit(v1::DepositRequest { description, ..deposit("a", 1) }) => "description");
    }
    // All violations at once.
    let wrong = v1::DepositRequest {
        account_id: String::new(),
        amount: money("usd", 0),
        description: "\n".to_owned(),
        request_id: " ".to_owned(),
        validate_only: false,
    };
    check!(deposit(wrong) => "account_id", "amount.currency_code", "description", "request_id");

    check!(create_account(v1::CreateAccountRequest { account_type: 0, ..savings("n") }) => "account_type");
    check!(create_account(v1::CreateAccountRequest { account_type: 9, ..savings("n") }) => "account_type");
    check!(create_account(v1::CreateAccountRequest { owner: "a b".to_owned(), ..savings("n") }) => "owner");
    check!(create_account(checking("n", -1)) => "overdraft_limit.minor_units");
    check!(create_account(v1::CreateAccountRequest { overdraft_limit: usd(1), ..savings("n") }) => "overdraft_limit");
    check!(create_account(v1::CreateAccountRequest { overdraft_limit: money("EUR", 1), ..checking("n", 0) })
        => "overdraft_limit.currency_code");
    let labels = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    check!(create_account(v1::CreateAccountRequest { labels: labels("K", "v"), ..savings("n") }) => "labels");
    check!(create_account(v1::CreateAccountRequest { labels: labels("k", "\n"), ..savings("n") }) => "labels");

    for rate in ["", "two", "2,5", "1e3", "+1", " 1", "1000.1", "-1001", "0.00000000001", "NaN", "inf", "٣"]
    {
        check!(calculate_interest(interest("a", rate)) => "annual_interest_rate");
    }
    let dates = |start: &str, end: &str| v1::CalculateInterestRequest {
        start_date: start.to_owned(),
        end_date: end.to_owned(),
        ..interest("a", "1")
    };
    check!(calculate_interest(dates("2026-01-01", "")) => "end_date");
    check!(calculate_interest(dates("", "2026-01-01")) => "start_date");
    check!(calculate_interest(dates("2026-02-30", "2026-03-01")) => "start_date");
    check!(calculate_interest(dates("2026-01-01", "2026-01-01")) => "end_date");
    check!(calculate_interest(dates("2026-01-01", "2126-01-02")) => "end_date");
    check!(calculate_interest(v1::CalculateInterestRequest { day_count: 99, ..interest("a", "1") }) => "day_count");
    check!(calculate_interest(v1::CalculateInterestRequest { compounding: -1, ..interest("a", "1") })
        => "compounding");
    check!(calculate_interest(v1::CalculateInterestRequest { rounding_mode: 8, ..interest("a", "1") })
        => "rounding_mode");

    let list = |page_size, page_token: &str| v1::ListAccountsRequest {
        page_size,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    check!(list_accounts(list(-1, "")) => "page_size");
    check!(list_accounts(list(i32::MIN, "")) => "page_size");
    check!(list_accounts(list(1, "garbage")) => "page_token");
    check!(list_accounts(v1::ListAccountsRequest { state: 17, ..list(0, "") }) => "state");
    let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let balance_at = |as_of| v1::GetBalanceRequest { account_id: "a".to_owned(), as_of };
    for as_of in [time(i64::MAX, 0), time(i64::MIN, i32::MIN), time(0, -1), time(0, 1_000_000_000)] {
        check!(get_balance(balance_at(as_of)) => "as_of");
    }
    let entries = v1::ListTransactionsRequest { account_id: "a".to_owned(), ..Default::default() };
    for (start_time, end_time) in
        [(time(2, 0), time(1, 0)), (time(1, 452_900_000), time(1, 452_100_000)), (time(-1, 1), time(-1, 0))]
    {
        check!(list_transactions(v1::ListTransactionsRequest {
            start_time,
            end_time,
            ..entries.clone()
        }) => "end_time");
    }
    check!(list_transactions(v1::ListTransactionsRequest { kinds: vec![0], ..entries.clone() }) => "kinds");
    check!(list_transactions(v1::ListTransactionsRequest { kinds: vec![99], ..entries.clone() }) => "kinds");
    check!(list_transactions(v1::ListTransactionsRequest { order: 9, ..entries.clone() }) => "order");
    check!(list_transactions(v1::ListTransactionsRequest { kinds: vec![2; 11], ..entries }) => "kinds");
    for transaction_id in ["", "a", "a/", "a/1", "a/1-", "/1-1", "{a}/1-1", "a/1-1/2"] {
        let request = v1::GetTransactionRequest { transaction_id: transaction_id.to_owned() };
        check!(get_transaction(request) => "transaction_id");
    }

    assert_eq!(history(&mut client, "a").await.len(), 1, "nothing of all that left a trace");
    assert_eq!(client.list_accounts(list(0, "")).await.unwrap().into_inner().accounts.len(), 2);
}

#[tokio::test]
async fn calls_fail_as_unavailable_while_the_store_is_down() {
    let mut redis = Redis::start_durable().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.deposit(deposit("a", 5)).await.unwrap();

    redis.kill();
    // The first calls may use a connection that is just closing. Later ones have a known outcome.
    let error = loop {
        let request = v1::DepositRequest { request_id: "lost?".to_owned(), ..deposit("a", 7) };
        let error = failed(client.deposit(request).await);
        if error.code == Code::Unavailable {
            break error;
        }
        assert!(matches!(&*error.reason, "OUTCOME_UNKNOWN" | "DEADLINE_EXCEEDED"), "{error:?}");
        assert_eq!(error.metadata["request_id"], "lost?");
    };
    assert_eq!(error.reason, "STORE_UNAVAILABLE");
    assert!(error.details.retry_info().unwrap().retry_delay.is_some());
    let read = v1::GetBalanceRequest { account_id: "a".to_owned(), as_of: None };
    assert_eq!(failed(client.get_balance(read).await).reason, "STORE_UNAVAILABLE");

    redis.restart().await;
    let done = loop {
        let request = v1::DepositRequest { request_id: "lost?".to_owned(), ..deposit("a", 7) };
        match client.deposit(request).await {
            Ok(done) => break done.into_inner(),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(done.balance, usd(12));
    assert_eq!(balance(&mut client, "a").await, 12);
}

/// The bug: a number out of range in the store ended the sequencer, and with it every account.
#[tokio::test]
async fn a_damaged_account_ends_its_watch_and_the_others_continue() {
    let redis = Redis::start().await;
    // A server uses cached accounts. With this setting it has to read them.
    let bank = Bank::on_redis_with(&redis, &["--set", "ledger.accounts_remembered_max=1"]).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(checking("good", 0)).await.unwrap();
    client.create_account(checking("bad", 0)).await.unwrap();
    let key = redis.run(&["KEYS", "bank:*:account:bad"]);
    for (field, value) in [
        ("overdraft_limit", "-9223372036854775808"),
        ("newest", "1767225600000-18446744073709551615"),
        ("newest", "1767225600000-01"),
        ("balance", "-1"),
        ("balance", "ten"),
        ("state", "lost"),
    ] {
        let before = redis.run(&["HGET", &key, field]);
        client.deposit(deposit("good", 1)).await.unwrap();
        redis.run(&["HSET", &key, field, value]);
        let error = failed(client.transfer(transfer("good", "bad", 1)).await);
        assert!(matches!(&*error.reason, "STORE_CORRUPT" | "INSUFFICIENT_FUNDS"), "{field} {error:?}");
        let error = failed(client.deposit(deposit("bad", 1)).await);
        assert_eq!((error.code, &*error.reason), (Code::DataLoss, "STORE_CORRUPT"), "{field} {value}");
        client.deposit(deposit("good", 1)).await.unwrap();
        redis.run(&["HSET", &key, field, &before]);
        client.deposit(deposit("bad", 1)).await.unwrap();
        client.withdraw(withdraw("bad", 1)).await.unwrap();
        let good = balance(&mut client, "good").await;
        client.withdraw(withdraw("good", good)).await.unwrap();
    }
    let accounts = client.list_accounts(v1::ListAccountsRequest::default()).await.unwrap().into_inner();
    assert_eq!(accounts.accounts.len(), 2);
}

/// A bank with account `a` on a Redis that was just frozen.
async fn frozen(flags: &[&str]) -> (Redis, Bank, crate::support::api::Client) {
    let redis = Redis::start().await;
    let bank = Bank::on_redis_with(&redis, flags).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    redis.freeze();
    (redis, bank, client)
}

#[tokio::test]
async fn a_full_queue_rejects_at_once_with_a_retry_delay() {
    let (redis, bank, client) = frozen(&["--set", "ledger.queue_commands_max=1"]).await;
    let call = || {
        let mut client = client.clone();
        tokio::spawn(async move { client.deposit(deposit("a", 1)).await })
    };
    let mut calls = vec![call()];
    // One is being committed, one waits.
    admin::taken(&bank, 2).await;
    calls.push(call());
    admin::becomes(&bank, "bank_queue_commands", 1).await;
    let error = failed(call().await.unwrap());
    assert_eq!((error.code, &*error.reason), (Code::ResourceExhausted, "QUEUE_FULL"), "{error:?}");
    assert!(error.details.retry_info().unwrap().retry_delay.is_some());
    let quota = &error.details.quota_failure().unwrap().violations[0];
    assert_eq!(quota.subject, "ledger.queue_commands_max");
    redis.thaw();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(balance(&mut client.clone(), "a").await, 2);
}

#[tokio::test]
async fn an_unknown_outcome_is_reported_with_the_request_id() {
    let flags = ["--set", "ledger.outcome_timeout_ms=300", "--set", "store.redis.command_timeout_ms=200"];
    let (redis, _bank, mut client) = frozen(&flags).await;
    let named = v1::DepositRequest { request_id: "find-out".to_owned(), ..deposit("a", 1) };
    let give_up_at = Instant::now() + std::time::Duration::from_mins(1);
    let error = failed(client.deposit(named.clone()).await);
    assert_eq!((error.code, &*error.reason), (Code::Unknown, "OUTCOME_UNKNOWN"), "{error:?}");
    assert_eq!(error.metadata["request_id"], "find-out");
    assert!(error.message.contains("find-out"), "{error:?}");
    redis.thaw();
    // In either case it is applied once.
    while let Err(status) = client.deposit(named.clone()).await {
        let is_expected = [Code::Unknown, Code::Unavailable].contains(&status.code());
        assert!(is_expected && Instant::now() < give_up_at, "{status:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(client.deposit(named).await.unwrap().into_inner().replayed);
    assert_eq!(balance(&mut client, "a").await, 1);
}

#[tokio::test]
async fn an_expired_deadline_is_reported_with_the_request_id() {
    // So the deadline of the call passes first.
    let patient = "store.redis.command_timeout_ms=60000";
    let flags = ["--set", "server.request_timeout_ms_max=2000", "--set", patient];
    let (redis, _bank, mut client) = frozen(&flags).await;
    let named = v1::DepositRequest { request_id: "late".to_owned(), ..deposit("a", 1) };
    let error = failed(client.deposit(named).await);
    assert_eq!((error.code, &*error.reason), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{error:?}");
    assert_eq!(error.metadata["request_id"], "late");
    let read = v1::GetBalanceRequest { account_id: "a".to_owned(), as_of: None };
    assert_eq!(failed(client.get_balance(read).await).reason, "DEADLINE_EXCEEDED");
    redis.thaw();
}
