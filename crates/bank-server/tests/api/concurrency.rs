//! Many callers, two servers, one Redis: every acknowledged operation is in the history once, and balances are the sum
//! of what was acknowledged.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;

use bank_proto::v1;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::support::{
    Bank, Redis,
    api::{Client, assert_sound, balance, connect, deposit, history, savings, transfer, withdraw},
};

const TASKS: u64 = 64;
const OPERATIONS_PER_TASK: u64 = 30;
const OPENING_BALANCE: i64 = 10_000;

/// What was acknowledged: the request ids, with what each added to each account.
type Acknowledged = HashMap<String, Vec<(String, i64)>>;

async fn work(mut client: Client, task: u64, accounts: Vec<String>) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    // A small deterministic generator, so that a failure can be repeated.
    let mut state = task + 1;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for number in 0..OPERATIONS_PER_TASK {
        let request_id = format!("{task}-{number}");
        let pick = |at: u64| accounts[usize::try_from(at).unwrap()].clone();
        let count = accounts.len() as u64;
        let (one, other) = (draw(count), draw(count));
        let minor_units = i64::try_from(draw(5_000)).unwrap() + 1;
        let kind = draw(3);
        let (changes, result) = loop {
            let (changes, result) = match kind {
                0 => {
                    let request = v1::DepositRequest {
                        request_id: request_id.clone(),
                        ..deposit(&pick(one), minor_units)
                    };
                    (vec![(pick(one), minor_units)], client.deposit(request).await.map(drop))
                }
                1 if one != other => {
                    let request = v1::TransferRequest {
                        request_id: request_id.clone(),
                        ..transfer(&pick(one), &pick(other), minor_units)
                    };
                    let changes = vec![(pick(one), -minor_units), (pick(other), minor_units)];
                    (changes, client.transfer(request).await.map(drop))
                }
                _ => {
                    let request = v1::WithdrawRequest {
                        request_id: request_id.clone(),
                        ..withdraw(&pick(one), minor_units)
                    };
                    (vec![(pick(one), -minor_units)], client.withdraw(request).await.map(drop))
                }
            };
            // Of two servers that compete for an account one may have to wait too long, on a slow machine.
            // The same request then finds out.
            let undecided = [Code::DeadlineExceeded, Code::Unknown];
            if !result.as_ref().is_err_and(|status: &Status| undecided.contains(&status.code())) {
                break (changes, result);
            }
        };
        match result {
            Ok(()) => {
                acknowledged.insert(request_id, changes);
            }
            Err(status) => assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}"),
        }
    }
    acknowledged
}

async fn check(account_count: usize) {
    let redis = Redis::start().await;
    let (one, two) = tokio::join!(Bank::on_redis(&redis), Bank::on_redis(&redis));
    let accounts: Vec<String> = (0..account_count).map(|number| format!("account-{number}")).collect();
    let mut client = connect(&one.endpoint()).await;
    for account_id in &accounts {
        client.create_account(savings(account_id)).await.unwrap();
        client.deposit(deposit(account_id, OPENING_BALANCE)).await.unwrap();
    }

    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let endpoint = if task % 2 == 0 { one.endpoint() } else { two.endpoint() };
        let accounts = accounts.clone();
        tasks.spawn(async move { work(connect(&endpoint).await, task, accounts).await });
    }
    let acknowledged: Acknowledged = tasks.join_all().await.into_iter().flatten().collect();
    assert!(!acknowledged.is_empty());

    let mut sums: HashMap<&String, i64> = accounts.iter().map(|id| (id, OPENING_BALANCE)).collect();
    for (account_id, minor_units) in acknowledged.values().flatten() {
        *sums.get_mut(account_id).unwrap() += minor_units;
    }
    let mut other = connect(&two.endpoint()).await;
    for (account_id, sum) in sums {
        assert_eq!(balance(&mut client, account_id).await, sum, "{account_id}");
        assert_eq!(balance(&mut other, account_id).await, sum, "{account_id} on the other server");
    }

    let mut found: Acknowledged = HashMap::new();
    for account_id in &accounts {
        let entries = history(&mut client, account_id).await;
        assert_sound(&entries);
        for entry in &entries {
            assert!(entry.balance_after.as_ref().unwrap().minor_units >= 0, "{entry:?}");
        }
        for entry in entries.into_iter().filter(|entry| !entry.request_id.is_empty()) {
            let change = (account_id.clone(), entry.amount.unwrap().minor_units);
            found.entry(entry.request_id).or_default().push(change);
        }
    }
    let sorted = |mut operations: Acknowledged| {
        for changes in operations.values_mut() {
            changes.sort();
        }
        operations
    };
    assert_eq!(sorted(found), sorted(acknowledged), "the history is what was acknowledged, each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_and_64_callers_keep_the_sums_of_ten_accounts() {
    check(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_and_64_callers_keep_the_sum_of_one_account() {
    check(1).await;
}
