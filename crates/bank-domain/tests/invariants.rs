//! No sequence of commands breaks an invariant of the bank.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Amount, ApplyInterest, ChangeState, Command, Context,
    Currency, Deposit, Description, Entry, EntryHash, EntryKind, Labels, Money, OpenAccount, OverdraftLimit,
    Owner, Plan, SetOverdraftLimit, Timestamp, Transfer, Withdraw,
    audit::{Books, Extent, Verifier, match_sides},
    decide,
    interest::{Compounding, Period, Terms},
};
use proptest::prelude::*;

/// The simplest bank: accounts with their entries.
#[derive(Default)]
struct Bank {
    accounts: BTreeMap<AccountId, (Account, Vec<Entry>)>,
    /// What came in from outside, less what went out, and interest.
    balance_of_the_world: BTreeMap<String, i128>,
}

impl Bank {
    fn run(&mut self, command: &Command, now: Timestamp) {
        let context = Context { now, ahead_max: std::time::Duration::MAX, request_id: None };
        let decided = decide(|id| self.accounts.get(id).map(|(account, _)| account), command, &context);
        if let Ok(plan) = decided {
            self.apply(plan, now);
        }
    }

    fn apply(&mut self, plan: Plan, now: Timestamp) {
        let transaction_id = plan.primary.entry.transaction_id.clone();
        let time = plan.primary.entry.time;
        for change in [Some(plan.primary), plan.counterparty.map(|change| *change)].into_iter().flatten() {
            let (account, entry) = (change.account, change.entry);
            assert_eq!(entry.transaction_id, transaction_id);
            assert_eq!(entry.time, time, "both sides of a movement have one time");
            assert!(entry.time >= now || self.accounts.contains_key(&account.id));
            if !matches!(entry.kind, EntryKind::TransferIn { .. } | EntryKind::TransferOut { .. }) {
                *self.balance_of_the_world.entry(account.currency.code().to_owned()).or_default() +=
                    i128::from(entry.amount.minor_units);
            }
            let account = Account::clone(&account);
            let slot =
                self.accounts.entry(account.id.clone()).or_insert_with(|| (account.clone(), Vec::new()));
            slot.0 = account;
            slot.1.push(Entry::clone(&entry));
        }
    }

    fn check(&self) {
        let mut held = BTreeMap::<String, i128>::new();
        for (account, entries) in self.accounts.values() {
            let mut sum = 0_i128;
            let mut time = Timestamp::MIN;
            for (number, entry) in (1..).zip(entries) {
                sum += i128::from(entry.amount.minor_units);
                assert_eq!(entry.sequence, number, "entries are dense");
                assert_eq!(
                    i128::from(entry.balance_after.minor_units),
                    sum,
                    "each balance is the sum so far"
                );
                assert!(entry.time >= time, "time never runs backwards");
                time = entry.time;
            }
            assert_eq!(i128::from(account.balance.minor_units), sum, "the balance is the sum of the entries");
            assert_eq!(account.version, entries.len() as u64);
            assert_eq!(account.updated_at, time);
            assert!(account.overdraft_limit.minor_units >= 0);
            assert!(account.balance.minor_units >= -account.overdraft_limit.minor_units);
            if account.account_type == AccountType::Savings {
                assert!(account.balance.minor_units >= 0, "savings are never below zero");
            }
            if account.state == AccountState::Closed {
                assert_eq!(account.balance.minor_units, 0);
                assert_eq!(
                    entries.last().unwrap().kind,
                    EntryKind::AccountClosed,
                    "nothing follows a closing"
                );
            }
            *held.entry(account.currency.code().to_owned()).or_default() += sum;
        }
        held.retain(|_, sum| *sum != 0);
        let mut world = self.balance_of_the_world.clone();
        world.retain(|_, sum| *sum != 0);
        assert_eq!(held, world, "transfers make no money and lose none");
    }

    /// An audit finds nothing.
    fn audit(&self) {
        let mut books = Books::default();
        for (account, entries) in self.accounts.values() {
            let mut verifier = Verifier::new(account);
            for entry in entries {
                verifier.check(entry);
                books.book(entry, Timestamp::MAX);
                assert_eq!(match_sides(entry, self.other_side(entry)), Ok(()));
            }
            assert_eq!(verifier.finish(), Ok(()));
            books.hold(account);
        }
        for sums in books.iter() {
            assert!(sums.are_balanced(Extent::Bank), "{sums:?}");
            assert_eq!((sums.excess().minor_units, sums.transferred.minor_units), (0, 0));
        }
    }

    fn other_side(&self, entry: &Entry) -> Option<&Entry> {
        let (_, entries) = self.accounts.get(entry.kind.counterparty()?)?;
        entries.iter().find(|other| other.transaction_id == entry.transaction_id)
    }
}

fn account_id() -> impl Strategy<Value = AccountId> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(|id| id.parse().unwrap())
}

fn currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec!["USD", "USD", "USD", "JPY"]).prop_map(|code| code.parse().unwrap())
}

/// Small amounts, and those that make sums leave 64 bits.
fn minor_units() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 1..1_000_i64, 1 => Just(i64::MAX), 1 => i64::MAX / 2..i64::MAX]
}

fn amount() -> impl Strategy<Value = Amount> {
    (prop::option::weighted(0.3, currency()), minor_units())
        .prop_map(|(currency, minor_units)| Amount::try_new(currency, minor_units).unwrap())
}

fn open() -> impl Strategy<Value = Command> {
    (account_id(), any::<bool>(), currency(), prop_oneof![Just(0), minor_units()]).prop_filter_map(
        "a savings account has no overdraft",
        |(account_id, savings, currency, limit)| {
            let account_type = if savings { AccountType::Savings } else { AccountType::Checking };
            let limit = OverdraftLimit::try_new(None, limit).ok();
            let (owner, labels) = (Owner::default(), Labels::default());
            let open = OpenAccount::try_new(account_id, account_type, currency, owner, labels, limit);
            open.ok().map(Command::OpenAccount)
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let description = Description::default;
    let change =
        || account_id().prop_map(move |account_id| ChangeState { account_id, description: description() });
    let rate = prop::sample::select(vec!["0", "2.5", "-3", "-150", "1000", "-1000", "0.0000000001"]);
    let compounding = prop::sample::select(vec![Compounding::Simple, Compounding::Monthly]);
    prop_oneof![
        4 => open(),
        6 => (account_id(), amount()).prop_map(move |(account_id, amount)| {
            Command::Deposit(Deposit { account_id, amount, description: description() })
        }),
        6 => (account_id(), amount()).prop_map(move |(account_id, amount)| {
            Command::Withdraw(Withdraw { account_id, amount, description: description() })
        }),
        8 => (account_id(), account_id(), amount()).prop_filter_map("not to itself", move |(from, to, amount)| {
            Transfer::try_new(from, to, amount, description()).ok().map(Command::Transfer)
        }),
        3 => (account_id(), rate, compounding).prop_map(move |(account_id, rate, compounding)| {
            Command::ApplyInterest(ApplyInterest {
                account_id,
                terms: Terms { compounding, ..Terms::new(rate.parse().unwrap()) },
                period: Period::OneYear,
                description: description(),
            })
        }),
        3 => (account_id(), prop_oneof![Just(0), minor_units()]).prop_map(|(account_id, limit)| {
            let limit = OverdraftLimit::try_new(None, limit).unwrap();
            Command::SetOverdraftLimit(SetOverdraftLimit { account_id, limit })
        }),
        1 => change().prop_map(Command::Freeze),
        2 => change().prop_map(Command::Unfreeze),
        1 => change().prop_map(Command::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_commands_breaks_an_invariant(
        // Clocks jump, also backwards.
        commands in prop::collection::vec((command(), 0..1_000_i64), 1..80),
    ) {
        let mut bank = Bank::default();
        for (command, unix_ms) in commands {
            bank.run(&command, Timestamp::try_from_unix_ms(unix_ms).unwrap());
            bank.check();
        }
        bank.audit();
    }

    #[test]
    fn any_balance_and_any_amount_give_a_plan_or_a_rejection(
        balance in any::<i64>(),
        limit in 0..=i64::MAX,
        amount in 1..=i64::MAX,
        rate in -10_000_000..=10_000_000_i64,
    ) {
        let usd = Currency::USD;
        let account = Account {
            id: "a".parse().unwrap(),
            account_type: AccountType::Checking,
            currency: usd,
            owner: Owner::default(),
            labels: Labels::default(),
            state: AccountState::Active,
            balance: Money { currency: usd, minor_units: balance },
            overdraft_limit: Money { currency: usd, minor_units: limit },
            version: 7,
            opened_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            head: EntryHash::from_bytes([7; 32]),
        };
        let amount = Amount::try_new(None, amount).unwrap();
        let (account_id, description) = (account.id.clone(), Description::default());
        let sign = if rate < 0 { "-" } else { "" };
        let rate = format!("{sign}{}.{:04}", rate.abs() / 10_000, rate.abs() % 10_000);
        for command in [
            Command::Deposit(Deposit { account_id: account_id.clone(), amount, description: description.clone() }),
            Command::Withdraw(Withdraw { account_id: account_id.clone(), amount, description: description.clone() }),
            Command::ApplyInterest(ApplyInterest {
                account_id,
                terms: Terms::new(rate.parse().unwrap()),
                period: Period::OneYear,
                description,
            }),
        ] {
            let context = Context { now: Timestamp::UNIX_EPOCH, ahead_max: std::time::Duration::MAX, request_id: None };
            if let Ok(plan) = decide(|_| Some(&account), &command, &context) {
                let change = plan.primary;
                prop_assert_eq!(
                    i128::from(change.account.balance.minor_units),
                    i128::from(balance) + i128::from(change.entry.amount.minor_units)
                );
            }
        }
    }
}
