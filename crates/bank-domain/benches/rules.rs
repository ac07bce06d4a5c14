//! What a decision costs, and what interest does.

#![expect(clippy::unwrap_used, reason = "the inputs are fixed")]

use std::hint::black_box;

use bank_domain::{
    Account, AccountType, Amount, Command, Context, Currency, Deposit, Description, Labels, Money,
    OpenAccount, Owner, Plan, Timestamp, Transfer, Withdraw, decide,
    interest::{self, Compounding, DateRange, DayCount, Period, Terms},
};
use criterion::{Criterion, criterion_group, criterion_main};

fn usd(minor_units: i64) -> Money {
    Money { currency: Currency::USD, minor_units }
}

fn amount(minor_units: i64) -> Amount {
    Amount::try_new(Some(Currency::USD), minor_units).unwrap()
}

fn context() -> Context {
    Context {
        ahead_max: std::time::Duration::MAX,
        now: Timestamp::try_from_unix_ms(1_767_225_600_000).unwrap(),
        request_id: Some("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()),
    }
}

/// An account with $1000.00.
fn funded(account_id: &str) -> Account {
    let opening = OpenAccount::try_new(
        account_id.parse().unwrap(),
        AccountType::Savings,
        Currency::USD,
        Owner::default(),
        Labels::default(),
        None,
    );
    let opening = Command::OpenAccount(opening.unwrap());
    let opened = decide(|_| None, &opening, &context()).unwrap().primary.account;
    let plan: Plan = decide(|_| Some(&opened), &deposit(account_id, 100_000), &context()).unwrap();
    Account::clone(&plan.primary.account)
}

fn deposit(account_id: &str, minor_units: i64) -> Command {
    Command::Deposit(Deposit {
        account_id: account_id.parse().unwrap(),
        amount: amount(minor_units),
        description: Description::default(),
    })
}

fn decisions(criterion: &mut Criterion) {
    let (alice, bob) = (funded("alice"), funded("bob"));
    let transfer = Transfer::try_new(alice.id.clone(), bob.id.clone(), amount(100), Description::default());
    let too_much = Command::Withdraw(Withdraw {
        account_id: alice.id.clone(),
        amount: amount(100_001),
        description: Description::default(),
    });
    let commands = [
        ("deposit", deposit("alice", 100)),
        ("transfer", Command::Transfer(transfer.unwrap())),
        ("withdrawal that is refused", too_much),
    ];
    let mut group = criterion.benchmark_group("decide");
    for (name, command) in &commands {
        let account = |id: &_| [&alice, &bob].into_iter().find(|account| account.id == *id);
        group.bench_function(*name, |bencher| {
            let context = context();
            bencher.iter(|| decide(account, black_box(command), &context));
        });
    }
    group.bench_function("fingerprint of a deposit", |bencher| {
        bencher.iter(|| black_box(&commands[0].1).fingerprint());
    });
    group.finish();
}

fn interest_of_periods(criterion: &mut Criterion) {
    let simple = Terms::new("2.5".parse().unwrap());
    let daily = Terms { compounding: Compounding::Daily, ..simple };
    let months = Terms { compounding: Compounding::Monthly, day_count: DayCount::ActActIsda, ..simple };
    let century = Period::Dates(DateRange::parse("2000-01-01", "2100-01-01").unwrap());
    let mut group = criterion.benchmark_group("interest");
    for (name, terms, period) in [
        ("one year, simple", simple, Period::OneYear),
        ("one year, daily", daily, Period::OneYear),
        ("a century, daily", daily, century),
        ("a century by months, ACT/ACT", months, century),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| interest::calculate(black_box(usd(50_000)), &terms, period));
        });
    }
    group.finish();
}

criterion_group!(benches, decisions, interest_of_periods);
criterion_main!(benches);
