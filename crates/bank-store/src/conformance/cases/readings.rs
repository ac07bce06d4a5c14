//! Accounts and entries are read as they were written.

use bank_domain::interest::{Compounding, DateRange, DayCount, Period, RoundingMode, Terms};

use crate::conformance::prelude::*;

/// Texts that a backend could confuse with something else.
const ODD_TEXTS: [&str; 8] = [
    "Loyer de février: 12 € \u{1f3e0}",
    "a \"b\" 'c' `d` \\e\\ /f/ %g% $h {i} [j] <k>",
    "-1",
    "nil",
    " leading and trailing ",
    "$5\u{2028}*3\u{a0}\u{fffd}",
    "عربى \u{200f} 漢字",
    "0",
];

pub async fn a_missing_account_has_nothing(bank: Bank) {
    assert_eq!(bank.load(&[id("1"), id("2")]).await, [None, None]);
    assert_eq!(bank.load(&[]).await, []);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let query = EntriesQuery { order, ..EntriesQuery::all(id("1")) };
        assert_eq!(bank.entries(&query).await, []);
        let query = EntriesQuery { start: Some(bank.now()), end: Some(bank.now()), limit: 1, ..query };
        assert_eq!(bank.entries(&query).await, []);
    }
    for after in [None, Some(id("1"))] {
        let query = AccountsQuery { owner: None, after, limit: 10 };
        assert_eq!(bank.accounts(&query).await, []);
        assert_eq!(bank.accounts(&AccountsQuery { owner: Some(owner("alice")), ..query }).await, []);
    }
}

pub async fn accounts_are_loaded_in_the_given_order(bank: Bank) {
    for account_id in ["1", "2", "3"] {
        bank.apply(open(account_id)).await;
    }
    let wanted = ["3", "absent", "1", "3", "2", "1"];
    let found = bank.load(&wanted.map(id)).await;
    let found = found.iter().map(|account| account.as_ref().map(|it| it.id.as_str()));
    assert_eq!(found.collect::<Vec<_>>(), [Some("3"), None, Some("1"), Some("3"), Some("2"), Some("1")]);
}

pub async fn every_kind_of_interest_is_read_back(bank: Bank) {
    bank.open_with("1", 1_000_000).await;
    let leap = Period::from(DateRange::parse("2024-02-29", "2025-02-28").unwrap());
    let century = Period::from(DateRange::parse("0001-01-01", "0100-12-31").unwrap());
    let mut written = bank.history("1").await;
    for &day_count in DayCount::ALL {
        for &compounding in Compounding::ALL {
            for (rate, period) in [("0.0000000001", leap), ("-0.5", Period::OneYear), ("0", century)] {
                let terms = Terms { day_count, compounding, ..Terms::new(rate.parse().unwrap()) };
                written.push(bank.apply(interest("1", terms, period)).await);
            }
        }
    }
    for &rounding_mode in RoundingMode::ALL {
        let terms = Terms { rounding_mode, ..Terms::new("1.0000000001".parse().unwrap()) };
        written.push(bank.apply(interest("1", terms, leap)).await);
    }
    assert_eq!(bank.history("1").await, written);
}

pub async fn texts_are_read_back_exactly(bank: Bank) {
    bank.open_with("1", 0).await;
    for text in ODD_TEXTS {
        let entry = bank.apply(described(deposit("1", 1), text)).await;
        assert_eq!(bank.newest("1").await, entry);
        assert_eq!(entry.description.as_str(), text);
    }
    // A description of the greatest length, each character of four bytes.
    let longest = "\u{1f3e0}".repeat(256);
    assert_eq!(bank.apply(described(deposit("1", 1), &longest)).await, bank.newest("1").await);

    // As many labels as there may be. Their keys look like fields of the account.
    let keys = ["balance", "version", "label", "owner", "state", "type", "-", "a.b_c", "0"];
    let mut opening = open("labelled").owned_by(r#"!"'#$%&()*+,-./:;<=>?@[\]^_`{|}~"#);
    for (key, value) in keys.iter().zip(ODD_TEXTS.into_iter().cycle()) {
        opening = opening.labelled(key, value);
    }
    let longest_key = "k".repeat(32);
    let opening = opening.labelled(&longest_key, &"é".repeat(64)).labelled("empty", "");
    let proposal = bank.propose(opening).await;
    assert_eq!(bank.commit_one(&proposal).await, Outcome::Applied);
    let account = bank.account("labelled").await;
    assert_eq!(account, *proposal.decision.unwrap().primary.account);
    assert_eq!(account.labels.iter().count(), keys.len() + 2);
}

pub async fn the_store_is_healthy_and_describes_itself(bank: Bank) {
    let store = bank.store();
    store.health().await.unwrap();
    assert!(!store.name().is_empty());
    assert!(!store.durability().description.is_empty());
    assert!(!store.bank_id().is_empty());
    assert!(store.lanes() >= 1);
    for number in 0..1_000 {
        let account_id = id(&format!("account-{number}"));
        let lane = store.lane(&account_id);
        assert!(lane < store.lanes());
        assert_eq!(store.lane(&account_id), lane);
    }
}
