//! Requests of the gRPC API: decoded and parsed as the server does, alone and in batches, and decided.
//!
//! The first byte chooses the message, the rest is the message. A message that is encoded again must parse to the same
//! commands or the same error; a command is within its bounds; a decision keeps the books.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Amount, Command, Context, Currency, Deposit, Description,
    EntryKind, Labels, OpenAccount, Owner, Timestamp, decide,
};
use bank_server::fuzzing::requests::{self, AMOUNT_MINOR_UNITS_MAX};
use libfuzzer_sys::fuzz_target;
use tonic::Status;

const BATCH_OPERATIONS_MAX: usize = 50;
/// The most that the details and the message of an error may take in the headers of a reply: some clients accept no
/// more than 8 KiB in all.
const ERROR_BYTES_MAX: usize = 8 * 1024 - 256;

fuzz_target!(|data: &[u8]| {
    let [kind, message @ ..] = data else { return };
    let kind = kind % requests::KINDS;
    let Some(parsed) = requests::parse(kind, message, BATCH_OPERATIONS_MAX) else { return };
    let again = requests::parse(kind, &parsed.encoded, BATCH_OPERATIONS_MAX)
        .expect("an encoded message can be decoded");
    match (&parsed.outcome, &again.outcome) {
        (Ok(commands), Ok(again)) => {
            assert_eq!(commands, again);
            assert!(commands.len() <= BATCH_OPERATIONS_MAX);
            commands.iter().for_each(check);
        }
        (Err(error), Err(again)) => {
            assert_eq!((error.code(), error.message()), (again.code(), again.message()));
            check_error(error);
        }
        (one, other) => panic!("{one:?} became {other:?}"),
    }
});

fn check_error(error: &Status) {
    assert!(!error.message().is_empty());
    // The message is percent-encoded, the details are in base64.
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'%';
    let message: usize = error.message().as_bytes().iter().map(|byte| if plain(byte) { 1 } else { 3 }).sum();
    let bytes = message + error.details().len().div_ceil(3) * 4;
    assert!(bytes <= ERROR_BYTES_MAX, "an error of {bytes} bytes: {:?}", error.message());
}

fn check(command: &Command) {
    let amount = match command {
        Command::Deposit(deposit) => Some(deposit.amount),
        Command::Withdraw(withdraw) => Some(withdraw.amount),
        Command::Transfer(transfer) => Some(transfer.amount()),
        _ => None,
    };
    assert!(amount.is_none_or(|amount| (1..=AMOUNT_MINOR_UNITS_MAX).contains(&amount.minor_units())));
    assert!(command.account_ids().all(|id| (1..=AccountId::LENGTH_MAX).contains(&id.as_str().len())));
    assert_eq!(command.fingerprint(), command.clone().fingerprint());
    let _ = decide(|_| None, command, &context());
    for account in &*ACCOUNTS {
        let ids: Vec<_> = command.account_ids().collect();
        let accounts: Vec<_> =
            ids.iter().map(|id| Account { id: (*id).clone(), ..account.clone() }).collect();
        let found = |id: &AccountId| accounts.iter().find(|account| account.id == *id);
        let Ok(plan) = decide(found, command, &context()) else { continue };
        let mut sum = 0_i128;
        for change in plan.changes() {
            let before = found(&change.account.id).expect("only accounts that are there change");
            let (entry, after) = (&change.entry, &change.account);
            let moved = i128::from(after.balance.minor_units) - i128::from(before.balance.minor_units);
            assert_eq!(i128::from(entry.amount.minor_units), moved);
            assert_eq!((entry.balance_after, entry.sequence), (after.balance, before.version + 1));
            assert_eq!((after.version, after.head), (entry.sequence, entry.hash));
            if moved < 0 && !matches!(entry.kind, EntryKind::Interest { .. }) {
                assert!(
                    i128::from(after.balance.minor_units) >= -i128::from(after.overdraft_limit.minor_units),
                    "overdrawn"
                );
            }
            sum += moved;
        }
        assert!(!matches!(command, Command::Transfer(_)) || sum == 0, "a transfer made money");
    }
}

fn context() -> Context {
    Context {
        now: Timestamp::try_from_unix_ms(1_800_000_000_000).expect("a time"),
        ahead_max: Duration::MAX,
        request_id: None,
    }
}

/// Accounts in every state, with little and with all the money that an account can hold.
static ACCOUNTS: LazyLock<Vec<Account>> = LazyLock::new(|| {
    let context =
        Context { now: Timestamp::try_from_unix_ms(1_700_000_000_000).expect("a time"), ..context() };
    let id: AccountId = "a".parse().expect("an id");
    let mut accounts = Vec::new();
    for (account_type, amount) in
        [(AccountType::Savings, 1), (AccountType::Checking, 1_000_000), (AccountType::Checking, i64::MAX)]
    {
        let open = OpenAccount::try_new(
            id.clone(),
            account_type,
            Currency::USD,
            Owner::default(),
            Labels::default(),
            None,
        );
        let open = Command::OpenAccount(open.expect("valid"));
        let opened = decide(|_| None, &open, &context).expect("opened").primary.account;
        let amount = Amount::try_new(None, amount).expect("valid");
        let deposit =
            Command::Deposit(Deposit { account_id: id.clone(), amount, description: Description::default() });
        let paid = decide(|_| Some(&*opened), &deposit, &context).expect("paid").primary.account;
        for state in [AccountState::Active, AccountState::Frozen, AccountState::Closed] {
            accounts.push(Account { state, ..Account::clone(&paid) });
        }
        let overdrawn = paid.balance.with_minor_units(-500);
        let limit = paid.balance.with_minor_units(500);
        if account_type == AccountType::Checking {
            accounts.push(Account { balance: overdrawn, overdraft_limit: limit, ..Account::clone(&paid) });
        }
    }
    accounts
});
