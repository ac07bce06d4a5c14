//! The store on Redis 7.0 or newer, or Valkey 7.2 or newer: stand-alone, with Sentinel, or as a Cluster.
//!
//! A commit runs as one Lua script, so it is atomic for every client of that Redis, and any number of servers
//! share a bank. On a Cluster it is one script for each partition. Everything is read from the primary: each read asks for the role of its Redis in the same
//! round trip.
//!
//! `docs/redis-layout.md` lists all keys.
//!
//! Cost: a commit is one round trip; in Redis, for each distinct account one read of its head, one
//! of the length of its history and one `HSET`, one `XADD` for each entry, and for each distinct
//! partition one read of its request records for each window and one `HSET`.
//!
//! Layers, each using only those below: the store, `opening`, `committing` and `backup`; `script`, which commits; `shards`, which knows where each
//! partition is; `primary`, the connections to one primary; `guard`, which inspects what a connection leads to; `locator`;
//! `topology`, what a cluster says about itself; `connection`; the wire formats.

mod backup;
mod codec;
mod commit;
mod committing;
mod connection;
mod contact;
mod errors;
mod fitness;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod identity;
mod inspection;
mod keys;
mod lease;
mod links;
mod locator;
mod msgpack;
mod opening;
mod options;
mod parts;
mod primary;
mod records;
mod reply;
mod script;
mod shards;
mod slots;
mod target;
mod topology;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, EntryId, Timestamp};
use fred::types::Value;
use tokio::time::{Duration, Instant, sleep};

pub use self::options::{RedisOptions, RedisUrl};
use self::{
    connection::command,
    keys::{HOME, Keys},
    script::Script,
    shards::{Shards, lane_of},
    target::Target,
};
use crate::{
    AccountsQuery, Backup, Committed, EntriesQuery, Order, Proposal, Store, StoreError, StoreProperties,
};

/// How many partitions a listing reads at a time.
const PARTITIONS_PER_READ: u32 = 16;

/// The delay between two attempts to connect for the first time.
const CONNECT_DELAY: Duration = Duration::from_millis(200);

/// The number of lanes on a cluster. Each has a range of slots, so that a shard that is down stops only its own.
const CLUSTER_LANES: usize = 64;

/// Reads accounts at one instant. Commands in a pipeline are not atomic: commits get in between.
const READ_ACCOUNTS: &str = include_str!("redis/read_accounts.lua");

/// A bank in Redis.
pub struct RedisStore {
    shards: Arc<Shards>,
    script: Script,
    keys: Keys,
    properties: StoreProperties,
}

impl RedisStore {
    /// Connects to Redis, checks that it meets the requirements, and initializes a bank if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Redis does not respond within the connect timeout;
    /// [`StoreError::Misconfigured`] if it cannot hold this bank, with what to change.
    pub async fn connect(options: &RedisOptions) -> Result<Self, StoreError> {
        options.validate()?;
        let target = Target::new(options)?;
        let address = target.address().to_owned();
        let deadline = Instant::now() + options.connect_timeout;
        loop {
            let started = if target.is_cluster() {
                Self::start_on_cluster(&target, deadline).await
            } else {
                Self::start(&target, deadline).await
            };
            let error = match started {
                Err(error) if error.is_retryable() => error,
                result => return result,
            };
            if Instant::now() + CONNECT_DELAY >= deadline {
                return Err(match error {
                    StoreError::Unfit(reason) => StoreError::Misconfigured(reason),
                    StoreError::Unavailable(reason) | StoreError::OutcomeUnknown(reason) => {
                        StoreError::Unavailable(format!(
                            "Redis at {address} could not be reached within {} ms: {reason}",
                            options.connect_timeout.as_millis(),
                        ))
                    }
                    error => error,
                });
            }
            sleep(CONNECT_DELAY).await;
        }
    }

    /// The accounts that exist and can be read, in the order of `ids`: all at one instant, or on a cluster those of each
    /// partition.
    async fn load_together(&self, ids: &[AccountId]) -> Result<Vec<Account>, StoreError> {
        let mut groups: Vec<(u32, Vec<&AccountId>)> = Vec::new();
        for id in ids {
            let partition = if self.shards.is_cluster() { self.keys.partition_of(id) } else { HOME };
            match groups.iter_mut().find(|(other, _)| *other == partition) {
                Some((_, group)) => group.push(id),
                None => groups.push((partition, vec![id])),
            }
        }
        let reads = groups.iter().map(|(partition, ids)| {
            let mut arguments = vec![Value::from(READ_ACCOUNTS), Value::from(ids.len().to_string())];
            arguments.extend(ids.iter().map(|id| Value::from(self.keys.account(id))));
            (*partition, command("EVAL_RO", arguments))
        });
        let replies = self.shards.read(reads.collect()).await?;
        let mut accounts = HashMap::with_capacity(ids.len());
        for ((_, ids), hashes) in groups.into_iter().zip(replies) {
            for (id, hash) in ids.into_iter().zip(reply::list(hashes)?) {
                match reply::fields(hash).and_then(|fields| codec::account(id, &fields)) {
                    Ok(account) => drop(account.map(|account| accounts.insert(id, account))),
                    Err(error) => {
                        tracing::error!(account = %id, %error, "an account is left out of a list");
                    }
                }
            }
        }
        Ok(ids.iter().filter_map(|id| accounts.remove(id)).collect())
    }

    /// Ids from indexes, in one round trip to each shard, in the order of the indexes.
    async fn ids(
        &self,
        indexes: Vec<(u32, String, Option<&AccountId>)>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX).to_string();
        let reads = indexes.into_iter().map(|(partition, index, after)| {
            let after = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
            (partition, command("ZRANGEBYLEX", [index.as_str(), &after, "+", "LIMIT", "0", &limit]))
        });
        let mut ids = Vec::new();
        for index in self.shards.read(reads.collect()).await? {
            for id in reply::list(index)? {
                ids.push(reply::account_id(id)?);
            }
        }
        Ok(ids)
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn load(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let read = |id| (self.keys.partition_of(id), command("HGETALL", [self.keys.account(id)]));
        let reads = ids.iter().map(read);
        let hashes = self.shards.read(reads.collect()).await?;
        ids.iter().zip(hashes).map(|(id, hash)| codec::account(id, &reply::fields(hash)?)).collect()
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        if proposals.is_empty() {
            return Ok(Committed::default());
        }
        self.commit_all(proposals).await
    }

    async fn entries(&self, query: &EntriesQuery) -> Result<Vec<Entry>, StoreError> {
        let ids = query.ids();
        // There is nothing before the epoch, and Redis has no id for it.
        let epoch = EntryId { time: Timestamp::UNIX_EPOCH, sequence: 0 };
        if *ids.end() < epoch {
            return Ok(Vec::new());
        }
        let (lowest, highest) = (ids.start().max(&epoch).to_string(), ids.end().to_string());
        let id = &query.account_id;
        let (name, from, to) = match query.order {
            Order::OldestFirst => ("XRANGE", lowest, highest),
            Order::NewestFirst => ("XREVRANGE", highest, lowest),
        };
        let mut words = vec![self.keys.entries(id), from, to];
        // Redis reads counts as `i64`.
        if let Some(limit) = i64::try_from(query.limit).ok().filter(|limit| *limit < i64::MAX) {
            words.extend(["COUNT".to_owned(), limit.to_string()]);
        }
        let partition = self.keys.partition_of(id);
        let reads = [command("HGET", [self.keys.account(id).as_str(), "currency"]), command(name, words)];
        let reads = reads.map(|command| (partition, command));
        let [currency, entries] = reply::array(self.shards.read(reads.into()).await?)?;
        if currency.is_null() {
            return Ok(Vec::new());
        }
        let currency = reply::text(currency)?
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("account {id}: field \"currency\" is malformed")))?;
        reply::list(entries)?.into_iter().map(|entry| codec::entry(id, currency, entry)).collect()
    }

    async fn accounts(&self, query: &AccountsQuery) -> Result<Vec<Account>, StoreError> {
        let mut ids = Vec::new();
        let mut accounts = Vec::new();
        // Once, unless accounts that cannot be read make room for others.
        while accounts.len() < query.limit {
            let missing = query.limit - accounts.len();
            let after = ids.last().or(query.after.as_ref());
            let more = match &query.owner {
                Some(owner) => {
                    let partition = self.keys.partition_of_owner(owner);
                    self.ids(vec![(partition, self.keys.owner(owner), after)], missing).await?
                }
                None => self.account_ids(after, missing).await?,
            };
            let is_last = more.len() < missing;
            ids.extend(more);
            accounts = self.load_together(&ids).await?;
            // The index is written before an account is opened, which may have failed.
            accounts.retain(|account| query.owner.as_ref().is_none_or(|owner| account.owner == *owner));
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
        let partitions = self.keys.placement().partitions();
        let first = after.map_or(0, |id| self.keys.partition_of(id));
        let mut ids = Vec::new();
        let mut next = first;
        while next < partitions && ids.len() < limit {
            let end = partitions.min(next + PARTITIONS_PER_READ);
            let indexes = (next..end).map(|partition| {
                (partition, self.keys.accounts(partition), after.filter(|_| partition == first))
            });
            ids.extend(self.ids(indexes.collect(), limit - ids.len()).await?);
            next = end;
        }
        ids.truncate(limit);
        Ok(ids)
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        let read = |partition| (partition, command("ZCARD", [self.keys.accounts(partition)]));
        let reads = self.keys.all_partitions().map(read);
        let mut total = 0;
        for count in self.shards.read(reads.collect()).await? {
            total += u64::try_from(reply::integer(&count)?).unwrap_or_default();
        }
        Ok(Some(total))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.shards.health().await
    }

    fn properties(&self) -> &StoreProperties {
        &self.properties
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }

    async fn epoch_after(&self, epoch: u64) -> u64 {
        let mut epochs = self.shards.common().epochs.subscribe();
        // The sender is in the store, so it is not gone.
        epochs.wait_for(|now| *now > epoch).await.map_or(epoch, |now| *now)
    }

    fn lanes(&self) -> usize {
        if self.shards.is_cluster() { CLUSTER_LANES } else { 1 }
    }

    fn lane(&self, account_id: &AccountId) -> usize {
        lane_of(self.shards.slot(self.keys.partition_of(account_id)), self.lanes())
    }
}
