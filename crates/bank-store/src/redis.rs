//! Redis 7.0 or newer, or Valkey: stand-alone, or watched over by Sentinel.
//!
//! Commits run as one Lua script, so each is one instant for every client of that Redis, and any
//! number of servers share a bank. Everything is read from the primary: each read asks its Redis for
//! its role in the same breath.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `bank:meta` | hash | what this bank is: `bank_id`, `layout`, `partitions`, `request_window_seconds` |
//! | `bank:{27}:account:123` | hash | an account, field by field |
//! | `bank:{27}:entries:123` | stream | its history; ids are `<unix ms>-<sequence>` |
//! | `bank:{27}:requests:20780` | hash | outcomes of requests, for one window of time |
//! | `bank:{27}:accounts` | sorted set | the ids of the partition's accounts |
//! | `bank:{231}:owner:alice` | sorted set | the ids of an owner's accounts |
//!
//! The number in braces is the **partition** of the account id, or of the owner's name. It is all
//! that Redis Cluster hashes, so the keys of one account are always together.
//!
//! Cost: a commit is one round trip; in Redis, one read of each distinct account's stamp, of the end
//! of its history and of each request's record, one `XADD` for each entry, and one `HSET` for each
//! distinct account and each distinct partition.

mod codec;
mod commit;
mod connection;
mod identity;
mod keys;
mod options;
mod reply;

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, EntryId, Timestamp};
use fred::{
    clients::{Client, Pipeline},
    cmd,
    interfaces::{
        ClientLike as _, HashesInterface as _, LuaInterface as _, SortedSetsInterface as _,
        StreamsInterface as _,
    },
    types::Value,
};
use tokio::{task::JoinHandle, time};

use self::{
    commit::Call,
    connection::{Connection, reply_code},
    keys::Keys,
};
pub use self::{
    identity::Persistence,
    options::{RedisOptions, RedisUrl},
};
use crate::{
    AccountsQuery, Committed, EntriesQuery, Order, Proposal, Store, StoreError, partition::Partitions,
};

/// How many partitions a listing reads at a time.
const PARTITIONS_PER_READ: u32 = 16;

/// A bank kept in Redis.
#[derive(Debug)]
pub struct RedisStore {
    /// Commits have a connection of their own, so that they never wait behind a long read.
    writer: Connection,
    reader: Connection,
    keys: Keys,
    request_retention_seconds: u64,
    request_window_seconds: u64,
    script_digest: String,
    persistence: Persistence,
    watchdogs: [JoinHandle<()>; 2],
}

impl RedisStore {
    /// Connects to Redis, checks that it can hold a bank, and founds one if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Redis does not answer within the connect timeout;
    /// [`StoreError::Misconfigured`] if it cannot hold this bank, saying what to change.
    pub async fn connect(options: &RedisOptions) -> Result<Self, StoreError> {
        options.validate()?;
        let partitions = Partitions::try_new(options.partitions)?;
        let writer = Connection::open(options).await?;
        let reader = Connection::open(options).await?;
        let keys = Keys::new(&options.key_prefix, partitions);
        identity::require_version(&writer).await?;
        let persistence = identity::persistence(&writer, options.check_config).await?;
        identity::require_same_time(&writer).await?;
        // Whole seconds, and no fewer than were asked for.
        let retention = options.request_retention;
        let request_retention_seconds = retention.as_secs() + u64::from(retention.subsec_nanos() > 0);
        let request_window_seconds =
            identity::found_or_join(&writer, &keys, request_retention_seconds).await?;
        let load = writer.client().script_load(commit::SCRIPT);
        let script_digest = writer.run(load).await?;
        let watchdogs =
            [&writer, &reader].map(|connection| tokio::spawn(watch(connection.clone(), options.clone())));
        Ok(Self {
            writer,
            reader,
            keys,
            request_retention_seconds,
            request_window_seconds,
            script_digest,
            persistence,
            watchdogs,
        })
    }

    async fn call_script(&self, call: &Call) -> Result<Value, StoreError> {
        let client = self.writer.client();
        let evaluate = || {
            let arguments = vec![
                Value::from(self.request_retention_seconds.to_string()),
                Value::from(self.request_window_seconds.to_string()),
                Value::from(call.payload.as_slice()),
            ];
            client.evalsha::<Value, _, _, _>(&self.script_digest, call.keys.clone(), arguments)
        };
        match self.writer.attempt(evaluate()).await? {
            // A Redis that was restarted, or is a new primary, does not know the script.
            Err(error) if reply_code(&error) == Some("NOSCRIPT") => {
                self.writer.run(client.script_load::<(), _>(commit::SCRIPT)).await?;
                self.writer.run(evaluate()).await
            }
            answer => answer.map_err(|error| self.writer.explain(&error)),
        }
    }

    /// A pipeline of reads. Its first answer says whether they were made on a primary: after a
    /// failover, a connection may still lead to what was one.
    async fn reading(&self) -> Result<Pipeline<Client>, StoreError> {
        let pipeline = self.reader.client().pipeline();
        self.reader.run(pipeline.custom::<(), _>(cmd!("ROLE"), Vec::<Value>::new())).await?;
        Ok(pipeline)
    }

    /// The answers to what was asked in a pipeline of reads.
    async fn answers(&self, pipeline: &Pipeline<Client>) -> Result<Vec<Value>, StoreError> {
        let mut answers: Vec<Value> = self.reader.run(pipeline.all()).await?;
        if answers.is_empty() {
            return Err(reply::unexpected("redis answered nothing"));
        }
        let role = reply::list(answers.remove(0))?.into_iter().next();
        if role.as_ref().and_then(Value::as_str).as_deref() == Some("master") {
            return Ok(answers);
        }
        let reader = self.reader.clone();
        tokio::spawn(async move { reader.reset().await });
        Err(StoreError::Unavailable(format!("redis at {} is no primary any more", self.reader.address())))
    }

    /// Accounts as they are now; an account that cannot be read does not hide the others.
    async fn load_each(
        &self,
        ids: &[AccountId],
    ) -> Result<Vec<Result<Option<Account>, StoreError>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let pipeline = self.reading().await?;
        for id in ids {
            self.reader.run(pipeline.hgetall::<(), _>(self.keys.account(id))).await?;
        }
        let hashes = self.answers(&pipeline).await?;
        Ok(ids.iter().zip(hashes).map(|(id, hash)| codec::account(id, &reply::fields(hash)?)).collect())
    }

    /// Ids from sorted sets of ids, read together, in the order of the sets.
    async fn ids(
        &self,
        sets: impl IntoIterator<Item = (String, Option<&AccountId>)>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let pipeline = self.reading().await?;
        for (key, after) in sets {
            let start = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
            let queued = pipeline.zrangebylex::<(), _, _, _>(key, start, "+", Some((0, limit)));
            self.reader.run(queued).await?;
        }
        let mut ids = Vec::new();
        for set in self.answers(&pipeline).await? {
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
        self.load_each(ids).await?.into_iter().collect()
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        if proposals.is_empty() {
            return Ok(Committed::default());
        }
        let call = Call::new(&self.keys, proposals)?;
        let answer = self.call_script(&call).await?;
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
        let pipeline = self.reading().await?;
        let key = self.keys.entries(id);
        self.reader.run(pipeline.hget::<(), _, _>(self.keys.account(id), "currency")).await?;
        let queued = match query.order {
            Order::OldestFirst => pipeline.xrange::<(), _, _, _>(key, lowest, highest, limit).await,
            Order::NewestFirst => pipeline.xrevrange::<(), _, _, _>(key, highest, lowest, limit).await,
        };
        queued.map_err(|error| self.reader.explain(&error))?;
        let answers = self.answers(&pipeline).await?;
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
        let mut accounts = Vec::new();
        let mut after = query.after.clone();
        while accounts.len() < query.limit {
            let wanted = query.limit - accounts.len();
            let ids = match &query.owner {
                Some(owner) => self.ids([(self.keys.owner(owner), after.as_ref())], wanted).await?,
                None => self.ids_of_all(after.as_ref(), wanted).await?,
            };
            for account in self.load_each(&ids).await? {
                match account {
                    Ok(account) => accounts.extend(account),
                    Err(error) => tracing::error!(%error, "an account is left out of a list"),
                }
            }
            if ids.len() < wanted {
                break;
            }
            after = ids.last().cloned();
        }
        Ok(accounts)
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.writer.run(self.writer.client().ping::<()>(None)).await?;
        self.reader.run(self.reader.client().ping::<()>(None)).await
    }

    fn name(&self) -> String {
        format!("redis at {}", self.writer.address())
    }

    fn durability(&self) -> String {
        self.persistence.to_string()
    }

    fn partitions(&self) -> u32 {
        self.keys.partitions()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        for watchdog in &self.watchdogs {
            watchdog.abort();
        }
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

/// Closes a connection that does not answer a `PING`: steady writes can hide a frozen Redis from
/// the client's own check.
async fn watch(connection: Connection, options: RedisOptions) {
    let mut ticks = time::interval(options.watchdog_interval);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if connection.require_connected().is_ok() {
            let ping = connection.client().ping::<()>(None);
            let answered = match time::timeout(options.command_timeout, ping).await {
                Ok(Ok(())) => true,
                // A Redis that refuses writes refuses this, too. The client gives up on its own at
                // about the same time as we do, which is no answer.
                Ok(Err(error)) => reply_code(&error).is_some(),
                Err(_) => false,
            };
            if !answered {
                tracing::warn!(redis = connection.address(), "redis does not answer; connecting anew");
                connection.reset().await;
            }
        }
    }
}
