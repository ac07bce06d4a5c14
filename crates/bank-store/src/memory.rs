//! The reference backend: this process's memory.

mod backup;
mod entries;

use std::{
    collections::{BTreeSet, HashSet},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Change, Entry, EntryId, Fingerprint, Owner, Plan};
use hashbrown::HashMap;
use uuid::Uuid;

use self::entries::Entries;
use crate::{
    AccountsQuery, Attempt, Backup, Committed, Durability, DurabilityLevel, EntriesQuery, KeptOutcome, Order,
    Outcome, Proposal, Recorded, RequestKey, Stamp, Store, StoreError,
    backup::{marked, without_entry},
    partition::Partitions,
    proposal::chains,
};

/// Keeps everything in memory, and loses it with the process.
///
/// One lock guards all of it; every call holds it for as long as the call takes, so a commit is one
/// instant for every reader. Memory grows with accounts and entries, and with the requests of the
/// last one to two retention times.
#[derive(Debug)]
pub struct MemoryStore {
    bank_id: String,
    retention: Duration,
    partitions: Partitions,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    accounts: HashMap<AccountId, History>,
    /// In the order of the list: by partition first.
    listed: BTreeSet<(u32, AccountId)>,
    by_owner: HashMap<Owner, BTreeSet<AccountId>>,
    /// Records written since `window_started_at`, and those of the window before.
    records: [HashMap<RequestKey, Record>; 2],
    window_started_at: Instant,
    import: Option<backup::Mark>,
}

/// What is kept of a request.
#[derive(Debug)]
struct Record {
    fingerprint: Fingerprint,
    attempt: Attempt,
    outcome: KeptOutcome,
    /// In seconds since 1970-01-01T00:00:00Z.
    recorded_at: u64,
}

/// An account and how it came to be.
#[derive(Debug)]
struct History {
    account: Account,
    entries: Entries,
}

impl MemoryStore {
    /// An empty bank that keeps request records at least for the time given.
    pub fn new(request_retention: Duration) -> Self {
        Self {
            bank_id: Uuid::new_v4().to_string(),
            retention: request_retention,
            partitions: Partitions::default(),
            state: Mutex::new(State {
                accounts: HashMap::new(),
                listed: BTreeSet::new(),
                by_owner: HashMap::new(),
                records: Default::default(),
                window_started_at: Instant::now(),
                import: None,
            }),
        }
    }

    /// The same with another number of partitions.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] unless there are from 1 to 16384.
    pub fn with_partitions(self, count: u32) -> Result<Self, StoreError> {
        Ok(Self { partitions: Partitions::try_new(count)?, ..self })
    }

    /// What there is, unless it is half of an import.
    fn serving(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.is_marked() { Err(marked()) } else { Ok(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing below panics half way through a change, so what a poisoned lock guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the records that are older than the retention time.
    fn forget_records(&mut self, retention: Duration) {
        let elapsed = self.window_started_at.elapsed();
        if elapsed >= retention {
            self.window_started_at = Instant::now();
            self.records.swap(0, 1);
            self.records[0].clear();
        }
        if elapsed >= 2 * retention {
            self.records[1].clear();
        }
    }

    fn record(&self, key: &RequestKey) -> Option<&Record> {
        self.records.iter().find_map(|window| window.get(key))
    }

    fn stamp(&self, id: &AccountId) -> Option<Stamp> {
        self.accounts.get(id).map(|history| Stamp::of(&history.account))
    }

    fn account(&self, id: &AccountId) -> Option<Account> {
        self.accounts.get(id).map(|history| history.account.clone())
    }

    /// Applies a chain, or says of each proposal why not.
    fn settle(
        &mut self,
        chain: &[Proposal],
        tainted: &mut HashSet<AccountId>,
        partitions: Partitions,
    ) -> Vec<Outcome> {
        let recorded: Vec<_> = chain.iter().map(|proposal| self.recorded(proposal)).collect();
        let outcomes: Vec<_> = if recorded.iter().any(Option::is_some) {
            recorded.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Abandoned)).collect()
        } else {
            let stale = self.stale(chain, tainted);
            if !stale.contains(&true) {
                return self.apply_chain(chain, partitions);
            }
            stale.iter().map(|stale| if *stale { Outcome::Conflict } else { Outcome::Abandoned }).collect()
        };
        if outcomes.iter().any(|outcome| *outcome != Outcome::Applied) {
            tainted.extend(chain.iter().flat_map(|it| &it.decided_on).map(|(id, _)| id.clone()));
        }
        outcomes
    }

    /// What a proposal comes to whose request has an outcome.
    fn recorded(&self, proposal: &Proposal) -> Option<Outcome> {
        let record = self.record(&proposal.key)?;
        if record.fingerprint != proposal.fingerprint {
            return Some(Outcome::RequestIdReused);
        }
        if record.attempt == proposal.attempt {
            return Some(Outcome::Applied);
        }
        Some(match &record.outcome {
            KeptOutcome::Refused(refusal) => Outcome::Replayed(Recorded::Refused(refusal.clone())),
            KeptOutcome::Entry(id) => match self.entry(&proposal.key.account_id, *id) {
                Some(entry) => Outcome::Replayed(Recorded::Entry(Box::new(entry.clone()))),
                None => Outcome::Damaged(without_entry(&proposal.key, *id).to_string()),
            },
        })
    }

    fn entry(&self, account_id: &AccountId, id: EntryId) -> Option<&Entry> {
        let place = usize::try_from(id.sequence).ok()?.checked_sub(1)?;
        self.accounts.get(account_id)?.entries.get(place).filter(|entry| entry.id() == id)
    }

    /// Which proposals of a chain were decided on what is not so, each after those before it.
    fn stale(&self, chain: &[Proposal], tainted: &HashSet<AccountId>) -> Vec<bool> {
        let mut ahead = HashMap::new();
        chain
            .iter()
            .map(|proposal| {
                let is_stale = proposal.decided_on.iter().any(|(id, stamp)| {
                    let now = ahead.get(id).copied().or_else(|| self.stamp(id));
                    now != *stamp || tainted.contains(id)
                });
                if proposal.linked {
                    let changes = proposal.decision.iter().flat_map(Plan::changes);
                    ahead.extend(changes.map(|it| (it.account.id.clone(), Stamp::of(&it.account))));
                }
                is_stale
            })
            .collect()
    }

    fn apply_chain(&mut self, chain: &[Proposal], partitions: Partitions) -> Vec<Outcome> {
        if chain.len() > 1
            && let Some(refused) = chain.iter().position(|proposal| proposal.decision.is_err())
        {
            self.apply(&chain[refused], partitions);
            let mut outcomes = vec![Outcome::Abandoned; chain.len()];
            outcomes[refused] = Outcome::Applied;
            return outcomes;
        }
        for proposal in chain {
            self.apply(proposal, partitions);
        }
        vec![Outcome::Applied; chain.len()]
    }

    fn apply(&mut self, proposal: &Proposal, partitions: Partitions) {
        let outcome = match &proposal.decision {
            Ok(plan) => {
                for change in plan.changes() {
                    self.write(change, partitions);
                }
                KeptOutcome::Entry(plan.primary.entry.id())
            }
            Err(refusal) => KeptOutcome::Refused(refusal.clone()),
        };
        if proposal.is_recorded() {
            let Proposal { fingerprint, attempt, .. } = *proposal;
            let recorded_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let record = Record { fingerprint, attempt, outcome, recorded_at };
            self.records[0].insert(proposal.key.clone(), record);
        }
    }

    fn write(&mut self, change: &Change, partitions: Partitions) {
        let Change { account, entry } = change;
        if let Some(history) = self.accounts.get_mut(&account.id) {
            history.account = account.clone();
            history.entries.push(entry.clone());
            return;
        }
        self.listed.insert((partitions.of(&account.id), account.id.clone()));
        if !account.owner.is_empty() {
            self.by_owner.entry(account.owner.clone()).or_default().insert(account.id.clone());
        }
        let mut history = History { account: account.clone(), entries: Entries::default() };
        history.entries.push(entry.clone());
        self.accounts.insert(account.id.clone(), history);
    }

    fn accounts_after(&self, after: Option<(u32, AccountId)>, limit: usize) -> Vec<Account> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let listed = self.listed.range((start, Bound::Unbounded));
        listed.take(limit).filter_map(|(_, id)| self.account(id)).collect()
    }

    fn accounts_of(&self, owner: &Owner, after: Option<&AccountId>, limit: usize) -> Vec<Account> {
        let Some(ids) = self.by_owner.get(owner) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        ids.range((start, Bound::Unbounded)).take(limit).filter_map(|id| self.account(id)).collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        let state = self.serving()?;
        Ok(ids.iter().map(|id| state.account(id)).collect())
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        let mut state = self.serving()?;
        state.forget_records(self.retention);
        let mut committed = Committed::default();
        let mut tainted = HashSet::new();
        for chain in chains(proposals) {
            committed.outcomes.extend(state.settle(chain, &mut tainted, self.partitions));
        }
        committed.current = tainted
            .into_iter()
            .map(|id| {
                let account = state.account(&id);
                (id, account)
            })
            .collect();
        Ok(committed)
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let state = self.serving()?;
        let Some(history) = state.accounts.get(&query.account_id) else { return Ok(Vec::new()) };
        // Entries are in the order of their ids, so the stretch is found by halving.
        let before = |id: EntryId| history.entries.partition_point(|it| it < id);
        let upto = |id: EntryId| history.entries.partition_point(|it| it <= id);
        let first = |time| EntryId { time, sequence: 0 };
        let last = |time| EntryId { time, sequence: u64::MAX };
        let mut from = query.start.map_or(0, |time| before(first(time)));
        let mut to = query.end.map_or(history.entries.len(), |time| upto(last(time)));
        match (query.order, query.after) {
            (Order::OldestFirst, Some(after)) => from = from.max(upto(after)),
            (Order::NewestFirst, Some(after)) => to = to.min(before(after)),
            (_, None) => {}
        }
        let stretch = history.entries.range(from..to);
        Ok(match query.order {
            Order::OldestFirst => stretch.take(query.limit).cloned().collect(),
            Order::NewestFirst => stretch.rev().take(query.limit).cloned().collect(),
        })
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let state = self.serving()?;
        Ok(match &query.owner {
            None => {
                let after = query.after.clone().map(|id| (self.partitions.of(&id), id));
                state.accounts_after(after, query.limit)
            }
            Some(owner) => state.accounts_of(owner, query.after.as_ref(), query.limit),
        })
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let after = after.cloned().map(|id| (self.partitions.of(&id), id));
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.serving()?;
        let listed = state.listed.range((start, Bound::Unbounded));
        Ok(listed.take(limit).map(|(_, id)| id.clone()).collect())
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.serving()?.listed.len() as u64))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.serving().map(drop)
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn durability(&self) -> Durability {
        Durability {
            level: DurabilityLevel::None,
            replicas: 0,
            words: "none: everything is lost when this process ends".to_owned(),
        }
    }

    fn bank_id(&self) -> &str {
        &self.bank_id
    }

    fn partitions(&self) -> u32 {
        self.partitions.count()
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }
}
