//! Every method of the library, and its errors, as the real server answers them.

use std::{collections::BTreeMap, time::Duration};

use bank_client::{
    AccountId, AccountState, AccountType, BankClient, Compounding, Currency, DayCount, DurabilityLevel,
    EntryKind, Error, ListOrder, Money, Rejection, Route, TryStreamExt as _,
};

use crate::process::Server;

fn usd(minor_units: i64) -> Money {
    Money { currency: Currency::USD, minor_units }
}

fn eur(minor_units: i64) -> Money {
    Money { currency: "EUR".parse().unwrap(), minor_units }
}

async fn start() -> (Server, BankClient) {
    let server = Server::start();
    let client = BankClient::builder(server.endpoint()).connections(2).connect().await.unwrap();
    (server, client)
}

#[tokio::test]
async fn every_method_answers() {
    let (_server, client) = start().await;
    let opened = client
        .create_account("shop", AccountType::Checking)
        .currency(Currency::USD)
        .owner("alice")
        .label("branch", "north")
        .overdraft_limit(usd(10_000))
        .await
        .unwrap();
    assert_eq!(opened.message, "Account shop created successfully");
    assert_eq!(opened.account.labels, BTreeMap::from([("branch".to_owned(), "north".to_owned())]));
    assert_eq!(opened.entry.kind, EntryKind::AccountOpened);
    client.create_account("till", AccountType::Savings).currency(Currency::USD).await.unwrap();

    let deposit = client.deposit("shop", usd(50_000)).description("für Mai").await.unwrap();
    assert_eq!(deposit.message, "Successfully deposited $500.00");
    assert_eq!(deposit.entry.description, "für Mai");
    let withdrawal = client.withdraw("shop", usd(10_000)).await.unwrap();
    assert_eq!((withdrawal.entry.amount, withdrawal.balance), (usd(-10_000), usd(40_000)));
    let transfer = client.transfer(Route { from: "shop", to: "till" }, usd(15_000)).await.unwrap();
    assert_eq!(transfer.entry.counterparty.as_ref().map(AccountId::as_str), Some("till"));

    let interest = client
        .calculate_interest("till", "2.5")
        .period("2026-01-01".."2027-01-01")
        .day_count(DayCount::ActActIsda)
        .compounding(Compounding::Yearly)
        .await
        .unwrap();
    assert_eq!((interest.interest, interest.balance), (usd(375), usd(15_375)));
    assert_eq!(interest.breakdown.days, 365);
    assert_eq!(interest.entry.interest_terms.as_ref(), Some(&interest.breakdown.terms));

    let limit = client.set_overdraft_limit("shop", usd(20_000)).await.unwrap();
    assert_eq!(limit.entry.overdraft_limit, Some(usd(20_000)));
    let balance = client.balance("shop").await.unwrap();
    assert_eq!((balance.balance, balance.available), (usd(25_000), Some(usd(45_000))));
    let then = client.balance("shop").as_of(limit.entry.created_at).await.unwrap();
    assert_eq!((then.balance, then.available), (usd(25_000), None));

    let freeze = client.freeze_account("shop").description("inventory").await.unwrap();
    assert_eq!(freeze.entry.kind, EntryKind::AccountFrozen);
    assert_eq!(client.account("shop").await.unwrap().state, AccountState::Frozen);
    client.unfreeze_account("shop").await.unwrap();

    let movement = client.transaction(&transfer.entry.transaction_id).await.unwrap();
    let accounts: Vec<_> = movement.entries.iter().map(|entry| entry.account_id.as_str()).collect();
    assert_eq!(accounts, ["shop", "till"]);
    assert_eq!(movement.entries[0], transfer.entry);

    client.withdraw("till", usd(15_375)).await.unwrap();
    let close = client.close_account("till").await.unwrap();
    assert_eq!(close.entry.kind, EntryKind::AccountClosed);

    let info = client.server_info().await.unwrap();
    assert_eq!((info.version.as_str(), info.store.kind.as_str()), (env!("CARGO_PKG_VERSION"), "memory"));
    assert_eq!(info.store.durability.level, DurabilityLevel::None);
    assert_eq!((info.lost_writes.accounts, info.lost_writes.found_at), (0, None));
    assert_eq!(info.limits.request_retention, Duration::from_hours(24));
    assert!(info.started_at <= opened.entry.created_at);
}

#[tokio::test]
async fn lists_are_streamed_and_filtered() {
    let (_server, client) = start().await;
    for number in 0..7 {
        let kind = if number % 2 == 0 { AccountType::Savings } else { AccountType::Checking };
        client.create_account(format!("a{number}"), kind).currency(Currency::USD).await.unwrap();
    }
    let accounts: Vec<_> = client.accounts().page_size(2).stream().try_collect().await.unwrap();
    let mut ids: Vec<_> = accounts.iter().map(|account| account.account_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["a0", "a1", "a2", "a3", "a4", "a5", "a6"]);
    let checking = client.accounts().account_type(AccountType::Checking).stream();
    assert_eq!(checking.try_collect::<Vec<_>>().await.unwrap().len(), 3);

    for amount in 1..=25 {
        client.deposit("a0", usd(amount)).await.unwrap();
    }
    let history = client.history("a0").page_size(10);
    let newest: Vec<_> = history.clone().stream().try_collect().await.unwrap();
    assert!(newest.iter().map(|entry| entry.sequence).eq((1..=26).rev()));
    let oldest: Vec<_> = history.clone().order(ListOrder::OldestFirst).stream().try_collect().await.unwrap();
    assert!(oldest.iter().eq(newest.iter().rev()));
    let opened = history.clone().kind(EntryKind::AccountOpened).stream();
    assert_eq!(opened.try_collect::<Vec<_>>().await.unwrap().len(), 1);

    let middle = &oldest[13];
    let since = history.clone().since(middle.created_at).stream().try_collect::<Vec<_>>().await.unwrap();
    let before = history.before(middle.created_at).stream().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(since.len() + before.len(), 26);
    assert!(since.contains(middle) && !before.contains(middle));
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let (_server, client) = start().await;
    client.create_account("s", AccountType::Savings).currency(Currency::USD).await.unwrap();
    let preview = client.deposit("s", usd(1_000)).validate_only().await.unwrap();
    assert_eq!(preview.balance, usd(1_000));
    assert_eq!(client.account("s").await.unwrap().version, 1);
    let error = client.withdraw("s", usd(1)).validate_only().await.unwrap_err();
    assert!(
        matches!(error, Error::Rejected { rejection: Rejection::InsufficientFunds { .. }, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn insufficient_funds_name_the_available_amount() {
    let (_server, client) = start().await;
    client.create_account("s", AccountType::Savings).currency(Currency::USD).await.unwrap();
    client.deposit("s", usd(1_000)).await.unwrap();

    let call = client.withdraw("s", usd(5_000)).request_id("r".parse().unwrap());
    let error = call.clone().await.unwrap_err();
    let Error::Rejected {
        rejection: Rejection::InsufficientFunds { account_id, requested, available, balance },
        replayed: false,
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!((account_id.as_str(), *requested), ("s", usd(5_000)));
    assert_eq!((*available, *balance), (usd(1_000), usd(1_000)));

    client.deposit("s", usd(9_000)).await.unwrap();
    assert!(call.await.unwrap_err().replayed());
    let error = client.withdraw("s", usd(1)).request_id("r".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::RequestIdReused { .. }), "{error:?}");
}

#[tokio::test]
async fn rejections_are_typed() {
    let (_server, client) = start().await;
    client.create_account("s", AccountType::Savings).currency(Currency::USD).await.unwrap();
    client.deposit("s", usd(1_000)).await.unwrap();
    client.create_account("c", AccountType::Checking).currency(Currency::USD).await.unwrap();
    client.set_overdraft_limit("c", usd(500)).await.unwrap();
    client.withdraw("c", usd(400)).await.unwrap();
    client.create_account("closed", AccountType::Savings).currency(Currency::USD).await.unwrap();
    client.close_account("closed").await.unwrap();
    client.create_account("frozen", AccountType::Savings).currency(Currency::USD).await.unwrap();
    client.freeze_account("frozen").await.unwrap();
    client.create_account("full", AccountType::Savings).currency(Currency::USD).await.unwrap();
    for _ in 0..2 {
        let largest =
            (0..512).fold(client.batch(), |batch, _| batch.add(client.deposit("full", usd(1 << 53))));
        largest.await.unwrap();
    }

    for (error, reason) in [
        (client.account("nobody").await.unwrap_err(), "ACCOUNT_NOT_FOUND"),
        (client.transaction("s/1-1").await.unwrap_err(), "TRANSACTION_NOT_FOUND"),
        (client.create_account("s", AccountType::Savings).await.unwrap_err(), "ACCOUNT_ALREADY_EXISTS"),
        (client.deposit("closed", usd(1)).await.unwrap_err(), "ACCOUNT_CLOSED"),
        (client.withdraw("frozen", usd(1)).await.unwrap_err(), "ACCOUNT_FROZEN"),
        (client.unfreeze_account("s").await.unwrap_err(), "ACCOUNT_NOT_FROZEN"),
        (client.deposit("s", eur(1)).await.unwrap_err(), "CURRENCY_MISMATCH"),
        (client.set_overdraft_limit("s", usd(1)).await.unwrap_err(), "OVERDRAFT_NOT_ALLOWED"),
        (client.set_overdraft_limit("c", usd(300)).await.unwrap_err(), "OVERDRAFT_IN_USE"),
        (client.close_account("s").await.unwrap_err(), "BALANCE_NOT_ZERO"),
        (client.deposit("full", usd(1 << 53)).await.unwrap_err(), "BALANCE_OUT_OF_RANGE"),
        (client.withdraw("s", usd(1_001)).await.unwrap_err(), "INSUFFICIENT_FUNDS"),
    ] {
        assert_eq!(error.reason(), reason, "{error:?}");
        assert!(error.is_rejection(), "{error:?}");
    }

    let error = client.withdraw("{bad}", usd(-1)).await.unwrap_err();
    let Error::InvalidArgument { violations, .. } = &error else { panic!("{error:?}") };
    let fields: Vec<_> = violations.iter().map(|violation| &*violation.field).collect();
    assert_eq!(fields, ["account_id", "amount.minor_units"]);
}

/// The bug: a token of 15 KB was answered with HTTP 431, and the caller was told that the outcome is unknown.
#[tokio::test]
async fn a_token_too_large_for_the_server_has_a_known_outcome() {
    let server = Server::start();
    for (bytes, says) in [(20_000, "server.header_bytes_max"), (40_000, "431")] {
        let client = BankClient::builder(server.endpoint()).token("x".repeat(bytes)).connect().await.unwrap();
        for error in [
            client.deposit("a", usd(1)).await.unwrap_err(),
            client.batch().add(client.deposit("a", usd(1))).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::RequestTooLarge { .. }), "{bytes}: {error:?}");
            assert!(error.to_string().contains(says) && !error.outcome_unknown(), "{bytes}: {error}");
        }
    }
    let client = BankClient::builder(server.endpoint()).token("x".repeat(100_000)).connect().await.unwrap();
    assert!(matches!(client.deposit("a", usd(1)).await, Err(Error::Token(_))));
}
