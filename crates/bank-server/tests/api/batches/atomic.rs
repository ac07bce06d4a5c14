//! Batches that are executed as a whole or not at all.

use super::*;

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
    // The ids of the others are unused. The rejected one is replayed, whatever the balance is now.
    assert_eq!(reasons(execute(all(vec![pay_in("1", 1_000)])).await), ["done"]);
    let again = all(vec![pay_in("5", 100), pass_on("3", 60)]);
    assert_eq!(reasons(execute(again).await), ["BATCH_ABORTED", "INSUFFICIENT_FUNDS"]);

    let good = all(vec![pay_in("6", 10), pass_on("7", 20), pass_on("8", 30)]);
    assert_eq!(reasons(execute(good.clone()).await), ["done"; 3]);
    assert_eq!(reasons(execute(good).await), ["replayed"; 3]);
    let partly = all(vec![pay_in("9", 10), pass_on("7", 20)]);
    assert_eq!(reasons(execute(partly).await), ["BATCH_ABORTED", "PARTLY_EXECUTED"]);

    // An account is opened, used and changed in one batch. If one operation is rejected, it does not exist.
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
        crate::support::api::assert_sound(&history);
        assert_eq!(history.len(), entries);
    }
}

/// The bug: it was rejected because its id "has been used for a different request".
#[tokio::test]
async fn an_atomic_batch_with_a_repeated_request_id_is_rejected_naming_both_operations() {
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
    // On another account it is another id. Without atomicity, operations may repeat an id.
    let both = v1::ExecuteBatchRequest { atomic: true, ..batch([named("a", 1), named("b", 1)]) };
    let results = client.execute_batch(both).await.unwrap().into_inner().results;
    assert_eq!(reasons(results), ["done"; 2]);
    assert_eq!(balance(&mut client, "a").await, 1);
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_nothing_in_memory() {
    all_or_none(Bank::memory().await).await;
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_nothing_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    all_or_none(Bank::on_file(&directory.path().join("bank.redb")).await).await;
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_nothing_on_redis() {
    let redis = Redis::start().await;
    all_or_none(Bank::on_redis(&redis).await).await;
}
