//! Speaks with `commit.lua`: turns proposals into its arguments and its answer into outcomes.

use std::collections::HashMap;

use bank_domain::{AccountId, Currency, Entry};
use fred::types::Value;
use serde::Serialize;

use super::{codec, keys::Keys, reply};
use crate::{Committed, Outcome, Proposal, Recorded, Stamp, StoreError};

/// The script; Redis calls it by the digest of this text, so servers of two versions run their own.
pub(super) const SCRIPT: &str = include_str!("commit.lua");

/// The number of a key in the list of keys, from 1.
type KeyNumber = usize;

/// The arguments of one call of the script.
pub(super) struct Call {
    pub(super) keys: Vec<String>,
    /// The proposals in MessagePack.
    pub(super) payload: Vec<u8>,
    /// The hashes of all entries of all changes, in order, 32 bytes each. Redis reads no bytes in
    /// MessagePack, only text.
    pub(super) entry_hashes: Vec<u8>,
    /// Which account a key number is of.
    account_ids: HashMap<KeyNumber, AccountId>,
}

/// A proposal as the script reads it: structs become lists in MessagePack.
#[derive(Serialize)]
struct Argument {
    requests_key: KeyNumber,
    request_field: String,
    attempt: String,
    fingerprint: String,
    record: Record,
    reads: Vec<Read>,
    changes: Vec<Change>,
    linked: bool,
    refused: bool,
}

/// The record to write, or `false`: Lua's lists end at the first nil.
#[derive(Serialize)]
#[serde(untagged)]
enum Record {
    Kept(String),
    NotKept(bool),
}

#[derive(Serialize)]
struct Read {
    account_key: KeyNumber,
    entries_key: KeyNumber,
    /// Empty for an account that did not exist.
    stamp: String,
}

#[derive(Serialize)]
struct Change {
    account_key: KeyNumber,
    entries_key: KeyNumber,
    entry_id: String,
    entry_fields: Vec<String>,
    account_fields: Vec<String>,
    index_keys: Vec<KeyNumber>,
    account_id: String,
    /// Of the account with the change.
    stamp: String,
}

impl Call {
    pub(super) fn new(keys: &Keys, proposals: &[Proposal]) -> Result<Self, StoreError> {
        let mut builder = CallBuilder { names: keys, numbers: HashMap::new(), account_ids: HashMap::new() };
        // The script expects these two first.
        builder.number(keys.meta());
        builder.number(keys.barrier());
        let arguments = proposals.iter().map(|it| builder.argument(it)).collect::<Result<Vec<_>, _>>()?;
        let payload = rmp_serde::to_vec(&arguments)
            .map_err(|error| StoreError::Misconfigured(format!("a commit cannot be encoded: {error}")))?;
        let changes = proposals.iter().flat_map(|it| &it.decision).flat_map(bank_domain::Plan::changes);
        let entry_hashes = changes.flat_map(|change| *change.entry.hash.as_bytes()).collect();
        let mut keys = vec![String::new(); builder.numbers.len()];
        for (key, number) in builder.numbers {
            keys[number - 1] = key;
        }
        Ok(Self { keys, payload, entry_hashes, account_ids: builder.account_ids })
    }

    /// Reads the answer of the script to these proposals.
    pub(super) fn committed(&self, proposals: &[Proposal], answer: Value) -> Result<Committed, StoreError> {
        let [outcomes, accounts, torn] = reply::list(answer)?
            .try_into()
            .map_err(|_| reply::unexpected("the commit script did not answer three values"))?;
        let torn = reply::text(torn)?;
        if !torn.is_empty() {
            return Err(StoreError::Corrupt(format!("a commit was broken off half way: {torn}")));
        }

        let mut current: HashMap<_, _> = HashMap::new();
        for item in reply::list(accounts)? {
            let [number, fields] = reply::pair(item)?;
            let id = usize::try_from(reply::integer(&number)?)
                .ok()
                .and_then(|number| self.account_ids.get(&number))
                .ok_or_else(|| reply::unexpected("the commit script named an unknown account"))?;
            // An account that cannot be read is left out; whoever loads it learns why.
            if let Ok(account) = reply::fields(fields).and_then(|fields| codec::account(id, &fields)) {
                current.insert(id.clone(), account);
            }
        }

        let outcomes: Vec<_> = reply::list(outcomes)?
            .into_iter()
            .zip(proposals)
            .map(|(value, proposal)| {
                let id = &proposal.key.account_id;
                let currency = current.get(id).and_then(Option::as_ref).map(|account| account.currency);
                outcome(id, currency, value)
            })
            .collect::<Result<_, _>>()?;
        if outcomes.len() != proposals.len() {
            return Err(reply::unexpected("the commit script did not answer every proposal"));
        }
        Ok(Committed { outcomes, current })
    }
}

fn outcome(id: &AccountId, currency: Option<Currency>, value: Value) -> Result<Outcome, StoreError> {
    if value.is_integer() {
        return match reply::integer(&value)? {
            0 => Ok(Outcome::Applied),
            1 => Ok(Outcome::Conflict),
            2 => Ok(Outcome::RequestIdReused),
            3 => Ok(Outcome::Abandoned),
            _ => Err(reply::unexpected("the commit script answered an unknown outcome")),
        };
    }
    let mut parts = reply::list(value)?.into_iter();
    let mut next = || parts.next().unwrap_or(Value::Null);
    let (kind, detail) = (reply::text(next())?, reply::text(next())?);
    match kind.as_str() {
        "damaged" => Ok(Outcome::Damaged(detail)),
        "replayed" if detail.starts_with('{') => Ok(match serde_json::from_str(&detail) {
            Ok(refusal) => Outcome::Replayed(Recorded::Refused(refusal)),
            Err(_) => Outcome::Damaged(format!("a request record of account {id} is malformed")),
        }),
        "replayed" => Ok(match replayed_entry(id, currency, &detail, next()) {
            Ok(entry) => Outcome::Replayed(Recorded::Entry(Box::new(entry))),
            Err(error) => Outcome::Damaged(error.to_string()),
        }),
        _ => Err(reply::unexpected("the commit script answered an unknown outcome")),
    }
}

/// The entry that a record names, as it stands in the history.
fn replayed_entry(
    id: &AccountId,
    currency: Option<Currency>,
    entry_id: &str,
    entries: Value,
) -> Result<Entry, StoreError> {
    let lost =
        |what| StoreError::Corrupt(format!("account {id} has lost its {what}, but not the record of it"));
    let currency = currency.ok_or_else(|| lost("fields".to_owned()))?;
    let entry = reply::list(entries)?.into_iter().next();
    let entry = entry.ok_or_else(|| lost(format!("entry {entry_id}")))?;
    let [entry_id, fields] = reply::pair(entry)?;
    codec::entry(id, currency, &reply::text(entry_id)?, &reply::fields(fields)?)
}

struct CallBuilder<'a> {
    names: &'a Keys,
    numbers: HashMap<String, KeyNumber>,
    account_ids: HashMap<KeyNumber, AccountId>,
}

impl CallBuilder<'_> {
    fn argument(&mut self, proposal: &Proposal) -> Result<Argument, StoreError> {
        let reads = proposal.decided_on.iter().map(|(id, stamp)| Read {
            account_key: self.account(id),
            entries_key: self.number(self.names.entries(id)),
            stamp: stamp.map(|stamp| stamp.to_string()).unwrap_or_default(),
        });
        let reads = reads.collect();
        let changes = proposal.decision.iter().flat_map(bank_domain::Plan::changes);
        let changes = changes.map(|change| self.change(change)).collect();
        Ok(Argument {
            requests_key: self.number(self.names.requests(&proposal.key.account_id)),
            request_field: codec::request_field(proposal),
            attempt: proposal.attempt.to_string(),
            fingerprint: proposal.fingerprint.to_string(),
            record: if proposal.is_recorded() {
                Record::Kept(codec::request_record(proposal)?)
            } else {
                Record::NotKept(false)
            },
            reads,
            changes,
            linked: proposal.linked,
            refused: proposal.decision.is_err(),
        })
    }

    fn change(&mut self, change: &bank_domain::Change) -> Change {
        let bank_domain::Change { account, entry } = change;
        let mut index_keys = Vec::new();
        if entry.sequence == 1 {
            index_keys.push(self.number(self.names.accounts(self.names.partition_of(&account.id))));
            if !account.owner.is_empty() {
                index_keys.push(self.number(self.names.owner(&account.owner)));
            }
        }
        Change {
            account_key: self.account(&account.id),
            entries_key: self.number(self.names.entries(&account.id)),
            entry_id: entry.id().to_string(),
            entry_fields: codec::entry_fields(entry),
            account_fields: codec::account_fields(account, entry),
            index_keys,
            account_id: account.id.to_string(),
            stamp: Stamp::of(account).to_string(),
        }
    }

    fn account(&mut self, id: &AccountId) -> KeyNumber {
        let number = self.number(self.names.account(id));
        self.account_ids.entry(number).or_insert_with(|| id.clone());
        number
    }

    fn number(&mut self, key: String) -> KeyNumber {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(key).or_insert(next)
    }
}
