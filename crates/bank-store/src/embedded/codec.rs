//! Rows of accounts, entries and request records: each is a list of fields in MessagePack.
//!
//! A later version may add a field at the end with a default, so that existing rows can be read. Any other change is a
//! new layout of the file.

use std::borrow::Cow;

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Currency, Entry, EntryHash, EntryId, EntryKind,
    Fingerprint, Labels, Money, Timestamp, TransactionId,
};
use serde::{Deserialize, Serialize};

use super::tables::{Number, Position};
use crate::{RequestRecord, StoreError, checks};

/// An account without what its newest entry says.
#[derive(Serialize, Deserialize)]
struct AccountRow<'a> {
    number: Number,
    account_type: AccountType,
    currency: Currency,
    owner: &'a str,
    labels: Cow<'a, Labels>,
    state: AccountState,
    overdraft_limit: i64,
    opened_at: Timestamp,
}

/// An account without what its newest entry says.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) number: Number,
    account: Account,
}

/// An entry of the log, and the position of the previous entry of its account.
#[derive(Clone, Debug)]
pub(super) struct LogEntry {
    pub(super) entry: Entry,
    pub(super) previous: Option<Position>,
}

#[derive(Serialize, Deserialize)]
struct EntryRow<'a> {
    account_id: &'a str,
    sequence: u64,
    previous: Option<Position>,
    time: Timestamp,
    kind: Cow<'a, EntryKind>,
    amount: i64,
    balance_after: i64,
    /// Only of the second posting of a transfer: the id that the first has given.
    transaction: Option<Cow<'a, str>>,
    request_id: Option<&'a str>,
    description: &'a str,
    hash: EntryHash,
}

/// The entry that a request record names.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct RecordedEntry {
    pub(super) position: Position,
    pub(super) id: EntryId,
}

/// A request record that can find its entry in the log.
pub(super) type Record = RequestRecord<RecordedEntry>;

/// Appends the row of an account.
pub(super) fn encode_account(row: &mut Vec<u8>, account: &Account, number: Number) -> Result<(), StoreError> {
    let fields = AccountRow {
        number,
        account_type: account.account_type,
        currency: account.currency,
        owner: account.owner.as_str(),
        labels: Cow::Borrowed(&account.labels),
        state: account.state,
        overdraft_limit: account.overdraft_limit.minor_units,
        opened_at: account.opened_at,
    };
    encode(row, &fields)
}

/// Decodes the row of an account.
pub(super) fn opened(id: &AccountId, row: &[u8]) -> Result<Opened, StoreError> {
    let fields: AccountRow<'_> = decode(row).map_err(|error| damaged_account(id, &error))?;
    let money = |minor_units| Money { currency: fields.currency, minor_units };
    let account = Account {
        id: id.clone(),
        account_type: fields.account_type,
        currency: fields.currency,
        owner: fields.owner.parse().map_err(|_| damaged_account(id, "its owner is malformed"))?,
        labels: fields.labels.into_owned(),
        state: fields.state,
        balance: money(0),
        overdraft_limit: money(fields.overdraft_limit),
        version: 0,
        opened_at: fields.opened_at,
        updated_at: fields.opened_at,
        head: EntryHash::from_bytes([0; 32]),
    };
    Ok(Opened { number: fields.number, account })
}

impl Opened {
    pub(super) fn currency(&self) -> Currency {
        self.account.currency
    }

    /// Completes the account with its newest entry.
    pub(super) fn after(self, newest: &Entry) -> Account {
        Account {
            balance: newest.balance_after,
            version: newest.sequence,
            updated_at: newest.time,
            head: newest.hash,
            ..self.account
        }
    }
}

/// Checks that the bank could have written an account.
pub(super) fn require_sound(account: &Account) -> Result<(), StoreError> {
    match checks::unsound_field(account) {
        Some(field) => Err(damaged_account(&account.id, &format!("field {field:?} is out of range"))),
        None => Ok(()),
    }
}

pub(super) fn damaged_account(id: &AccountId, what: &str) -> StoreError {
    StoreError::Corrupt(format!("account {id}: {what}"))
}

/// Appends an entry of the log.
pub(super) fn encode_entry(
    row: &mut Vec<u8>,
    entry: &Entry,
    previous: Option<Position>,
) -> Result<(), StoreError> {
    let is_second_side = matches!(entry.kind, EntryKind::TransferIn { .. });
    let fields = EntryRow {
        account_id: entry.account_id.as_str(),
        sequence: entry.sequence,
        previous,
        time: entry.time,
        kind: Cow::Borrowed(&entry.kind),
        amount: entry.amount.minor_units,
        balance_after: entry.balance_after.minor_units,
        transaction: is_second_side.then(|| entry.transaction_id.to_string().into()),
        request_id: entry.request_id.as_ref().map(bank_domain::RequestId::as_str),
        description: entry.description.as_str(),
        hash: entry.hash,
    };
    encode(row, &fields)
}

/// Decodes an entry of the log. Its currency is that of its account.
pub(super) fn entry(position: Position, currency: Currency, row: &[u8]) -> Result<LogEntry, StoreError> {
    let damaged = |what: &str| StoreError::Corrupt(format!("entry {position} of the log: {what}"));
    let fields: EntryRow<'_> = decode(row).map_err(|error| damaged(&error))?;
    let money = |minor_units| Money { currency, minor_units };
    let EntryRow { sequence, time, .. } = fields;
    let account_id: AccountId =
        fields.account_id.parse().map_err(|_| damaged("its account id is malformed"))?;
    let transaction_id = match fields.transaction {
        Some(text) => text.parse().map_err(|_| damaged("its transaction id is malformed"))?,
        None => TransactionId { account_id: account_id.clone(), entry_id: EntryId { time, sequence } },
    };
    let request_id = fields.request_id.map(str::parse).transpose();
    let entry = Entry {
        transaction_id,
        account_id,
        sequence,
        time,
        kind: fields.kind.into_owned(),
        amount: money(fields.amount),
        balance_after: money(fields.balance_after),
        request_id: request_id.map_err(|_| damaged("its request id is malformed"))?,
        description: fields.description.parse().map_err(|_| damaged("its description is malformed"))?,
        hash: fields.hash,
    };
    if sequence == 0 || fields.previous.is_none() != (sequence == 1) {
        return Err(damaged("the position of the previous entry is missing or not expected"));
    }
    Ok(LogEntry { entry, previous: fields.previous })
}

/// The account and time of an entry of the log.
pub(super) fn account_and_time(position: Position, row: &[u8]) -> Result<(AccountId, Timestamp), StoreError> {
    // The currency does not matter here.
    entry(position, Currency::USD, row).map(|LogEntry { entry, .. }| (entry.account_id, entry.time))
}

/// Appends the row of a request record.
pub(super) fn encode_record(row: &mut Vec<u8>, record: &Record) -> Result<(), StoreError> {
    let Record { fingerprint, attempt, recorded_at, outcome } = record;
    encode(row, &(fingerprint.to_bits(), attempt, recorded_at, outcome))
}

/// Decodes a request record.
pub(super) fn record(row: &[u8]) -> Result<Record, StoreError> {
    let (fingerprint, attempt, recorded_at, outcome) =
        decode(row).map_err(|error| StoreError::Corrupt(format!("a request record: {error}")))?;
    Ok(Record { fingerprint: Fingerprint::from_bits(fingerprint), attempt, recorded_at, outcome })
}

fn encode(row: &mut Vec<u8>, fields: &impl Serialize) -> Result<(), StoreError> {
    rmp_serde::encode::write(row, fields)
        .map_err(|error| StoreError::Misconfigured(format!("a row cannot be encoded: {error}")))
}

fn decode<'a, T: Deserialize<'a>>(row: &'a [u8]) -> Result<T, String> {
    rmp_serde::from_slice(row).map_err(|error| format!("its row is malformed ({error})"))
}
