//! Replies of Redis in its own protocol (RESP2, and maps of RESP3); the first byte chooses what they are the reply to.
//!
//! An account, entry or record that is read is written as something that reads the same. Anything else is an error that
//! says that the store is damaged, or cannot be used.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use bank_domain::{
    AccountId, AccountType, Command, Context, Currency, Labels, OpenAccount, Owner, Timestamp, decide,
};
use bank_store::{
    Attempt, Caller, Outcome, Proposal, RequestKey, StoreError,
    fuzzing::redis::{self, Map, Value},
};
use libfuzzer_sys::fuzz_target;

/// How deep a reply may be; those of the bank are four deep.
const DEPTH_MAX: usize = 8;

static ID: LazyLock<AccountId> = LazyLock::new(|| "a".parse().expect("an id"));

fuzz_target!(|data: &[u8]| {
    let Some((kind, mut rest)) = data.split_first() else { return };
    let Some(reply) = value(&mut rest, DEPTH_MAX) else { return };
    match kind {
        b'a' => account(reply),
        b'e' => entry(reply),
        b'r' => request(reply),
        b'c' => committed(reply),
        b't' => drop(damaged(redis::time(reply))),
        b'i' => {
            let read = redis::info(reply);
            assert!(
                read.is_ok() || matches!(read, Err(StoreError::Misconfigured(_) | StoreError::Corrupt(_)))
            );
        }
        _ => {}
    }
});

fn account(reply: Value) {
    let Some(Some(account)) = damaged(redis::account(&ID, reply)) else { return };
    assert!(account.id == *ID && account.version > 0 && account.overdraft_limit.minor_units >= 0);
    assert!(
        account.balance.minor_units.checked_add(account.overdraft_limit.minor_units).is_none_or(|it| it >= 0)
    );
    let opening = OPENED.decision.as_ref().expect("a plan").primary.entry.clone();
    let written = flat(redis::account_fields(&account, &opening));
    assert_eq!(redis::account(&ID, written), Ok(Some(account)));
}

fn entry(reply: Value) {
    let Some(entry) = damaged(redis::entry(&ID, Currency::USD, reply)) else { return };
    let id = Value::String(entry.id().to_string().into());
    let written = Value::Array(vec![id, flat(redis::entry_fields(&entry))]);
    assert_eq!(redis::entry(&ID, Currency::USD, written), Ok(entry));
}

fn request(reply: Value) {
    let Value::Array(items) = reply else { return };
    let Ok([field, record]) = <[Value; 2]>::try_from(items) else { return };
    let (Some(field), Some(record)) = (field.into_string(), record.into_string()) else { return };
    let Some((key, read)) = damaged(redis::request(&field, &record)) else { return };
    let (field, record) = redis::request_text(&key, &read).expect("what was read can be written");
    assert_eq!(redis::request(&field, &record), Ok((key, read)));
}

fn committed(reply: Value) {
    let proposals = [OPENED.clone()];
    let Some(committed) = damaged(redis::committed(&proposals, reply)) else { return };
    assert_eq!(committed.outcomes.len(), proposals.len());
    assert!(committed.current.keys().all(|id| *id == *ID));
    if let [Outcome::Damaged(what)] = &*committed.outcomes {
        // It is part of an error message.
        assert!(what.len() < 1 << 20);
    }
}

/// What was read; `None` where what is stored is damaged. Nothing else may be wrong.
fn damaged<T>(read: Result<T, StoreError>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(StoreError::Corrupt(what)) => {
            assert!(!what.is_empty());
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn flat(words: Vec<Vec<u8>>) -> Value {
    Value::Array(words.into_iter().map(|word| Value::Bytes(word.into())).collect())
}

/// The opening of the account.
static OPENED: LazyLock<Proposal> = LazyLock::new(|| {
    let now = Timestamp::try_from_unix_ms(1_700_000_000_000).expect("a time");
    let context = Context { now, ahead_max: Duration::MAX, request_id: None };
    let open = OpenAccount::try_new(
        ID.clone(),
        AccountType::Savings,
        Currency::USD,
        Owner::default(),
        Labels::default(),
        None,
    );
    let command = Command::OpenAccount(open.expect("valid"));
    Proposal {
        key: RequestKey {
            account_id: ID.clone(),
            request_id: "r".parse().expect("an id"),
            caller: Caller::new("alice"),
        },
        fingerprint: command.fingerprint(),
        attempt: Attempt(1),
        rejection_recorded: true,
        decided_on: vec![(ID.clone(), None)],
        decided_at: now,
        decision: decide(|_| None, &command, &context),
        linked: false,
    }
});

/// Reads a value as Redis writes it.
fn value(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, line) = rest[..end].split_first()?;
    let line = std::str::from_utf8(line).ok()?;
    *rest = &rest[end + 2..];
    let length = || line.parse::<usize>().ok().filter(|length| *length <= 4096);
    Some(match kind {
        b'+' => Value::String(line.into()),
        b':' => Value::Integer(line.parse().ok()?),
        b',' => Value::Double(line.parse().ok()?),
        b'#' => Value::Boolean(line == "t"),
        b'_' => Value::Null,
        b'$' if line == "-1" => Value::Null,
        b'$' => {
            let (bytes, more) = rest.split_at_checked(length()?)?;
            *rest = more.strip_prefix(b"\r\n")?;
            // As fred does: text where it is text.
            match std::str::from_utf8(bytes) {
                Ok(text) => Value::String(text.into()),
                Err(_) => Value::Bytes(bytes.to_vec().into()),
            }
        }
        b'*' => Value::Array((0..length()?).map(|_| value(rest, depth)).collect::<Option<_>>()?),
        b'%' => {
            let pairs =
                (0..length()?).map(|_| Some((value(rest, depth)?.into_string()?, value(rest, depth)?)));
            let pairs: Vec<(String, Value)> = pairs.collect::<Option<_>>()?;
            Value::Map(Map::try_from(pairs).ok()?)
        }
        _ => return None,
    })
}
