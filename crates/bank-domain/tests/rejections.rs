//! Which rejection is given where several hold: the documented order, as a table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Amount, ApplyInterest, ChangeState, Command, Context,
    Currency, Deposit, Description, EntryHash, Labels, Money, OpenAccount, OverdraftLimit, Owner, Rejection,
    SetOverdraftLimit, Timestamp, Transfer, Withdraw, decide,
    interest::{Period, Terms},
};

const USD: Currency = Currency::USD;

fn id(text: &str) -> AccountId {
    text.parse().unwrap()
}

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

/// An account, as a word of the table: `active`, `frozen` or `closed`, its type and its balance.
fn account(name: &str, state: AccountState, account_type: AccountType, balance: i64) -> Account {
    Account {
        id: id(name),
        account_type,
        currency: USD,
        owner: Owner::default(),
        labels: Labels::default(),
        state,
        balance: Money { currency: USD, minor_units: balance },
        overdraft_limit: Money::zero(USD),
        version: 3,
        opened_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        head: EntryHash::from_bytes([3; 32]),
    }
}

fn savings(name: &str, state: AccountState, balance: i64) -> Account {
    account(name, state, AccountType::Savings, balance)
}

fn amount(code: &str, minor_units: i64) -> Amount {
    let currency = (!code.is_empty()).then(|| currency(code));
    Amount::try_new(currency, minor_units).unwrap()
}

fn deposit(code: &str, minor_units: i64) -> Command {
    Command::Deposit(Deposit {
        account_id: id("a"),
        amount: amount(code, minor_units),
        description: Description::default(),
    })
}

fn withdraw(code: &str, minor_units: i64) -> Command {
    Command::Withdraw(Withdraw {
        account_id: id("a"),
        amount: amount(code, minor_units),
        description: Description::default(),
    })
}

fn transfer(code: &str, minor_units: i64) -> Command {
    let amount = amount(code, minor_units);
    Command::Transfer(Transfer::try_new(id("a"), id("b"), amount, Description::default()).unwrap())
}

fn interest(rate: &str) -> Command {
    Command::ApplyInterest(ApplyInterest {
        account_id: id("a"),
        terms: Terms::new(rate.parse().unwrap()),
        period: Period::OneYear,
        description: Description::default(),
    })
}

fn limit(code: &str, minor_units: i64) -> Command {
    let currency = (!code.is_empty()).then(|| currency(code));
    let limit = OverdraftLimit::try_new(currency, minor_units).unwrap();
    Command::SetOverdraftLimit(SetOverdraftLimit { account_id: id("a"), limit })
}

fn change() -> ChangeState {
    ChangeState { account_id: id("a"), description: Description::default() }
}

fn open() -> Command {
    let (owner, labels) = (Owner::default(), Labels::default());
    Command::OpenAccount(
        OpenAccount::try_new(id("a"), AccountType::Savings, USD, owner, labels, None).unwrap(),
    )
}

/// What `decide` says, by the name of its reason and the account that it is about.
fn check(command: &Command, accounts: &[Account], expected: &str) {
    let context =
        Context { now: Timestamp::UNIX_EPOCH, ahead_max: std::time::Duration::MAX, request_id: None };
    let before = accounts.to_vec();
    let decided = decide(|id| accounts.iter().find(|account| account.id == *id), command, &context);
    let found = match &decided {
        Ok(_) => "ok".to_owned(),
        Err(rejection) => {
            let json = serde_json::to_value(rejection).unwrap();
            let text = |key: &str| json[key].as_str().unwrap().to_owned();
            format!("{} {}", text("reason"), text("account_id"))
        }
    };
    assert_eq!(found, expected, "{command:?} on {accounts:#?}");
    assert_eq!(before, accounts);
}

#[test]
fn the_first_rejection_in_order_is_returned() {
    use AccountState::{Active, Closed, Frozen};
    let max = i64::MAX;

    // 1. Existence, source before destination.
    for command in [deposit("", 1), withdraw("", 1), transfer("", 1), interest("1"), limit("", 1)] {
        check(&command, &[], "account_not_found a");
    }
    for command in [Command::Freeze(change()), Command::Unfreeze(change()), Command::Close(change())] {
        check(&command, &[], "account_not_found a");
    }
    check(&transfer("EUR", max), &[savings("a", Closed, 0)], "account_not_found b");
    check(&open(), &[savings("a", Closed, 0)], "account_already_exists a");

    // 2. Closed, source before destination.
    let closed = [savings("a", Closed, 0), savings("b", Closed, 0)];
    for command in [deposit("EUR", max), withdraw("EUR", max), transfer("EUR", max), interest("1")] {
        check(&command, &closed, "account_closed a");
    }
    for command in [limit("EUR", max), Command::Freeze(change()), Command::Close(change())] {
        check(&command, &closed, "account_closed a");
    }
    check(&Command::Unfreeze(change()), &closed, "account_closed a");
    check(&transfer("EUR", max), &[savings("a", Frozen, 0), savings("b", Closed, 0)], "account_closed b");

    // 3. Frozen, or not.
    let frozen = [savings("a", Frozen, 5), savings("b", Active, max)];
    for command in [withdraw("EUR", max), transfer("EUR", max), interest("1"), limit("EUR", max)] {
        check(&command, &frozen, "account_frozen a");
    }
    check(&Command::Freeze(change()), &frozen, "account_frozen a");
    check(&Command::Close(change()), &frozen, "account_frozen a");
    check(&Command::Unfreeze(change()), &[savings("a", Active, 5)], "account_not_frozen a");
    check(&deposit("", 1), &frozen, "ok");
    check(&transfer("", 1), &[savings("a", Active, 5), savings("b", Frozen, 0)], "ok");
    check(&Command::Unfreeze(change()), &frozen, "ok");

    // 4. Currency, source before destination.
    let active = [savings("a", Active, 5), savings("b", Active, max)];
    for command in [deposit("EUR", max), withdraw("EUR", max), transfer("EUR", max), limit("EUR", 1)] {
        check(&command, &active, "currency_mismatch a");
    }
    let euros = Account {
        currency: currency("EUR"),
        balance: Money { currency: currency("EUR"), minor_units: max },
        ..savings("b", Active, 0)
    };
    check(&transfer("", max), &[savings("a", Active, 5), euros.clone()], "currency_mismatch b");
    check(&transfer("USD", max), &[savings("a", Active, 5), euros.clone()], "currency_mismatch b");
    check(&transfer("EUR", max), &[savings("a", Active, 5), euros], "currency_mismatch a");

    // 5. What is particular to the command.
    check(&limit("", 0), &active, "overdraft_not_allowed a");
    let overdrawn = Account {
        overdraft_limit: Money { currency: USD, minor_units: 100 },
        ..account("a", Active, AccountType::Checking, -80)
    };
    check(&limit("", 79), std::slice::from_ref(&overdrawn), "overdraft_in_use a");
    check(&limit("USD", 80), std::slice::from_ref(&overdrawn), "ok");
    check(&Command::Close(change()), std::slice::from_ref(&overdrawn), "balance_not_zero a");
    check(&Command::Close(change()), &[savings("a", Active, 0)], "ok");

    // 6. Funds before 7. range.
    check(&withdraw("", 6), &active, "insufficient_funds a");
    check(&withdraw("", max), std::slice::from_ref(&overdrawn), "insufficient_funds a");
    check(&withdraw("", 21), std::slice::from_ref(&overdrawn), "insufficient_funds a");
    check(&withdraw("", 20), &[overdrawn], "ok");
    check(&transfer("", 6), &active, "insufficient_funds a");
    check(&transfer("", 5), &active, "balance_out_of_range b");
    check(&deposit("", 1), &[savings("a", Active, max)], "balance_out_of_range a");
    check(&interest("100"), &[savings("a", Active, max)], "balance_out_of_range a");
    check(&interest("-1000"), &[savings("a", Active, 5)], "insufficient_funds a");
    check(&interest("-100"), &[savings("a", Active, 5)], "ok");
}

/// Before, an entry took the time of the newest one before it, however far in the future, and a transfer took that
/// time to its other side.
#[test]
fn an_account_ahead_of_the_clock_is_rejected_by_name_and_spreads_nothing() {
    use AccountState::Active;
    let ahead_max = Duration::from_secs(3);
    let context = Context { now: Timestamp::UNIX_EPOCH, ahead_max, request_id: None };
    let ahead_by = |name: &str, ms: i64| Account {
        updated_at: Timestamp::try_from_unix_ms(ms).unwrap(),
        ..savings(name, Active, 1_000)
    };
    let rejection = |command: &Command, accounts: &[Account]| {
        decide(|id| accounts.iter().find(|account| account.id == *id), command, &context).unwrap_err()
    };
    let of = |name: &str, newest_at: Option<i64>| Rejection::AccountAheadOfClock {
        account_id: id(name),
        newest_at: newest_at.map(|ms| Timestamp::try_from_unix_ms(ms).unwrap()),
    };
    for command in
        [deposit("", 1), withdraw("", 1), interest("1"), Command::Freeze(change()), transfer("", 1)]
    {
        let accounts = |ms| [ahead_by("a", ms), savings("b", Active, 0)];
        assert_eq!(rejection(&command, &accounts(3_001)), of("a", Some(3_001)), "{command:?}");
        let accounts = accounts(3_000);
        let plan =
            decide(|id| accounts.iter().find(|account| account.id == *id), &command, &context).unwrap();
        assert!(plan.changes().all(|change| change.entry.time.unix_ms() == 3_000), "{plan:?}");
    }
    // Of another account, nobody learns when it was used.
    let refused = rejection(&transfer("", 1), &[savings("a", Active, 1_000), ahead_by("b", 3_001)]);
    assert_eq!(refused, of("b", None));
    assert_eq!(refused.to_string(), "account b takes no changes: it is ahead of the clock");
    // Whatever else is wrong comes first, and is an outcome; this passes.
    let refused = rejection(&withdraw("", 1_001), &[ahead_by("a", 3_001)]);
    assert!(matches!(refused, Rejection::InsufficientFunds { .. }) && refused.is_outcome(), "{refused:?}");
    assert!(!of("a", Some(3_001)).is_outcome());
}

#[test]
fn a_rejection_names_its_values() {
    let accounts = [savings("a", AccountState::Active, 1050)];
    let context =
        Context { now: Timestamp::UNIX_EPOCH, ahead_max: std::time::Duration::MAX, request_id: None };
    let rejection = decide(|_| accounts.first(), &withdraw("", 2000), &context).unwrap_err();
    assert_eq!(rejection.to_string(), "account a has $10.50 available, $20.00 requested");
    let again: Rejection = serde_json::from_str(&serde_json::to_string(&rejection).unwrap()).unwrap();
    assert_eq!(again, rejection);
}
