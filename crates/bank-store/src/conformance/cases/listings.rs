//! Lists of accounts.

use std::collections::BTreeSet;

use bank_domain::Account;

use crate::conformance::prelude::*;

fn ids(accounts: &[Account]) -> BTreeSet<&str> {
    let ids: BTreeSet<_> = accounts.iter().map(|account| account.id.as_str()).collect();
    assert_eq!(ids.len(), accounts.len(), "an account is listed twice");
    ids
}

async fn open_many(bank: &Bank, names: impl IntoIterator<Item = String>) {
    let mut view = bank.view(&[]).await;
    let proposals: Vec<_> = names.into_iter().map(|name| view.propose(open(&name).owned_by("all"))).collect();
    bank.commit(&proposals).await;
}

pub async fn accounts_are_listed_once_each(bank: Bank) {
    let names: Vec<_> = (0..60).map(|number| format!("account-{number}")).collect();
    open_many(&bank, names.clone()).await;
    bank.apply(deposit("account-7", 77)).await;
    // The empty owner has no accounts.
    assert_eq!(bank.all_accounts(Some(""), 10).await, []);
    let expected: BTreeSet<_> = names.iter().map(String::as_str).collect();

    let whole = bank.all_accounts(None, 1_000).await;
    assert_eq!(ids(&whole), expected);
    let placement = bank.store().placement();
    assert!(whole.is_sorted_by_key(|account| (placement.of(&account.id), account.id.clone())));
    for page_size in [1, 7, 60, 61] {
        // The order is the same at every page size.
        assert_eq!(bank.all_accounts(None, page_size).await, whole);
    }
    let listed = whole.iter().find(|account| account.id == id("account-7")).unwrap();
    assert_eq!(*listed, bank.account("account-7").await);
    assert_eq!(bank.accounts(&AccountsQuery { owner: None, after: None, limit: 0 }).await, []);
    assert_eq!(bank.all_accounts(None, usize::MAX).await.len(), 60);

    // The ids are listed in the same order.
    let all_ids: Vec<_> = whole.iter().map(|account| account.id.clone()).collect();
    assert_eq!(bank.account_ids(None, usize::MAX).await, all_ids);
    assert_eq!(bank.account_ids(Some(&all_ids[16]), 7).await, all_ids[17..24]);
    assert_eq!(bank.account_ids(all_ids.last(), 7).await, []);
    assert_eq!(bank.account_ids(None, 0).await, []);
    assert!(bank.account_count().await.is_none_or(|count| count == 60));

    // A page may begin after an account that does not exist.
    for name in ["absent", "account-", "zzz", "-"] {
        let query = AccountsQuery { owner: None, after: Some(id(name)), limit: 1_000 };
        let rest = bank.accounts(&query).await;
        assert_eq!(rest, whole[whole.len() - rest.len()..], "{name}");
    }
}

pub async fn accounts_opened_meanwhile_do_not_disturb_a_listing(bank: Bank) {
    let names: Vec<_> = (0..40).map(|number| format!("old-{number}")).collect();
    open_many(&bank, names.clone()).await;
    for owned_by in [None, Some("all")] {
        let mut query = AccountsQuery { owner: owned_by.map(owner), after: None, limit: 3 };
        let mut listed = Vec::new();
        for page_number in 0.. {
            let page = bank.accounts(&query).await;
            let is_last = page.len() < query.limit;
            query.after = page.last().map(|account| account.id.clone()).or(query.after);
            listed.extend(page);
            if is_last {
                break;
            }
            let new = |name: &str| format!("{name}-{}-{page_number}", owned_by.is_some());
            open_many(&bank, [new("new"), new("old"), new("a")]).await;
            // New accounts may be listed, but the list must end.
            assert!(page_number < 200);
        }
        let listed = ids(&listed);
        assert!(names.iter().all(|name| listed.contains(name.as_str())));
    }
}
