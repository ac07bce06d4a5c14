//! Accounts, entries and request records as the file holds them: MessagePack, each a list of its
//! fields.
//!
//! A field that a later version adds comes last and with `#[serde(default)]`, so that what was
//! written before can still be read; any other change is a new layout of the file.

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Currency, Description, Entry, EntryHash, EntryId,
    EntryKind, Fingerprint, Labels, Money, Owner, Refusal, RequestId, Timestamp, TransactionId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::tables::Position;
use crate::{Attempt, StoreError, checks};

/// An account, and where in the log its newest entry is.
#[derive(Clone, Debug)]
pub(super) struct Filed {
    pub(super) account: Account,
    pub(super) newest: Position,
}

#[derive(Serialize, Deserialize)]
struct StoredAccount {
    account_type: AccountType,
    currency: Currency,
    owner: Owner,
    labels: Labels,
    state: AccountState,
    balance: i64,
    overdraft_limit: i64,
    version: u64,
    opened_at: Timestamp,
    updated_at: Timestamp,
    head: EntryHash,
    newest: Position,
}

/// An entry, and where in the log the one before it on its account is.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    pub(super) entry: Entry,
    pub(super) previous: Option<Position>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    account_id: AccountId,
    sequence: u64,
    previous: Option<Position>,
    time: Timestamp,
    kind: EntryKind,
    amount: i64,
    balance_after: i64,
    /// Of the other side, where this is the second side of a transfer.
    transaction: Option<String>,
    request_id: Option<RequestId>,
    description: Description,
    hash: EntryHash,
}

/// What is kept of a request.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) fingerprint: Fingerprint,
    pub(super) attempt: Attempt,
    /// When it was recorded, by this machine's clock.
    pub(super) recorded_at_seconds: u64,
    pub(super) outcome: RecordedOutcome,
}

/// The outcome of a request: the entry on the account that it names first, or why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum RecordedOutcome {
    #[serde(rename = "e")]
    Entry { position: Position, id: EntryId },
    #[serde(rename = "r")]
    Refused(Refusal),
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    fingerprint: u64,
    attempt: u64,
    recorded_at_seconds: u64,
    outcome: RecordedOutcome,
}

pub(super) fn encode_account(account: &Account, newest: Position) -> Result<Vec<u8>, StoreError> {
    encode(&StoredAccount {
        account_type: account.account_type,
        currency: account.currency,
        owner: account.owner.clone(),
        labels: account.labels.clone(),
        state: account.state,
        balance: account.balance.minor_units,
        overdraft_limit: account.overdraft_limit.minor_units,
        version: account.version,
        opened_at: account.opened_at,
        updated_at: account.updated_at,
        head: account.head,
        newest,
    })
}

/// An account from its row.
pub(super) fn account(id: &AccountId, bytes: &[u8]) -> Result<Filed, StoreError> {
    let damaged = |what: &str| StoreError::Corrupt(format!("account {id}: {what}"));
    let stored: StoredAccount = decode(bytes).map_err(|error| damaged(&error))?;
    let money = |minor_units| Money { currency: stored.currency, minor_units };
    let account = Account {
        id: id.clone(),
        account_type: stored.account_type,
        currency: stored.currency,
        owner: stored.owner,
        labels: stored.labels,
        state: stored.state,
        balance: money(stored.balance),
        overdraft_limit: money(stored.overdraft_limit),
        version: stored.version,
        opened_at: stored.opened_at,
        updated_at: stored.updated_at,
        head: stored.head,
    };
    match checks::unsound_field(&account) {
        Some(field) => Err(damaged(&format!("field {field:?} is out of bounds"))),
        None => Ok(Filed { account, newest: stored.newest }),
    }
}

pub(super) fn encode_entry(entry: &Entry, previous: Option<Position>) -> Result<Vec<u8>, StoreError> {
    let is_second_side = matches!(entry.kind, EntryKind::TransferIn { .. });
    encode(&StoredEntry {
        account_id: entry.account_id.clone(),
        sequence: entry.sequence,
        previous,
        time: entry.time,
        kind: entry.kind.clone(),
        amount: entry.amount.minor_units,
        balance_after: entry.balance_after.minor_units,
        transaction: is_second_side.then(|| entry.transaction_id.to_string()),
        request_id: entry.request_id.clone(),
        description: entry.description.clone(),
        hash: entry.hash,
    })
}

/// An entry from its row in the log. Its currency is that of its account.
pub(super) fn entry(position: Position, currency: Currency, bytes: &[u8]) -> Result<Linked, StoreError> {
    let damaged = |what: &str| StoreError::Corrupt(format!("entry {position} of the log: {what}"));
    let stored: StoredEntry = decode(bytes).map_err(|error| damaged(&error))?;
    let money = |minor_units| Money { currency, minor_units };
    let StoredEntry { account_id, sequence, time, .. } = stored;
    let transaction_id = match stored.transaction {
        Some(text) => text.parse().map_err(|_| damaged("its transaction id is malformed"))?,
        None => TransactionId { account_id: account_id.clone(), entry_id: EntryId { time, sequence } },
    };
    let entry = Entry {
        transaction_id,
        account_id,
        sequence,
        time,
        kind: stored.kind,
        amount: money(stored.amount),
        balance_after: money(stored.balance_after),
        request_id: stored.request_id,
        description: stored.description,
        hash: stored.hash,
    };
    if sequence == 0 || stored.previous.is_none() != (sequence == 1) {
        return Err(damaged("it does not say which entry came before it"));
    }
    Ok(Linked { entry, previous: stored.previous })
}

pub(super) fn encode_record(record: &Record) -> Result<Vec<u8>, StoreError> {
    encode(&StoredRecord {
        fingerprint: record.fingerprint.to_bits(),
        attempt: record.attempt.0,
        recorded_at_seconds: record.recorded_at_seconds,
        outcome: record.outcome.clone(),
    })
}

/// A request record from its row.
pub(super) fn record(bytes: &[u8]) -> Result<Record, StoreError> {
    let StoredRecord { fingerprint, attempt, recorded_at_seconds, outcome } =
        decode(bytes).map_err(|error| StoreError::Corrupt(format!("a request record: {error}")))?;
    Ok(Record {
        fingerprint: Fingerprint::from_bits(fingerprint),
        attempt: Attempt(attempt),
        recorded_at_seconds,
        outcome,
    })
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec(value)
        .map_err(|error| StoreError::Misconfigured(format!("a row cannot be encoded: {error}")))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|error| format!("its row is malformed ({error})"))
}
