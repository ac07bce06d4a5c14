//! The store on Redis 7.0 or newer, or Valkey 7.2 or newer: stand-alone, or with Sentinel.
//!
//! A commit runs as one Lua script, so it is atomic for every client of that Redis, and any number of servers
//! share a bank. Everything is read from the primary: each read asks for the role of its Redis in the same
//! round trip.
//!
//! `docs/redis-layout.md` lists all keys.
//!
//! Cost: a commit is one round trip; in Redis, for each distinct account one read of its head, one
//! of the length of its history and one `HSET`, one `XADD` for each entry, and for each distinct
//! partition one read of its request records for each window and one `HSET`.
//!
//! Layers, each using only those below: the store and `backup`; `primary`, the connections to one primary, and `script`,
//! which commits on it; `guard`, which inspects what a connection leads to; `locator`; `connection`; the wire formats.

mod backup;
mod codec;
mod commit;
mod connection;
mod errors;
mod fitness;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod identity;
mod inspection;
mod keys;
mod lease;
mod locator;
mod msgpack;
mod options;
mod primary;
mod records;
mod reply;
mod script;
mod target;

use std::sync::Arc;

use async_trait::async_trait;
use bank_domain::{Account, AccountId, Entry, EntryId, Timestamp};
use fred::types::Value;
use tokio::time::{Duration, Instant, sleep};

pub use self::options::{RedisOptions, RedisUrl};
use self::{
    commit::Call,
    connection::{Connection, command},
    guard::Guard,
    keys::{HOME, Keys},
    locator::Locator,
    primary::Primary,
    script::Script,
};
use crate::{
    AccountsQuery, Backup, Committed, EntriesQuery, Order, Proposal, Store, StoreError, StoreProperties,
    placement::Placement,
};

/// How many partitions a listing reads at a time.
const PARTITIONS_PER_READ: u32 = 16;

/// The delay between two attempts to connect for the first time.
const CONNECT_DELAY: Duration = Duration::from_millis(200);

/// Reads accounts at one instant. Commands in a pipeline are not atomic: commits get in between.
const READ_ACCOUNTS: &str = include_str!("redis/read_accounts.lua");

/// A bank in Redis.
pub struct RedisStore {
    primary: Primary,
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
        let locator = Arc::new(Locator::new(options)?);
        let deadline = Instant::now() + options.connect_timeout;
        loop {
            let error = match Self::start(&locator, deadline).await {
                Err(error) if error.is_retryable() => error,
                result => return result,
            };
            if Instant::now() + CONNECT_DELAY >= deadline {
                return Err(match error {
                    StoreError::Unfit(reason) => StoreError::Misconfigured(reason),
                    StoreError::Unavailable(reason) | StoreError::OutcomeUnknown(reason) => {
                        StoreError::Unavailable(format!(
                            "Redis at {} could not be reached within {} ms: {reason}",
                            locator.address(),
                            options.connect_timeout.as_millis(),
                        ))
                    }
                    error => error,
                });
            }
            sleep(CONNECT_DELAY).await;
        }
    }

    async fn start(locator: &Arc<Locator>, deadline: Instant) -> Result<Self, StoreError> {
        let options = locator.options();
        let keys = Keys::new(&options.key_prefix, Placement::try_new(options.partitions)?);
        let connection = locator.connect(deadline).await?;
        identity::require_fit(&connection, &keys, options).await?;
        // Before anything is written: it may be refused.
        let digest = Script::load(&connection).await?;
        let identity = identity::initialize_or_join(&connection, &keys, options).await?;
        let keys = keys.placed(identity.placement);
        let properties = StoreProperties {
            name: format!("redis at {}", locator.address()),
            durability: fitness::promise(options),
            clock: options.clock.clone(),
            bank_id: identity.bank_id.clone(),
            secret: identity.secret,
            placement: identity.placement,
        };
        let script = Script { digest, retention: identity.retention };
        let guard = Guard::new(Arc::clone(locator), &keys, identity.bank_id);
        Ok(Self {
            primary: Primary::start(guard, &keys, connection, deadline).await?,
            script,
            keys,
            properties,
        })
    }

    /// The accounts that exist and can be read, all at one instant.
    async fn load_together(&self, ids: &[AccountId]) -> Result<Vec<Account>, StoreError> {
        let mut arguments = vec![Value::from(READ_ACCOUNTS), Value::from(ids.len().to_string())];
        arguments.extend(ids.iter().map(|id| Value::from(self.keys.account(id))));
        let replies = self.primary.read(vec![command("EVAL_RO", arguments)]).await?;
        let [hashes] = reply::array(replies)?;
        let mut accounts = Vec::with_capacity(ids.len());
        for (id, hash) in ids.iter().zip(reply::list(hashes)?) {
            match reply::fields(hash).and_then(|fields| codec::account(id, &fields)) {
                Ok(account) => accounts.extend(account),
                Err(error) => tracing::error!(account = %id, %error, "an account is left out of a list"),
            }
        }
        Ok(accounts)
    }

    /// Removes expired request records of the partitions where a commit has begun a window, in the background: a failure leaves
    /// them to the next window.
    fn expire_records(&self, connection: Arc<Connection>, reply: &commit::Reply) {
        let partitions = reply.partitions_with_new_window.clone();
        if partitions.is_empty() {
            return;
        }
        let oldest_kept = records::oldest_kept(self.script.retention, reply.time_seconds);
        let (keys, bank_id) = (self.keys.clone(), self.properties.bank_id.clone());
        tokio::spawn(async move {
            for partition in partitions {
                if let Err(error) = script::expire(&connection, &keys, &bank_id, partition, oldest_kept).await
                {
                    tracing::debug!(%error, partition, "expired request records stay for now");
                }
            }
        });
    }

    /// Ids from indexes, in one round trip, in the order of the indexes.
    async fn ids(
        &self,
        indexes: Vec<(String, Option<&AccountId>)>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX).to_string();
        let reads = indexes.into_iter().map(|(index, after)| {
            let after = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
            command("ZRANGEBYLEX", [index.as_str(), &after, "+", "LIMIT", "0", &limit])
        });
        let mut ids = Vec::new();
        for index in self.primary.read(reads.collect()).await? {
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
        let reads = ids.iter().map(|id| command("HGETALL", [self.keys.account(id)]));
        let hashes = self.primary.read(reads.collect()).await?;
        ids.iter().zip(hashes).map(|(id, hash)| codec::account(id, &reply::fields(hash)?)).collect()
    }

    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        if proposals.is_empty() {
            return Ok(Committed::default());
        }
        let call = Call::new(&self.keys, HOME, proposals)?;
        // In this order: a connection is inspected before it is here.
        let connection = self.primary.commits()?;
        self.primary.guard().require(|_| true)?;
        let reply = self.script.run(&connection, self.primary.guard(), &self.keys, &call).await?;
        // The script has run: whatever it replied, something may have been done.
        let reply = call.committed(proposals, reply).map_err(|error| {
            tracing::error!(%error, commands = proposals.len(), "the reply to a commit is malformed");
            StoreError::OutcomeUnknown(error.to_string())
        })?;
        self.expire_records(connection, &reply);
        Ok(reply.committed)
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
        let reads = [command("HGET", [self.keys.account(id).as_str(), "currency"]), command(name, words)];
        let [currency, entries] = reply::array(self.primary.read(reads.into()).await?)?;
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
                Some(owner) => self.ids(vec![(self.keys.owner(owner), after)], missing).await?,
                None => self.account_ids(after, missing).await?,
            };
            let is_last = more.len() < missing;
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
        let partitions = self.keys.placement().partitions();
        let first = after.map_or(0, |id| self.keys.partition_of(id));
        let mut ids = Vec::new();
        let mut next = first;
        while next < partitions && ids.len() < limit {
            let end = partitions.min(next + PARTITIONS_PER_READ);
            let indexes = (next..end)
                .map(|partition| (self.keys.accounts(partition), after.filter(|_| partition == first)));
            ids.extend(self.ids(indexes.collect(), limit - ids.len()).await?);
            next = end;
        }
        ids.truncate(limit);
        Ok(ids)
    }

    async fn account_count(&self) -> Result<Option<u64>, StoreError> {
        let indexes = self.keys.all_partitions().map(|partition| self.keys.accounts(partition));
        let reads = indexes.map(|index| command("ZCARD", [index]));
        let mut total = 0;
        for count in self.primary.read(reads.collect()).await? {
            total += u64::try_from(reply::integer(&count)?).unwrap_or_default();
        }
        Ok(Some(total))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.primary.health().await
    }

    fn properties(&self) -> &StoreProperties {
        &self.properties
    }

    fn backup(&self) -> Option<&dyn Backup> {
        Some(self)
    }

    async fn epoch_after(&self, epoch: u64) -> u64 {
        self.primary.guard().epoch_after(epoch).await
    }
}
