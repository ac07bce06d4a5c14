//! Every call, on real Redis, over real TCP, against the real binary.

use bank_proto::v1;

use crate::support::{
    Bank, Redis,
    api::{
        assert_sound, checking, connect, deposit, history, interest, money, savings, transfer, usd, withdraw,
    },
};

#[tokio::test]
async fn the_original_session_reads_as_it_did() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;

    let created = client.create_account(savings("123")).await.unwrap().into_inner();
    assert_eq!(created.message, "Account 123 created successfully");
    let deposited = client.deposit(deposit("123", 100_000)).await.unwrap().into_inner();
    assert_eq!(deposited.message, "Successfully deposited $1000.00");
    let request = v1::GetBalanceRequest { account_id: "123".to_owned(), as_of: None };
    let balance = client.get_balance(request).await.unwrap().into_inner();
    assert_eq!(balance.message, "Balance: $1000.00");
    let withdrawn = client.withdraw(withdraw("123", 50_000)).await.unwrap().into_inner();
    assert_eq!(withdrawn.message, "Successfully withdrew $500.00");
    let applied = client.calculate_interest(interest("123", "2.5")).await.unwrap().into_inner();
    assert_eq!(
        applied.message,
        "Applied annual interest rate of 2.5000% to bank amount of $500.00 for interest amount of $12.50"
    );
    assert_eq!(applied.interest, usd(1_250));
    assert_eq!(applied.balance, usd(51_250));
}

#[tokio::test]
async fn an_account_passes_through_all_its_states() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;

    let mut request = checking("acct:1", 10_000);
    request.owner = "alice".to_owned();
    request.currency_code = "EUR".to_owned();
    request.overdraft_limit = money("", 10_000);
    request.labels = [("branch".to_owned(), "Zürich".to_owned())].into();
    let created = client.create_account(request).await.unwrap().into_inner();
    let account = created.account.unwrap();
    assert_eq!(account.account_type(), v1::AccountType::Checking);
    assert_eq!(account.state(), v1::AccountState::Active);
    assert_eq!(account.overdraft_limit, money("EUR", 10_000));
    assert_eq!((account.version, account.owner.as_str()), (1, "alice"));
    assert_eq!(account.labels["branch"], "Zürich");
    let get = || v1::GetAccountRequest { account_id: "acct:1".to_owned() };
    assert_eq!(client.get_account(get()).await.unwrap().into_inner().account.unwrap(), account);

    let withdrawal = v1::WithdrawRequest { amount: money("EUR", 2_500), ..withdraw("acct:1", 1) };
    let withdrawn = client.withdraw(withdrawal).await.unwrap().into_inner();
    assert_eq!(withdrawn.message, "Successfully withdrew €25.00");
    assert_eq!(withdrawn.balance, money("EUR", -2_500));
    let limit = v1::SetOverdraftLimitRequest {
        account_id: "acct:1".to_owned(),
        overdraft_limit: money("", 5_000),
        ..Default::default()
    };
    let set = client.set_overdraft_limit(limit).await.unwrap().into_inner();
    assert_eq!(set.message, "Overdraft limit of account acct:1 set to €50.00");
    assert_eq!(set.entry.unwrap().overdraft_limit, money("EUR", 5_000));

    let freeze = v1::FreezeAccountRequest {
        account_id: "acct:1".to_owned(),
        description: "court order 12/345".to_owned(),
        ..Default::default()
    };
    let frozen = client.freeze_account(freeze).await.unwrap().into_inner();
    assert_eq!(frozen.message, "Account acct:1 frozen");
    let entry = frozen.entry.unwrap();
    assert_eq!(
        (entry.kind(), entry.description.as_str()),
        (v1::EntryKind::AccountFrozen, "court order 12/345")
    );
    let refill = v1::DepositRequest { amount: money("EUR", 2_500), ..deposit("acct:1", 1) };
    client.deposit(refill).await.unwrap();
    let unfreeze = v1::UnfreezeAccountRequest { account_id: "acct:1".to_owned(), ..Default::default() };
    assert_eq!(
        client.unfreeze_account(unfreeze).await.unwrap().into_inner().message,
        "Account acct:1 unfrozen"
    );
    let close = v1::CloseAccountRequest { account_id: "acct:1".to_owned(), ..Default::default() };
    assert_eq!(client.close_account(close).await.unwrap().into_inner().message, "Account acct:1 closed");
    let account = client.get_account(get()).await.unwrap().into_inner().account.unwrap();
    assert_eq!((account.state(), account.version), (v1::AccountState::Closed, 7));

    let entries = history(&mut client, "acct:1").await;
    assert_sound(&entries);
    let kinds: Vec<_> = entries.iter().map(v1::Entry::kind).collect();
    assert_eq!(
        kinds,
        [
            v1::EntryKind::AccountOpened,
            v1::EntryKind::Withdrawal,
            v1::EntryKind::OverdraftLimitSet,
            v1::EntryKind::AccountFrozen,
            v1::EntryKind::Deposit,
            v1::EntryKind::AccountUnfrozen,
            v1::EntryKind::AccountClosed,
        ]
    );
}

#[tokio::test]
async fn a_transfer_writes_both_sides_under_one_id() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.create_account(savings("b")).await.unwrap();
    client.deposit(deposit("a", 1_000)).await.unwrap();

    let request = v1::TransferRequest { description: "rent".to_owned(), ..transfer("a", "b", 400) };
    let moved = client.transfer(request).await.unwrap().into_inner();
    assert_eq!(moved.message, "Successfully transferred $4.00 to account b");
    assert_eq!((moved.account_id.as_str(), moved.balance), ("a", usd(600)));
    let transaction_id = moved.entry.unwrap().transaction_id;

    let request = v1::GetTransactionRequest { transaction_id: transaction_id.clone() };
    let found = client.get_transaction(request).await.unwrap().into_inner().transaction.unwrap();
    assert_eq!(found.transaction_id, transaction_id);
    let [out, into] = &found.entries[..] else { panic!("{found:?}") };
    assert_eq!((out.account_id.as_str(), out.kind()), ("a", v1::EntryKind::TransferOut));
    assert_eq!((into.account_id.as_str(), into.kind()), ("b", v1::EntryKind::TransferIn));
    assert_eq!((&out.amount, &into.amount), (&usd(-400), &usd(400)));
    assert_eq!((&*out.counterparty_account_id, &*into.counterparty_account_id), ("b", "a"));
    assert_eq!((&*out.description, &*into.description), ("rent", "rent"));
    assert_eq!(out.create_time, into.create_time);
    assert_eq!(into.transaction_id, transaction_id);

    for account_id in ["a", "b"] {
        let entries = history(&mut client, account_id).await;
        assert_sound(&entries);
        assert_eq!(entries.last().unwrap().transaction_id, transaction_id);
    }
}

#[tokio::test]
async fn interest_shows_its_calculation_and_a_preview_writes_nothing() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.deposit(deposit("a", 1_000_000)).await.unwrap();

    let request = v1::CalculateInterestRequest {
        start_date: "2026-01-31".to_owned(),
        end_date: "2026-07-31".to_owned(),
        day_count: v1::DayCount::ThirtyE360.into(),
        compounding: v1::Compounding::Quarterly.into(),
        rounding_mode: v1::RoundingMode::Floor.into(),
        validate_only: true,
        ..interest("a", "4.00")
    };
    let preview = client.calculate_interest(request.clone()).await.unwrap().into_inner();
    // Two quarters of 1 %: 10000 * (1.01^2 - 1) = 201.
    assert_eq!(preview.interest, usd(20_100));
    let breakdown = preview.breakdown.clone().unwrap();
    assert_eq!(breakdown.principal, usd(1_000_000));
    assert_eq!((breakdown.days, &*breakdown.year_fraction), (181, "1/2"));
    assert_eq!(breakdown.compounding_periods, 2);
    assert_eq!(breakdown.growth_factor, "1.020100000000000000");
    assert_eq!(breakdown.exact_interest, "201.000000000000000000");
    let terms = breakdown.terms.unwrap();
    assert_eq!(terms.annual_interest_rate, "4");
    assert_eq!(terms.compounding(), v1::Compounding::Quarterly);
    assert_eq!(history(&mut client, "a").await.len(), 2);

    let booked = client
        .calculate_interest(v1::CalculateInterestRequest { validate_only: false, ..request })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(booked.breakdown, preview.breakdown);
    assert_eq!(booked.balance, usd(1_020_100));
    let entry = history(&mut client, "a").await.pop().unwrap();
    assert_eq!(entry.interest_terms.unwrap().end_date, "2026-07-31");

    let charged = client.calculate_interest(interest("a", "-100")).await.unwrap().into_inner();
    assert_eq!((charged.interest, charged.balance), (usd(-1_020_100), usd(0)));
}

#[tokio::test]
async fn validate_only_answers_like_the_call_and_leaves_no_trace() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    let preview = v1::CreateAccountRequest { validate_only: true, ..savings("a") };
    let previewed = client.create_account(preview).await.unwrap().into_inner();
    assert_eq!(previewed.message, "Dry run. The call would answer: Account a created successfully");
    let get = v1::GetAccountRequest { account_id: "a".to_owned() };
    assert_eq!(client.get_account(get).await.unwrap_err().code(), tonic::Code::NotFound);

    client.create_account(savings("a")).await.unwrap();
    client.deposit(deposit("a", 500)).await.unwrap();
    // A preview does not use its request id.
    let request =
        v1::WithdrawRequest { validate_only: true, request_id: "w".to_owned(), ..withdraw("a", 200) };
    assert_eq!(client.withdraw(request.clone()).await.unwrap().into_inner().balance, usd(300));
    let refused = v1::WithdrawRequest { amount: usd(501), ..request.clone() };
    assert_eq!(client.withdraw(refused).await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    assert_eq!(history(&mut client, "a").await.len(), 2);
    let real = v1::WithdrawRequest { validate_only: false, ..request };
    let done = client.withdraw(real).await.unwrap().into_inner();
    assert_eq!((done.balance, done.replayed), (usd(300), false));
}

#[tokio::test]
async fn histories_are_listed_by_order_time_kind_and_page() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let mut times = Vec::new();
    for number in 1..=9 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let entry = if number % 3 == 0 {
            client.withdraw(withdraw("a", 1)).await.unwrap().into_inner().entry
        } else {
            client.deposit(deposit("a", 10)).await.unwrap().into_inner().entry
        };
        times.push(entry.unwrap().create_time.unwrap());
    }

    let all = v1::ListTransactionsRequest { account_id: "a".to_owned(), ..Default::default() };
    let sequences = |page: &v1::ListTransactionsResponse| -> Vec<i64> {
        page.entries.iter().map(|entry| entry.sequence).collect()
    };
    let newest = client.list_transactions(all.clone()).await.unwrap().into_inner();
    assert_eq!(sequences(&newest), (1..=10).rev().collect::<Vec<_>>());
    assert_eq!(newest.next_page_token, "");

    let ranged = v1::ListTransactionsRequest {
        order: v1::ListOrder::OldestFirst.into(),
        start_time: Some(times[1]),
        end_time: Some(times[7]),
        ..all.clone()
    };
    let range = client.list_transactions(ranged.clone()).await.unwrap().into_inner();
    assert_eq!(sequences(&range), (3..=8).collect::<Vec<_>>(), "from the start, up to before the end");

    // Entries have whole milliseconds: those from the third up to before the fourth, in four ways.
    let moved =
        |time: prost_types::Timestamp, nanos| prost_types::Timestamp { nanos: time.nanos + nanos, ..time };
    for (start, end, expected) in [
        (times[1], moved(times[1], 1), vec![3]),
        (moved(times[1], -1), moved(times[1], 999_999), vec![3]),
        (moved(times[1], 1), moved(times[1], 999_999), vec![]),
        (times[1], times[1], vec![]),
    ] {
        for order in [v1::ListOrder::OldestFirst, v1::ListOrder::NewestFirst] {
            let finer = v1::ListTransactionsRequest {
                start_time: Some(start),
                end_time: Some(end),
                order: order.into(),
                ..all.clone()
            };
            let finer = client.list_transactions(finer).await.unwrap().into_inner();
            assert_eq!(sequences(&finer), expected, "{start:?} {end:?}");
        }
    }

    let mut paged = v1::ListTransactionsRequest {
        kinds: vec![v1::EntryKind::Withdrawal.into()],
        page_size: 2,
        ..all.clone()
    };
    let first = client.list_transactions(paged.clone()).await.unwrap().into_inner();
    assert_eq!(sequences(&first), [10, 7]);
    paged.page_token = first.next_page_token;
    let second = client.list_transactions(paged.clone()).await.unwrap().into_inner();
    assert_eq!((sequences(&second), &*second.next_page_token), (vec![4], ""));
    paged.page_token.push('x');
    assert_eq!(client.list_transactions(paged).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    let at = |as_of| v1::GetBalanceRequest { account_id: "a".to_owned(), as_of: Some(as_of) };
    for (time, expected) in times.iter().zip([10, 20, 19, 29, 39, 38, 48, 58, 57]) {
        let then = client.get_balance(at(*time)).await.unwrap().into_inner();
        assert_eq!((then.balance, then.available), (usd(expected), None));
        assert_eq!(then.update_time, Some(*time));
    }
}

#[tokio::test]
async fn accounts_are_listed_by_owner_type_and_state() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    for number in 0..30 {
        let mut request =
            if number % 2 == 0 { savings(&format!("s{number}")) } else { checking(&format!("c{number}"), 0) };
        request.owner = if number % 3 == 0 { "alice" } else { "bob" }.to_owned();
        client.create_account(request).await.unwrap();
    }
    let close = v1::CloseAccountRequest { account_id: "s0".to_owned(), ..Default::default() };
    client.close_account(close).await.unwrap();

    let mut check = async |filter: v1::ListAccountsRequest, expected: &dyn Fn(u32) -> bool| {
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListAccountsRequest { page_token, page_size: 4, ..filter.clone() };
            let page = client.list_accounts(request).await.unwrap().into_inner();
            assert!(page.accounts.len() <= 4);
            found.extend(page.accounts.iter().map(|account| account.account_id[1..].parse::<u32>().unwrap()));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        found.sort_unstable();
        assert_eq!(found, (0..30).filter(|number| expected(*number)).collect::<Vec<_>>(), "{filter:?}");
    };
    let all = v1::ListAccountsRequest::default();
    check(all.clone(), &|_| true).await;
    let alice = v1::ListAccountsRequest { owner: "alice".to_owned(), ..all.clone() };
    check(alice.clone(), &|number| number % 3 == 0).await;
    let checking =
        v1::ListAccountsRequest { account_type: v1::AccountType::Checking.into(), ..alice.clone() };
    check(checking, &|number| number % 3 == 0 && number % 2 == 1).await;
    let closed = v1::ListAccountsRequest { state: v1::AccountState::Closed.into(), ..all.clone() };
    check(closed, &|number| number == 0).await;
    let nobody = v1::ListAccountsRequest { owner: "nobody".to_owned(), ..all };
    check(nobody, &|_| false).await;
}
