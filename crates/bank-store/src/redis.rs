//! Redis 7.0 or newer, or Valkey 7.2 or newer: stand-alone, or watched over by Sentinel.
//!
//! Commits run as one Lua script, so each is one instant for every client of that Redis, and any
//! number of servers share a bank. Everything is read from the primary: each read asks its Redis for
//! its role in the same breath.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `bank:meta` | hash | what this bank is: `bank_id`, `secret`, `layout`, `partitions`, `request_window_seconds`, `committed_at`; the newest import |
//! | `bank:barrier` | string | written where a commit that waits for replicas writes nothing else |
//! | `bank:{27}:account:123` | hash | an account, field by field |
//! | `bank:{27}:entries:123` | stream | its history; ids are `<unix ms>-<sequence>`; all is text but `hash` |
//! | `bank:{27}:requests:20780` | hash | outcomes of requests, for one window of time |
//! | `bank:{27}:requests` | set | which windows of time there are |
//! | `bank:{27}:accounts` | sorted set | the ids of the partition's accounts |
//! | `bank:{231}:owner:alice` | sorted set | the ids of an owner's accounts |
//!
//! The number in braces is the **partition** of the account id, or of the owner's name. It is all
//! that Redis Cluster hashes, so the keys of one account are always together.
//!
//! Cost: a commit is one round trip; in Redis, for each distinct account one read of its head, one
//! of the length of its history and one `HSET`, one `XADD` for each entry, and for each distinct
//! partition one read of its request records for each window and one `HSET`.

mod backup;
mod codec;
mod commit;
mod connection;
mod errors;
mod fitness;
mod guard;
mod identity;
mod inspection;
mod keys;
mod lease;
mod link;
mod options;
mod packed;
mod reading;
mod records;
mod reply;
mod script;
mod sentinel;
mod target;

use std::sync::Arc;

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, EntryId, Timestamp};
use fred::{
    cmd,
    interfaces::{ClientLike as _, HashesInterface as _, SortedSetsInterface as _, StreamsInterface as _},
    types::Value,
};
use tokio::time::{Duration, Instant, sleep};

pub use self::options::{RedisOptions, RedisUrl};
use self::{
    commit::Call,
    connection::Connection,
    fitness::Demand,
    guard::{Guard, Role, ping},
    keys::Keys,
    link::Link,
    reading::Reading,
    records::Windows,
    script::Script,
    target::Target,
};
use crate::{
    AccountsQuery, Backup, Committed, Durability, EntriesQuery, Order, Proposal, Secret, Store, StoreError,
    clock::Timekeeper, partition::Partitions,
};

/// How many partitions a listing reads at a time.
const PARTITIONS_PER_READ: u32 = 16;

/// The pause between two tries to connect for the first time.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Reads accounts as they are at one instant. Commands in a pipeline are not one: commits get in between.
const READ_ACCOUNTS: &str = include_str!("redis/read_accounts.lua");

/// A bank kept in Redis.
#[derive(Debug)]
pub struct RedisStore {
    commits: Link,
    reads: Link,
    guard: Arc<Guard>,
    script: Script,
    windows: Windows,
    keys: Keys,
    clock: Timekeeper,
    promise: Durability,
    name: String,
    secret: Secret,
}

impl RedisStore {
    /// Connects to Redis, checks that it can hold a bank and keeps it as firmly as asked, and founds
    /// one if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Redis does not answer within the connect timeout;
    /// [`StoreError::Misconfigured`] if it cannot hold this bank, saying what to change.
    pub async fn connect(options: &RedisOptions) -> Result<Self, StoreError> {
        options.validate()?;
        let target = Arc::new(Target::new(options)?);
        let deadline = Instant::now() + options.connect_timeout;
        loop {
            let error = match Self::start(&target, deadline).await {
                Err(error) if error.is_retryable() => error,
                done => return done,
            };
            if Instant::now() + CONNECT_PAUSE >= deadline {
                let within_ms = options.connect_timeout.as_millis();
                let address = target.address();
                return Err(match error {
                    StoreError::Unfit(what) => StoreError::Misconfigured(what),
                    StoreError::Unavailable(reason) | StoreError::OutcomeUnknown(reason) => {
                        let text = format!(
                            "redis at {address} could not be reached within {within_ms} ms: {reason}"
                        );
                        StoreError::Unavailable(text)
                    }
                    error @ (StoreError::Corrupt(_) | StoreError::Misconfigured(_)) => error,
                });
            }
            sleep(CONNECT_PAUSE).await;
        }
    }

    async fn start(target: &Arc<Target>, deadline: Instant) -> Result<Self, StoreError> {
        let options = target.options();
        let keys = Keys::new(&options.key_prefix, Partitions::try_new(options.partitions)?);
        let commits = Connection::open(target, deadline).await?;
        identity::examine(&commits, &keys, options).await?;
        // Before anything is written: it may be refused.
        let digest = Script::load(&commits).await?;
        let founded = identity::found_or_join(&commits, &keys, options).await?;
        let script = Script::new(digest, &founded, options);
        let windows = Windows::new(options, founded.request_window_seconds);
        let guard = Arc::new(Guard::new(options, &keys, founded.bank_id));
        guard.admit(Role::Commits, &commits).await?;
        let reads = Connection::open(target, deadline).await?;
        guard.admit(Role::Reads, &reads).await?;
        Ok(Self {
            commits: Link::keep(Role::Commits, target, &guard, commits),
            reads: Link::keep(Role::Reads, target, &guard, reads),
            clock: options.clock.clone(),
            promise: Demand::of(options).promise(),
            name: format!("redis at {}", target.address()),
            guard,
            secret: founded.secret,
            keys,
            script,
            windows,
        })
    }

    async fn reading(&self) -> Result<Reading<'_>, StoreError> {
        // First: that Redis holds another bank says more than that it is not connected to.
        self.guard.require_bank()?;
        Reading::begin(&self.guard, &self.keys, self.reads.connection()?).await
    }

    /// Those of the accounts that there are and that can be read, as they all are at one instant.
    async fn load_together(&self, ids: &[AccountId]) -> Result<Vec<Account>, StoreError> {
        let mut arguments = vec![Value::from(READ_ACCOUNTS), Value::from(ids.len().to_string())];
        arguments.extend(ids.iter().map(|id| Value::from(self.keys.account(id))));
        let reading = self.reading().await?;
        reading.ask(reading.pipeline().custom(cmd!("EVAL_RO"), arguments)).await?;
        let [hashes] = reading
            .answers()
            .await?
            .try_into()
            .map_err(|_| reply::unexpected("redis answered half a pipeline"))?;
        let mut accounts = Vec::with_capacity(ids.len());
        for (id, hash) in ids.iter().zip(reply::list(hashes)?) {
            match reply::fields(hash).and_then(|fields| codec::account(id, &fields)) {
                Ok(account) => accounts.extend(account),
                Err(error) => tracing::error!(account = %id, %error, "an account is left out of a list"),
            }
        }
        Ok(accounts)
    }

    /// Ids from sorted sets of ids, read together, in the order of the sets.
    async fn ids(
        &self,
        sets: impl IntoIterator<Item = (String, Option<&AccountId>)>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let reading = self.reading().await?;
        for (key, after) in sets {
            let start = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
            reading.ask(reading.pipeline().zrangebylex(key, start, "+", Some((0, limit)))).await?;
        }
        let mut ids = Vec::new();
        for set in reading.answers().await? {
            ids.extend(reply::list(set)?);
        }
        ids.into_iter()
            .map(|id| {
                let id = reply::text(id)?;
                id.parse().map_err(|_| {
                    StoreError::Corrupt(format!("an index holds {id:?}, which is no account id"))
                })
            })
            .collect()
    }

    async fn ids_of_all(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut ids = Vec::new();
        let mut next = after.map_or(0, |id| self.keys.partition_of(id));
        let mut after = after;
        while next < self.keys.partitions() && ids.len() < limit {
            let end = self.keys.partitions().min(next + PARTITIONS_PER_READ);
            let sets = (next..end).map(|partition| {
                let after = if partition == next { after } else { None };
                (self.keys.accounts(partition), after)
            });
            ids.extend(self.ids(sets.collect::<Vec<_>>(), limit - ids.len()).await?);
            (next, after) = (end, None);
        }
        ids.truncate(limit);
        Ok(ids)
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let reading = self.reading().await?;
        for id in ids {
            reading.ask(reading.pipeline().hgetall(self.keys.account(id))).await?;
        }
        let hashes = reading.answers().await?;
        ids.iter().zip(hashes).map(|(id, hash)| codec::account(id, &reply::fields(hash)?)).collect()
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        if proposals.is_empty() {
            return Ok(Committed::default());
        }
        let call = Call::new(&self.keys, proposals)?;
        // In this order: a connection is looked at before it is here.
        let connection = self.commits.connection()?;
        self.guard.require_fit()?;
        let answer = self.script.call(&connection, &self.guard, &call).await?;
        // The script has run: whatever it answered, something may have been done.
        call.committed(proposals, answer).map_err(|error| {
            tracing::error!(%error, commands = proposals.len(), "the answer of a commit makes no sense");
            StoreError::OutcomeUnknown(error.to_string())
        })
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let Some((lowest, highest)) = stretch(query) else { return Ok(Vec::new()) };
        let id = &query.account_id;
        // A count that does not fit in Redis's integers is none.
        let limit = u64::try_from(query.limit).ok().filter(|limit| *limit < i64::MAX as u64);
        let reading = self.reading().await?;
        let key = self.keys.entries(id);
        reading.ask(reading.pipeline().hget(self.keys.account(id), "currency")).await?;
        match query.order {
            Order::OldestFirst => reading.ask(reading.pipeline().xrange(key, lowest, highest, limit)).await,
            Order::NewestFirst => {
                reading.ask(reading.pipeline().xrevrange(key, highest, lowest, limit)).await
            }
        }?;
        let answers = reading.answers().await?;
        let [currency, entries] =
            answers.try_into().map_err(|_| reply::unexpected("redis answered half a pipeline"))?;
        if currency.is_null() {
            return Ok(Vec::new());
        }
        let currency = reply::text(currency)?
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("account {id}: field \"currency\" is malformed")))?;
        reply::list(entries)?
            .into_iter()
            .map(|entry| {
                let [entry_id, fields] = reply::pair(entry)?;
                codec::entry(id, currency, &reply::text(entry_id)?, &reply::fields(fields)?)
            })
            .collect()
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let mut ids = Vec::new();
        let mut accounts = Vec::new();
        // Once, unless accounts that cannot be read leave places to others.
        while accounts.len() < query.limit {
            let wanted = query.limit - accounts.len();
            let after = ids.last().or(query.after.as_ref());
            let more = match &query.owner {
                Some(owner) => self.ids([(self.keys.owner(owner), after)], wanted).await?,
                None => self.ids_of_all(after, wanted).await?,
            };
            let is_last = more.len() < wanted;
            ids.extend(more);
            accounts = self.load_together(&ids).await?;
            if is_last {
                break;
            }
        }
        Ok(accounts)
    }

    async fn account_ids(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.ids_of_all(after, limit).await
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        let reading = self.reading().await?;
        for partition in 0..self.keys.partitions() {
            reading.ask(reading.pipeline().zcard(self.keys.accounts(partition))).await?;
        }
        let counts = reading.answers().await?;
        let counts: Vec<_> = counts.iter().map(reply::integer).collect::<Result<_, _>>()?;
        Ok(Some(counts.into_iter().filter_map(|count| u64::try_from(count).ok()).sum()))
    }

    async fn health(&self) -> Result<(), StoreError> {
        let (commits, reads) = (self.commits.connection()?, self.reads.connection()?);
        self.guard.require_fit()?;
        self.guard.require_accepted()?;
        ping(&commits).await?;
        ping(&reads).await
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn durability(&self) -> Durability {
        self.promise.clone()
    }

    fn partitions(&self) -> u32 {
        self.keys.partitions()
    }

    fn clock(&self) -> &Timekeeper {
        &self.clock
    }

    fn bank_id(&self) -> &str {
        self.guard.bank_id()
    }

    fn secret(&self) -> &Secret {
        &self.secret
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }

    async fn epoch_after(&self, epoch: u64) -> u64 {
        self.guard.epoch_after(epoch).await
    }
}

/// The ids that a query asks for, as `XRANGE` spells them; `None` where there can be none.
///
/// An id without a sequence means the first of its millisecond at the low end, and the last at the
/// high end.
fn stretch(query: &EntriesQuery) -> Option<(String, String)> {
    let epoch = EntryId { time: Timestamp::UNIX_EPOCH, sequence: 0 };
    if query.end.is_some_and(|end| end < epoch.time) {
        return None;
    }
    // There is nothing before the epoch, and Redis does not even have a word for it.
    let after = query.after.filter(|after| *after > epoch);
    if query.after.is_some() && after.is_none() && query.order == Order::NewestFirst {
        return None;
    }
    let mut lowest = query.start.map_or_else(|| "-".to_owned(), |start| start.unix_ms().max(0).to_string());
    let mut highest = query.end.map_or_else(|| "+".to_owned(), |end| end.unix_ms().to_string());
    match (query.order, after) {
        (Order::OldestFirst, Some(after)) if query.start.is_none_or(|start| after.time >= start) => {
            lowest = format!("({after}");
        }
        (Order::NewestFirst, Some(after)) if query.end.is_none_or(|end| after.time <= end) => {
            highest = format!("({after}");
        }
        _ => {}
    }
    Some((lowest, highest))
}
