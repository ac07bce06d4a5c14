//! The arguments and the reply of `commit.lua`.

use std::{collections::HashMap, sync::Arc};

use bank_domain::{AccountId, Change, Currency, Entry, Plan, Timestamp};
use fred::types::Value;

use super::{
    codec,
    keys::{HOME, Keys},
    msgpack::List,
    records, reply,
};
use crate::{Committed, Outcome, Proposal, RecordedOutcome, RequestKey, StoreError};

/// The number of a key in the list of keys, from 1.
type KeyNumber = u32;

/// The arguments of one call of the script.
pub(super) struct Call {
    /// Without those of request records, which depend on when it is sent.
    pub(super) keys: Vec<Value>,
    /// The partitions of the requests, in the order of the groups of the script.
    pub(super) partitions: Vec<u32>,
    /// What the script calls `groups`, `requests`, `starts` and `words`.
    pub(super) payload: Value,
    /// When the first of the proposals was decided.
    pub(super) decided_at: Timestamp,
    account_ids: HashMap<KeyNumber, AccountId>,
}

/// Which keys a call may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of the bank. The copy of the identity in [`HOME`] stands for all.
    Bank,
    /// Those of one partition. Indexes of owners in others are left out, and have to be written before.
    Partition(u32),
}

/// What the script has done.
pub(super) struct Reply {
    pub(super) committed: Committed,
    /// The partitions in which a window of records was begun, so that others may have expired.
    pub(super) partitions_with_new_window: Vec<u32>,
    /// The time of Redis then, in seconds; it agreed with that of this server.
    pub(super) time_seconds: u64,
}

impl Call {
    pub(super) fn new(names: &Keys, scope: Scope, proposals: &[&Proposal]) -> Result<Self, StoreError> {
        let identity = match scope {
            Scope::Bank => HOME,
            Scope::Partition(partition) => partition,
        };
        let mut builder = CallBuilder {
            names,
            scope,
            // The script expects these two first.
            keys: vec![names.meta(identity).into(), names.barrier(identity).into()],
            accounts: HashMap::new(),
            words: List::default(),
        };
        let requests = sorted_requests(names, proposals);
        let (mut groups, mut fields, mut starts) = (List::default(), List::default(), List::default());
        let mut partitions = Vec::new();
        for group in requests.chunk_by(|one, other| one.0 == other.0) {
            partitions.push(group[0].0);
            groups.push_number(fields.length() + 1);
            for (_, request) in group {
                fields.push_text(records::field(request).as_bytes());
            }
            groups.push_number(fields.length());
        }
        for proposal in proposals {
            starts.push_number(builder.words.length() + 1);
            let request = (names.partition_of(&proposal.key.account_id), &proposal.key);
            // The list was made of these proposals, so it is found.
            let place = requests.partition_point(|other| *other < request);
            builder.proposal(place, proposal)?;
        }
        let mut payload = Vec::new();
        for list in [&groups, &fields, &starts, &builder.words] {
            list.append_to(&mut payload);
        }
        let account_ids = builder.accounts.into_iter().map(|(id, number)| (number, id.clone())).collect();
        let decided_at = proposals.iter().map(|it| it.decided_at).min().unwrap_or(Timestamp::MIN);
        Ok(Self {
            keys: builder.keys,
            partitions,
            payload: Value::Bytes(payload.into()),
            decided_at,
            account_ids,
        })
    }

    /// Reads the reply of the script to these proposals.
    pub(super) fn committed(&self, proposals: &[&Proposal], reply: Value) -> Result<Reply, StoreError> {
        let [exceptions, accounts, begun, time, problem] = reply::array(reply::list(reply)?)?;
        let problem = reply::text(problem)?;
        if !problem.is_empty() {
            return Err(StoreError::Corrupt(format!("the commit script stopped half way: {problem}")));
        }

        let mut current = HashMap::new();
        for item in reply::list(accounts)? {
            let [number, fields] = reply::pair(item)?;
            let id = KeyNumber::try_from(reply::integer(&number)?)
                .ok()
                .and_then(|number| self.account_ids.get(&number))
                .ok_or_else(|| reply::unexpected("an account of the commit"))?;
            // An account that cannot be read is left out; loading it gives the error.
            if let Ok(account) = reply::fields(fields).and_then(|fields| codec::account(id, &fields)) {
                current.insert(id.clone(), account);
            }
        }

        let mut outcomes = vec![Outcome::Applied; proposals.len()];
        let mut exceptions = reply::list(exceptions)?.into_iter();
        while let (Some(number), Some(value)) = (exceptions.next(), exceptions.next()) {
            let place = place(&number, proposals.len())?;
            let id = &proposals[place].key.account_id;
            let currency = current.get(id).and_then(Option::as_ref).map(|account| account.currency);
            outcomes[place] = outcome(id, currency, value)?;
        }
        let mut partitions_with_new_window = Vec::new();
        for number in reply::list(begun)? {
            partitions_with_new_window.push(self.partitions[place(&number, self.partitions.len())?]);
        }
        let time_seconds = time.as_u64().ok_or_else(|| reply::unexpected("the time"))?;
        Ok(Reply { committed: Committed { outcomes, current }, partitions_with_new_window, time_seconds })
    }
}

/// The place, from 0, of what the script numbers from 1 to `count`.
fn place(number: &Value, count: usize) -> Result<usize, StoreError> {
    let place = usize::try_from(reply::integer(number)?).ok().and_then(|number| number.checked_sub(1));
    place.filter(|place| *place < count).ok_or_else(|| reply::unexpected("a number of the commit"))
}

fn outcome(id: &AccountId, currency: Option<Currency>, value: Value) -> Result<Outcome, StoreError> {
    match value {
        Value::Integer(1) => Ok(Outcome::Conflict),
        Value::Integer(2) => Ok(Outcome::RequestIdReused),
        Value::Integer(3) => Ok(Outcome::Abandoned),
        Value::Array(replay) => {
            let [outcome, entries] = reply::array(replay)?;
            let recorded = replayed(id, currency, &reply::text(outcome)?, entries);
            Ok(recorded.map_or_else(|error| Outcome::Damaged(error.to_string()), Outcome::Replayed))
        }
        damage => Ok(Outcome::Damaged(reply::text(damage)?)),
    }
}

/// What a record says of a request: its rejection, or its entry, as it is in the history.
fn replayed(
    id: &AccountId,
    currency: Option<Currency>,
    outcome: &str,
    entries: Value,
) -> Result<RecordedOutcome<Arc<Entry>>, StoreError> {
    if outcome.starts_with('{') {
        return serde_json::from_str(outcome)
            .map(RecordedOutcome::Rejected)
            .map_err(|_| StoreError::Corrupt(format!("a request record of account {id} is malformed")));
    }
    let missing = |what: &str| {
        StoreError::Corrupt(format!("the {what} of account {id} is missing, but not its request record"))
    };
    let currency = currency.ok_or_else(|| missing("currency"))?;
    let entry = reply::list(entries)?.into_iter().next();
    let entry = entry.ok_or_else(|| missing(&format!("entry {outcome}")))?;
    Ok(RecordedOutcome::Entry(Arc::new(codec::entry(id, currency, entry)?)))
}

/// Every request once with its partition, those of one partition together.
fn sorted_requests<'a>(names: &Keys, proposals: &[&'a Proposal]) -> Vec<(u32, &'a RequestKey)> {
    let requests = proposals.iter().map(|it| (names.partition_of(&it.key.account_id), &it.key));
    let mut requests: Vec<_> = requests.collect();
    requests.sort_unstable();
    requests.dedup();
    requests
}

struct CallBuilder<'a> {
    names: &'a Keys,
    scope: Scope,
    keys: Vec<Value>,
    /// The key of each account; that of its history comes right after it.
    accounts: HashMap<&'a AccountId, KeyNumber>,
    words: List,
}

impl<'a> CallBuilder<'a> {
    /// Appends a proposal, whose request is at this place, from 0.
    fn proposal(&mut self, request: usize, proposal: &'a Proposal) -> Result<(), StoreError> {
        let record = records::encode(&proposal.record())?;
        self.words.push_number(request as u64 + 1);
        self.words.push_text(record.as_bytes());
        self.words.push_number(match (&proposal.decision, proposal.is_recorded()) {
            (Ok(_), _) => 0_u8,
            (Err(_), true) => 1,
            (Err(_), false) => 2,
        });
        self.words.push_number(proposal.linked);
        self.words.push_number(proposal.decided_on.len() as u64);
        for (id, head) in &proposal.decided_on {
            let number = self.account(id);
            self.words.push_number(number);
            match head {
                Some(head) => self.words.push_printed(head),
                None => self.words.push_text(b""),
            }
        }
        let changes: Vec<_> = proposal.decision.iter().flat_map(Plan::changes).collect();
        self.words.push_number(changes.len() as u64);
        for change in changes {
            self.change(change);
        }
        Ok(())
    }

    fn change(&mut self, change: &'a Change) {
        let Change { account, entry } = change;
        let number = self.account(&account.id);
        self.words.push_number(number);
        self.words.push_number(entry.sequence - 1);
        self.words.push_printed(&entry.id());
        self.words.push_printed(&codec::EntryText(entry));
        self.words.push_text(entry.hash.as_bytes());
        self.words.push_printed(&account.balance.minor_units);
        self.words.push_printed(&account.head);
        self.counted(|it| {
            codec::other_account_fields(account, entry, |name, value| {
                it.words.push_text(name.as_bytes());
                it.words.push_printed(value);
            });
        });
        self.counted(|it| {
            if entry.sequence == 1 {
                it.index(it.names.accounts(it.names.partition_of(&account.id)));
                let owner = it.names.partition_of_owner(&account.owner);
                if !account.owner.is_empty() && [Scope::Bank, Scope::Partition(owner)].contains(&it.scope) {
                    it.index(it.names.owner(&account.owner));
                }
                it.words.push_text(account.id.as_str().as_bytes());
            }
        });
    }

    /// Appends words, and before them how many they are.
    fn counted(&mut self, append: impl FnOnce(&mut Self)) {
        let count = self.words.reserve_count();
        let before = self.words.length();
        append(self);
        self.words.set_count(count, self.words.length() - before);
    }

    fn index(&mut self, name: String) {
        let number = self.key(name);
        self.words.push_number(number);
    }

    fn account(&mut self, id: &'a AccountId) -> KeyNumber {
        if let Some(number) = self.accounts.get(id) {
            return *number;
        }
        let number = self.key(self.names.account(id));
        self.key(self.names.entries(id));
        self.accounts.insert(id, number);
        number
    }

    fn key(&mut self, name: String) -> KeyNumber {
        self.keys.push(name.into());
        // Memory ends long before the numbers do.
        KeyNumber::try_from(self.keys.len()).unwrap_or(KeyNumber::MAX)
    }
}
