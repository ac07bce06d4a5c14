//! Speaks with `commit.lua`: turns proposals into its arguments and its answer into outcomes.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use bank_domain::{AccountId, Change, Currency, Entry, Plan, Timestamp};
use fred::types::Value;

use super::{
    codec,
    keys::Keys,
    packed::{Packed, Words as _},
    records, reply,
};
use crate::{Committed, Outcome, Proposal, RecordedOutcome, RequestKey, StoreError};

/// The script; Redis calls it by the digest of this text, so servers of two versions run their own.
pub(super) const SCRIPT: &str = include_str!("commit.lua");

/// The number of a key in the list of keys, from 1.
type KeyNumber = u32;

/// The arguments of one call of the script.
pub(super) struct Call {
    pub(super) keys: Vec<Value>,
    /// What the script calls `groups`, `requests`, `starts` and `words`.
    pub(super) payload: Value,
    /// When the first of the proposals was decided.
    pub(super) decided_at: Timestamp,
    /// Which account a key number is of.
    account_ids: HashMap<KeyNumber, AccountId>,
}

impl Call {
    pub(super) fn new(names: &Keys, proposals: &[Proposal]) -> Result<Self, StoreError> {
        let mut builder = CallBuilder {
            names,
            // The script expects these two first.
            keys: vec![names.meta().into(), names.barrier().into()],
            numbers: HashMap::new(),
            words: Packed::default(),
        };
        let requests = in_groups(names, proposals);
        let (mut groups, mut fields, mut starts) = (Packed::default(), Packed::default(), Packed::default());
        for group in requests.chunk_by(|one, other| one.partition == other.partition) {
            groups.number(builder.key(names.requests(group[0].partition)).into());
            groups.number(u64::from(fields.length()) + 1);
            for request in group {
                fields.push(records::field(request.key).as_bytes());
            }
            groups.number(fields.length().into());
        }
        for proposal in proposals {
            starts.number(u64::from(builder.words.length()) + 1);
            // It is there: it was made of these proposals.
            let request =
                Request { partition: names.partition_of(&proposal.key.account_id), key: &proposal.key };
            let place = requests.partition_point(|other| *other < request);
            builder.proposal(place, proposal)?;
        }
        let mut payload = Vec::new();
        for list in [&groups, &fields, &starts, &builder.words] {
            list.append_to(&mut payload);
        }
        let account_ids = builder.numbers.into_iter().map(|(id, number)| (number, id.clone())).collect();
        let decided_at = proposals.iter().map(|it| it.decided_at).min().unwrap_or(Timestamp::MIN);
        Ok(Self { keys: builder.keys, payload: Value::Bytes(payload.into()), decided_at, account_ids })
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
            let id = KeyNumber::try_from(reply::integer(&number)?)
                .ok()
                .and_then(|number| self.account_ids.get(&number))
                .ok_or_else(|| reply::unexpected("the commit script named an unknown account"))?;
            // An account that cannot be read is left out; whoever loads it learns why.
            if let Ok(account) = reply::fields(fields).and_then(|fields| codec::account(id, &fields)) {
                current.insert(id.clone(), account);
            }
        }

        let mut told = reply::list(outcomes)?.into_iter();
        let mut outcomes = vec![Outcome::Applied; proposals.len()];
        while let (Some(number), Some(value)) = (told.next(), told.next()) {
            let place =
                usize::try_from(reply::integer(&number)?).ok().and_then(|number| number.checked_sub(1));
            let place = place.filter(|place| *place < proposals.len());
            let place =
                place.ok_or_else(|| reply::unexpected("the commit script named an unknown proposal"))?;
            let id = &proposals[place].key.account_id;
            let currency = current.get(id).and_then(Option::as_ref).map(|account| account.currency);
            outcomes[place] = outcome(id, currency, value)?;
        }
        Ok(Committed { outcomes, current })
    }
}

fn outcome(id: &AccountId, currency: Option<Currency>, value: Value) -> Result<Outcome, StoreError> {
    if value.is_integer() {
        return match reply::integer(&value)? {
            1 => Ok(Outcome::Conflict),
            2 => Ok(Outcome::RequestIdReused),
            3 => Ok(Outcome::Abandoned),
            _ => Err(reply::unexpected("the commit script answered an unknown outcome")),
        };
    }
    if !value.is_array() {
        return Ok(Outcome::Damaged(reply::text(value)?));
    }
    let [recorded, entries] = reply::pair(value)?;
    let recorded = reply::text(recorded)?;
    Ok(if recorded.starts_with('{') {
        match serde_json::from_str(&recorded) {
            Ok(rejection) => Outcome::Replayed(RecordedOutcome::Rejected(rejection)),
            Err(_) => Outcome::Damaged(format!("a request record of account {id} is malformed")),
        }
    } else {
        match replayed_entry(id, currency, &recorded, entries) {
            Ok(entry) => Outcome::Replayed(RecordedOutcome::Entry(Arc::new(entry))),
            Err(error) => Outcome::Damaged(error.to_string()),
        }
    })
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

/// A request with the partition whose records it is among.
#[derive(PartialEq, Eq)]
struct Request<'a> {
    partition: u32,
    key: &'a RequestKey,
}

impl Ord for Request<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = |it: &Self| (it.partition, it.key.request_id.as_str(), it.key.caller.as_str());
        let ids = (&self.key.account_id, &other.key.account_id);
        order(self).cmp(&order(other)).then_with(|| ids.0.cmp(ids.1))
    }
}

impl PartialOrd for Request<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Every request once, those of one partition together.
fn in_groups<'a>(names: &Keys, proposals: &'a [Proposal]) -> Vec<Request<'a>> {
    let requests = proposals.iter().map(|proposal| &proposal.key);
    let mut requests: Vec<_> =
        requests.map(|key| Request { partition: names.partition_of(&key.account_id), key }).collect();
    requests.sort_unstable();
    requests.dedup();
    requests
}

struct CallBuilder<'a> {
    names: &'a Keys,
    keys: Vec<Value>,
    /// Of accounts; the history of one comes right after it.
    numbers: HashMap<&'a AccountId, KeyNumber>,
    words: Packed,
}

impl<'a> CallBuilder<'a> {
    /// Writes a proposal as the script reads it, with the place of its request from 0.
    fn proposal(&mut self, request: usize, proposal: &'a Proposal) -> Result<(), StoreError> {
        self.words.number(request as u64 + 1);
        self.words.push(codec::request_record(proposal)?.as_bytes());
        self.words.number(match (&proposal.decision, proposal.is_recorded()) {
            (Ok(_), _) => 0,
            (Err(_), true) => 1,
            (Err(_), false) => 2,
        });
        self.words.number(proposal.linked.into());
        self.words.number(proposal.decided_on.len() as u64);
        for (id, head) in &proposal.decided_on {
            let number = self.account(id);
            self.words.number(number.into());
            match head {
                Some(head) => self.words.print(head),
                None => self.words.push(b""),
            }
        }
        let changes: Vec<_> = proposal.decision.iter().flat_map(Plan::changes).collect();
        self.words.number(changes.len() as u64);
        for change in changes {
            self.change(change);
        }
        Ok(())
    }

    fn change(&mut self, change: &'a Change) {
        let Change { account, entry } = change;
        let number = self.account(&account.id);
        self.words.number(number.into());
        self.words.number(entry.sequence - 1);
        self.words.print(&entry.id());
        self.words.print(&codec::EntryText(entry));
        self.words.push(entry.hash.as_bytes());
        self.words.print(&account.balance.minor_units);
        self.words.print(&account.head);
        self.counted(|it| codec::other_account_fields(account, entry, &mut it.words));
        self.counted(|it| {
            if entry.sequence == 1 {
                let partition = it.names.partition_of(&account.id);
                it.index(it.names.accounts(partition));
                if !account.owner.is_empty() {
                    it.index(it.names.owner(&account.owner));
                }
                it.words.push(account.id.as_str().as_bytes());
            }
        });
    }

    /// Writes words, and before them how many they are.
    fn counted(&mut self, write: impl FnOnce(&mut Self)) {
        let count = self.words.hole();
        let before = self.words.length();
        write(self);
        self.words.set(count, self.words.length() - before);
    }

    fn index(&mut self, name: String) {
        let number = self.key(name);
        self.words.number(number.into());
    }

    fn account(&mut self, id: &'a AccountId) -> KeyNumber {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = self.key(self.names.account(id));
        self.key(self.names.entries(id));
        self.numbers.insert(id, number);
        number
    }

    fn key(&mut self, name: String) -> KeyNumber {
        self.keys.push(name.into());
        // Memory ends long before the numbers do.
        KeyNumber::try_from(self.keys.len()).unwrap_or(KeyNumber::MAX)
    }
}
