//! The hash chain: what it is over never changes, and what is tampered with is named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use bank_domain::{
    Account, AccountId, AccountType, Amount, ApplyInterest, ChangeState, Command, Context, Currency, Deposit,
    Description, Entry, EntryHash, EntryKind, Labels, Money, OpenAccount, OverdraftLimit, SetOverdraftLimit,
    Timestamp, Transfer, Withdraw,
    audit::{Books, BrokenRule, Extent, Fault, Mismatch, Verifier, match_sides},
    decide,
    interest::{DateRange, Terms},
};

const NEW_YEAR_2026_MS: i64 = 1_767_225_600_000;

/// A bank of two accounts.
#[derive(Default)]
struct Bank {
    accounts: BTreeMap<AccountId, Account>,
    entries: BTreeMap<AccountId, Vec<Entry>>,
}

fn id(text: &str) -> AccountId {
    text.parse().unwrap()
}

fn amount(minor_units: i64) -> Amount {
    Amount::try_new(None, minor_units).unwrap()
}

fn text(text: &str) -> Description {
    text.parse().unwrap()
}

impl Bank {
    fn run(&mut self, offset_ms: i64, request_id: &str, command: Command) {
        let now = Timestamp::try_from_unix_ms(NEW_YEAR_2026_MS + offset_ms).unwrap();
        let context =
            Context { now, ahead_max: std::time::Duration::MAX, request_id: request_id.parse().ok() };
        let plan = decide(|id| self.accounts.get(id), &command, &context).unwrap();
        for change in plan.changes() {
            self.accounts.insert(change.account.id.clone(), Account::clone(&change.account));
            self.entries.entry(change.account.id.clone()).or_default().push(Entry::clone(&change.entry));
        }
    }

    fn open(&mut self, account_id: &str, labels: &[(&str, &str)], request_id: &str) {
        let labels: BTreeMap<_, _> = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let open = OpenAccount::try_new(
            id(account_id),
            AccountType::Checking,
            Currency::USD,
            "alice".parse().unwrap(),
            Labels::try_from(labels).unwrap(),
            OverdraftLimit::try_new(None, 50_000).ok(),
        );
        self.run(0, request_id, Command::OpenAccount(open.unwrap()));
    }

    fn transfer(&mut self, offset_ms: i64, request_id: &str, from: &str, to: &str, minor_units: i64) {
        let transfer = Transfer::try_new(id(from), id(to), amount(minor_units), Description::default());
        self.run(offset_ms, request_id, Command::Transfer(transfer.unwrap()));
    }

    fn deposit(&mut self, offset_ms: i64, minor_units: i64, description: &str) {
        let (account_id, amount, description) = (id("123"), amount(minor_units), text(description));
        self.run(offset_ms, "", Command::Deposit(Deposit { account_id, amount, description }));
    }

    /// An account with an entry of nearly every kind.
    fn with_history() -> (Account, Vec<Entry>) {
        let mut bank = Self::default();
        bank.open("123", &[("branch", "Zürich 8"), ("a", "")], "r-1");
        bank.open("456", &[], "");
        bank.deposit(1, 100_000, "Loyer de février, 12 €");
        bank.run(
            2,
            "",
            Command::Withdraw(Withdraw {
                account_id: id("123"),
                amount: amount(2_500),
                description: Description::default(),
            }),
        );
        bank.transfer(3, "r-4", "123", "456", 500);
        bank.transfer(3, "", "456", "123", 100);
        bank.run(
            4,
            "",
            Command::ApplyInterest(ApplyInterest {
                account_id: id("123"),
                terms: Terms::new("2.5".parse().unwrap()),
                period: DateRange::parse("2026-01-01", "2026-07-02").unwrap().into(),
                description: Description::default(),
            }),
        );
        let limit = OverdraftLimit::try_new(None, 0).unwrap();
        bank.run(4, "", Command::SetOverdraftLimit(SetOverdraftLimit { account_id: id("123"), limit }));
        let change = ChangeState { account_id: id("123"), description: text("lost card") };
        bank.run(5, "", Command::Freeze(change));
        (bank.accounts.remove(&id("123")).unwrap(), bank.entries.remove(&id("123")).unwrap())
    }

    /// An account with so many deposits after its opening, each a millisecond after the one before.
    fn with_deposits(count: i64) -> (Account, Vec<Entry>) {
        let mut bank = Self::default();
        bank.open("123", &[], "");
        (1..=count).for_each(|number| bank.deposit(number, 100 + number, ""));
        (bank.accounts.remove(&id("123")).unwrap(), bank.entries.remove(&id("123")).unwrap())
    }
}

fn verify(account: &Account, entries: &[Entry]) -> Result<(), Fault> {
    let mut verifier = Verifier::new(account);
    for entry in entries {
        verifier.check(entry);
    }
    verifier.finish()
}

/// Hashes that were written by one version are verified by the next, and by programs in other
/// languages: these never change. A program in Python calculated them, from the documentation.
#[test]
fn hashes_stay_the_same_from_version_to_version() {
    let (account, entries) = Bank::with_history();
    assert_eq!(
        account.genesis().to_string(),
        "9476082b0971e37dbd06404b7eb99ea58a683c70ef50c984f7d3448dda32c9c2"
    );
    let found: Vec<_> = entries.iter().map(|it| (it.kind.as_str(), it.hash.to_string())).collect();
    let expected = [
        ("account_opened", "0b7998555d5a97231fea57c4135d3c87a7032afac10855377803518513c7fcbb"),
        ("deposit", "36c6ede9da00d65d9af87ed7f31f1f64f91c53af26ff042e39d9712f969d32a4"),
        ("withdrawal", "2ab2ed5daff5d598b18377ef5584ea6ecaf67df77505ab419235b2c8baeff903"),
        ("transfer_out", "ec79fc42436fdf1333f63d1a815e1ca19293d149b57bf6ab180909591c194134"),
        ("transfer_in", "5eb8baa650a9d2ed614b5299ced2f1200c7ace0a436861d4dda0a54782160659"),
        ("interest", "bdcb64796a7c0e07dd182b0601934a872b5c8895525558ae9b541f3418f9be03"),
        ("overdraft_limit_set", "c590bbeb8666343df2dc2bfbc10559d2dd24637b395f9fcbb7934c10e7d220b0"),
        ("account_frozen", "9f0edf8f4cfa9c47118f5aaf51ec36cd6d1f2e2471714c671b41e641d9bd59c2"),
    ];
    assert_eq!(found, expected.map(|(kind, hash)| (kind, hash.to_owned())));
    assert_eq!(account.head, entries[7].hash);
}

#[test]
fn hashes_are_read_in_the_form_that_they_are_written_in() {
    let hash = EntryHash::from_bytes([0xa5; 32]);
    assert_eq!(hash.to_string(), "a5".repeat(32));
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{hash}\""));
    for bad in ["", "a5", &"A5".repeat(32), &"a5".repeat(33), &"g5".repeat(32), &"é".repeat(32)] {
        assert!(bad.parse::<EntryHash>().is_err(), "{bad:?}");
    }
}

#[test]
fn accounts_and_entries_are_stored_and_read_back() {
    let (account, entries) = Bank::with_history();
    let json = serde_json::to_string(&(&account, &entries)).unwrap();
    assert_eq!(serde_json::from_str::<(Account, Vec<Entry>)>(&json).unwrap(), (account, entries));
}

#[test]
fn an_unchanged_history_has_no_fault() {
    let (account, entries) = Bank::with_history();
    assert_eq!(verify(&account, &entries), Ok(()));
    let (account, entries) = Bank::with_deposits(20);
    assert_eq!(verify(&account, &entries), Ok(()));
}

/// Every part of an entry and of the opening counts.
#[test]
fn every_changed_field_of_an_entry_is_detected() {
    let (account, entries) = Bank::with_history();
    let usd = |minor_units| Money { currency: Currency::USD, minor_units };
    let changes: [fn(&mut Entry); 9] = [
        |entry| entry.amount.minor_units += 1,
        |entry| entry.amount.currency = "EUR".parse().unwrap(),
        |entry| entry.balance_after.minor_units -= 1,
        |entry| entry.time = Timestamp::try_from_unix_ms(entry.time.unix_ms() + 1).unwrap(),
        |entry| entry.transaction_id = "x/1-1".parse().unwrap(),
        |entry| entry.description = "other".parse().unwrap(),
        |entry| entry.request_id = "other".parse().ok(),
        |entry| entry.account_id = "other".parse().unwrap(),
        |entry| entry.hash = EntryHash::from_bytes([7; 32]),
    ];
    let kinds = [
        EntryKind::Deposit,
        EntryKind::TransferOut { destination: id("999") },
        EntryKind::TransferIn { source: id("999") },
        EntryKind::AccountOpened { overdraft_limit: usd(1) },
        EntryKind::OverdraftLimitSet { limit: usd(1) },
        EntryKind::AccountClosed,
    ];
    for place in 0..entries.len() {
        let sequence = place as u64 + 1;
        let check = |change: &dyn Fn(&mut Entry)| {
            let mut entries = entries.clone();
            change(&mut entries[place]);
            if entries[place] != Bank::with_history().1[place] {
                assert_eq!(verify(&account, &entries), Err(Fault::Changed { sequence }));
            }
        };
        for change in &changes {
            check(change);
        }
        for kind in &kinds {
            check(&|entry: &mut Entry| entry.kind = kind.clone());
        }
    }
    let mut interest = entries.clone();
    let EntryKind::Interest { terms, .. } = &mut interest[5].kind else { panic!("{interest:?}") };
    terms.annual_rate = "2.6".parse().unwrap();
    assert_eq!(verify(&account, &interest), Err(Fault::Changed { sequence: 6 }));
}

#[test]
fn every_changed_field_of_an_account_is_detected() {
    type Change = fn(&mut Account);
    let (account, entries) = Bank::with_history();
    let openings: [Change; 6] = [
        |account| account.id = id("124"),
        |account| account.account_type = AccountType::Savings,
        |account| account.currency = "EUR".parse().unwrap(),
        |account| account.owner = "mallory".parse().unwrap(),
        |account| account.labels = Labels::default(),
        |account| account.opened_at = Timestamp::UNIX_EPOCH,
    ];
    for change in openings {
        let mut account = account.clone();
        change(&mut account);
        assert_eq!(verify(&account, &entries), Err(Fault::Changed { sequence: 1 }));
    }
    let later: [(&str, Change); 6] = [
        ("version", |account| account.version += 1),
        ("balance", |account| account.balance.minor_units += 1),
        ("overdraft limit", |account| account.overdraft_limit.minor_units = 1),
        ("state", |account| account.state = bank_domain::AccountState::Active),
        ("time of change", |account| account.updated_at = account.opened_at),
        ("hash", |account| account.head = EntryHash::from_bytes([7; 32])),
    ];
    for (name, change) in later {
        let mut account = account.clone();
        change(&mut account);
        let fault = verify(&account, &entries).unwrap_err();
        assert!(matches!(&fault, Fault::AccountChanged { field, .. } if *field == name), "{name}: {fault}");
        assert_eq!(fault.sequence(), None);
    }
}

/// In each place of a history, each way to tamper with it: the first entry that is wrong is named,
/// and what is wrong with it.
#[test]
fn tampering_is_reported_by_kind_and_sequence() {
    let (account, entries) = Bank::with_deposits(8);
    for place in 0..entries.len() {
        let sequence = place as u64 + 1;
        let mut tampered = entries.clone();
        tampered.remove(place);
        assert_eq!(verify(&account, &tampered), Err(Fault::Removed { sequence }));

        for other in place + 1..entries.len() {
            // The contents of two entries, each in the place of the other.
            let mut tampered = entries.clone();
            tampered.swap(place, other);
            for (entry, original) in tampered.iter_mut().zip(&entries) {
                (entry.sequence, entry.time) = (original.sequence, original.time);
                entry.transaction_id = original.transaction_id.clone();
            }
            assert_eq!(verify(&account, &tampered), Err(Fault::Reordered { sequence }), "with {other}");
        }

        // Under a number that is taken, after the entry that has it.
        let mut forged = entries[place].clone();
        forged.amount.minor_units += 1;
        let mut tampered = entries.clone();
        tampered.insert(place + 1, forged.clone());
        assert_eq!(verify(&account, &tampered), Err(Fault::Inserted { sequence }));

        // In the place of an entry, and all from there on renumbered.
        let mut tampered = entries.clone();
        tampered.insert(place, forged);
        for (entry, sequence) in tampered.iter_mut().zip(1..).skip(place + 1) {
            entry.sequence = sequence;
            entry.transaction_id.entry_id.sequence = sequence;
        }
        assert_eq!(verify(&account, &tampered), Err(Fault::Inserted { sequence }));
    }

    // One removed, and all after it renumbered.
    for place in 1..entries.len() - 2 {
        let mut tampered = entries.clone();
        tampered.remove(place);
        for (entry, sequence) in tampered.iter_mut().zip(1..) {
            entry.sequence = sequence;
            entry.transaction_id.entry_id.sequence = sequence;
        }
        assert_eq!(verify(&account, &tampered), Err(Fault::Removed { sequence: place as u64 + 1 }));
    }
}

#[test]
fn newer_entries_that_continue_the_chain_are_no_fault() {
    let (_, entries) = Bank::with_deposits(8);
    let (account, _) = Bank::with_deposits(5);
    let mut verifier = Verifier::new(&account);
    for (entry, number) in entries.iter().zip(1..) {
        verifier.check(entry);
        assert_eq!(verifier.has_newer(), number > 6);
    }
    assert_eq!(verifier.verified(), 6);
    assert_eq!(verifier.finish(), Ok(()));

    let mut stranger = entries.clone();
    stranger.remove(6);
    assert_eq!(verify(&account, &stranger), Err(Fault::Inserted { sequence: 8 }));
    stranger[6].sequence = 3;
    assert_eq!(verify(&account, &stranger), Err(Fault::Inserted { sequence: 3 }));
}

/// Whoever calculates all hashes anew, and keeps to the rules, is not found by the chain alone; who
/// does not keep to them is.
#[test]
fn a_history_that_is_written_anew_must_keep_to_the_rules() {
    type Forgery = fn(&mut Account, &mut [Entry]);
    let usd = |minor_units| Money { currency: Currency::USD, minor_units };
    let forgeries: [(u64, BrokenRule, Forgery); 9] = [
        (1, BrokenRule::Opening, |_, entries| entries[0].kind = EntryKind::AccountFrozen),
        (3, BrokenRule::Opening, |_, entries| entries[2].kind = entries[0].kind.clone()),
        (2, BrokenRule::Currency, |_, entries| entries[1].amount.currency = "EUR".parse().unwrap()),
        (5, BrokenRule::Time, |_, entries| entries[4].time = entries[0].time),
        (4, BrokenRule::Amount { amount: usd(103) }, |_, entries| entries[3].kind = EntryKind::Withdrawal),
        (2, BrokenRule::Balance { expected: 101, found: 1_101 }, |_, entries| {
            entries[1].balance_after.minor_units += 1_000;
        }),
        (2, BrokenRule::Floor { balance: usd(-50_001), limit: usd(50_000) }, |_, entries| {
            entries[1].kind = EntryKind::Withdrawal;
            entries[1].amount.minor_units = -50_001;
            entries[1].balance_after.minor_units = -50_001;
        }),
        (1, BrokenRule::Limit { limit: usd(50_000) }, |account, _| {
            account.account_type = AccountType::Savings;
        }),
        (3, BrokenRule::Transaction, |_, entries| {
            entries[2].transaction_id = entries[1].transaction_id.clone();
        }),
    ];
    for (sequence, rule, forge) in forgeries {
        let (mut account, mut entries) = Bank::with_deposits(6);
        forge(&mut account, &mut entries);
        let mut head = account.genesis();
        for entry in &mut entries {
            entry.hash = entry.chained_to(&head);
            head = entry.hash;
        }
        account.head = head;
        assert_eq!(verify(&account, &entries), Err(Fault::RuleBroken { sequence, rule }));
    }

    let (account, mut entries) = Bank::with_deposits(3);
    entries.truncate(3);
    let shorter = Account {
        version: 3,
        balance: entries[2].balance_after,
        updated_at: entries[2].time,
        head: entries[2].hash,
        ..account
    };
    assert_eq!(verify(&shorter, &entries), Ok(()), "only against a hash that was kept elsewhere");
}

#[test]
fn the_sides_of_a_transfer_belong_together() {
    type Change = fn(&mut Entry);
    let mut bank = Bank::default();
    bank.open("123", &[], "");
    bank.open("456", &[], "");
    bank.transfer(1, "r", "123", "456", 500);
    let sides = ["123", "456"].map(|account_id| bank.entries[&id(account_id)][1].clone());
    let [out, into] = &sides;
    assert_eq!((match_sides(out, Some(into)), match_sides(into, Some(out))), (Ok(()), Ok(())));
    assert_eq!(match_sides(&bank.entries[&id("123")][0], None), Ok(()), "it has no other side");

    let changes: [(&str, Change); 7] = [
        ("account", |entry| entry.account_id = id("789")),
        ("transaction id", |entry| entry.transaction_id = "123/1-1".parse().unwrap()),
        ("kind", |entry| entry.kind = EntryKind::Deposit),
        ("amount", |entry| entry.amount.minor_units += 1),
        ("time", |entry| entry.time = Timestamp::UNIX_EPOCH),
        ("request id", |entry| entry.request_id = None),
        ("description", |entry| entry.description = text("other")),
    ];
    for (one, other) in [(out, into), (into, out)] {
        let account_id = other.account_id.clone();
        assert_eq!(match_sides(one, None), Err(Mismatch::Missing { account_id: account_id.clone() }));
        for (field, change) in changes {
            let mut changed = other.clone();
            change(&mut changed);
            let expected = Mismatch::Differs { account_id: account_id.clone(), field };
            assert_eq!(match_sides(one, Some(&changed)), Err(expected));
        }
        let mut elsewhere = other.clone();
        elsewhere.kind = match elsewhere.kind {
            EntryKind::TransferIn { .. } => EntryKind::TransferIn { source: id("789") },
            _ => EntryKind::TransferOut { destination: id("789") },
        };
        let expected = Mismatch::Differs { account_id, field: "counterparty" };
        assert_eq!(match_sides(one, Some(&elsewhere)), Err(expected));
    }
}

#[test]
fn the_books_of_a_whole_bank_balance_and_those_of_an_account_too() {
    let mut bank = Bank::default();
    bank.open("123", &[], "");
    bank.open("456", &[], "");
    bank.deposit(1, 1_000, "");
    bank.transfer(2, "", "123", "456", 300);
    bank.transfer(9, "", "123", "456", 50);
    let at = |offset_ms| Timestamp::try_from_unix_ms(NEW_YEAR_2026_MS + offset_ms).unwrap();
    let books = |account_ids: &[&str], settled_before| {
        let mut books = Books::default();
        for account_id in account_ids {
            let mut of_account = Books::default();
            of_account.hold(&bank.accounts[&id(account_id)]);
            for entry in &bank.entries[&id(account_id)] {
                of_account.book(entry, settled_before);
            }
            books.merge(&of_account);
        }
        *books.iter().next().unwrap()
    };
    let all = books(&["123", "456"], Timestamp::MAX);
    assert!(all.are_balanced(Extent::Bank) && all.are_balanced(Extent::Accounts));
    assert_eq!(
        (all.money_in.minor_units, all.held.minor_units, all.transferred.minor_units),
        (1_000, 1_000, 0)
    );

    // An account that only paid is no fault of its own; a bank where nobody was paid is wrong.
    let one = books(&["123"], Timestamp::MAX);
    assert_eq!((one.excess().minor_units, one.transferred.minor_units), (0, -350));
    assert!(one.are_balanced(Extent::Accounts) && !one.are_balanced(Extent::Bank));
    // But for what may still be under way.
    assert!(books(&["123"], at(2)).are_balanced(Extent::Bank));
    assert!(!books(&["123"], at(3)).are_balanced(Extent::Bank));

    let mut more = all;
    more.held += Money { currency: Currency::USD, minor_units: 7 };
    assert_eq!(more.excess().minor_units, 7);
    assert!(!more.are_balanced(Extent::Bank) && !more.are_balanced(Extent::Accounts));
}
