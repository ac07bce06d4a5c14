//! Watches: histories as they happen, from where an earlier watch has ended.
//!
//! # What is exact, and why
//!
//! A watch knows of each account up to which entry it has told: its **position**. Entries are dense,
//! never change and are read in one piece with the entry at the position, so what comes after that entry
//! is all that has happened since, in order, each once. The positions travel with each reply as a token
//! (`token.rs`), and whoever comes back with it goes on from there, on any server. An account without a
//! position is new and told from its first entry: so accounts that are opened later need nothing.
//!
//! A store that has gone back to an earlier state is noticed: the entry at the position, which is known by
//! its hash, is not there. That is an error, and never a gap.
//!
//! # How it learns of what is new
//!
//! By looking, every `poll_interval`. That is all that correctness needs, on every store and with any
//! number of servers. To be quick, the ledger of the same server rings a bell ([`Watchers`]) for the
//! accounts that it has just written to. A bell that is not heard is made up for by the next look.
//!
//! # Cost and bounds
//!
//! A look reads one entry, or the list of the accounts that are watched; the more there are of them, the
//! longer the pause before the next. A watch holds its positions, and one message of entries that nobody
//! has asked for yet. Nothing is read ahead of a caller who reads slowly.

mod bells;
mod queue;
mod token;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Entry, EntryId, Owner};
use bank_store::{AccountsQuery, EntriesQuery, Store, StoreError};
use tokio::{
    select,
    time::{Instant, sleep_until},
};

pub use self::bells::Watchers;
pub(crate) use self::token::{InvalidToken, Token, Told, token_bytes_max};
use self::{
    bells::{Registered, Rung},
    queue::Queue,
};

/// How many entries there are in one message at most. An entry has up to 2 KiB, and a message is there twice at most
/// while a caller reads slowly.
const ENTRIES_PER_MESSAGE: usize = 32;
/// How many accounts can be looked at in each poll interval. With more of them looks are rarer, so that
/// no watch takes more of the store's time than one of so many accounts.
const ACCOUNTS_PER_INTERVAL: usize = 100;
/// How long a watch that has caught up rests before it reads again. An account that is written to all the
/// time is so read at most a hundred times a second by each watch, and its entries share messages.
const REST: Duration = Duration::from_millis(10);

/// The bounds of watches.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// The pause between two looks for what other servers have written.
    pub poll_interval: Duration,
    /// How long a watch is silent at most.
    pub heartbeat_interval: Duration,
    /// How long a caller may take no messages.
    pub consumer_timeout: Duration,
    /// How many accounts one watch may have.
    pub accounts_max: usize,
    /// How many watches there may be in all.
    pub concurrent_max: usize,
    /// How many watches one caller may have.
    pub concurrent_per_caller_max: usize,
}

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One account.
    Account(AccountId),
    /// All accounts of an owner.
    Owner(Owner),
    /// Every account.
    Bank,
}

/// Where a watch begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// With the first entry of every account.
    Beginning,
    /// After what was told before.
    After(Positions),
    /// After what somebody says was told before.
    AfterUnproven(Positions),
}

/// Up to where each account was told.
pub type Positions = BTreeMap<AccountId, Position>;

/// An entry that was told, known by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    entry_id: EntryId,
    hash: [u8; Self::HASH_BYTES],
}

/// Why a watch ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such account.
    #[error("account {0} does not exist")]
    AccountNotFound(AccountId),
    /// There are more accounts than one watch may have.
    #[error("more than {accounts_max} accounts")]
    TooManyAccounts {
        /// The bound.
        accounts_max: usize,
    },
    /// What was told is not in the history any more: the store has gone back to an earlier state.
    #[error("entry {sequence} of account {account_id} was told, and is not in the history any more")]
    EntriesLost {
        /// Of which account.
        account_id: AccountId,
        /// The entry that was told last.
        sequence: u64,
    },
    /// What is said to have been told is not in the history, and nothing proves that it ever was.
    #[error("entries are said to have been told that are not in the history")]
    Unfounded,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Position {
    /// As many bytes of a hash as nobody meets twice by accident.
    const HASH_BYTES: usize = 8;

    fn new(entry_id: EntryId, hash: &[u8; 32]) -> Self {
        let mut prefix = [0; Self::HASH_BYTES];
        prefix.copy_from_slice(&hash[..Self::HASH_BYTES]);
        Self { entry_id, hash: prefix }
    }

    fn of_account(account: &Account) -> Self {
        let entry_id = EntryId { time: account.updated_at, sequence: account.version };
        Self::new(entry_id, account.head.as_bytes())
    }

    fn of_entry(entry: &Entry) -> Self {
        Self::new(entry.id(), entry.hash.as_bytes())
    }
}

/// A watch under way.
pub struct Watch {
    store: Arc<dyn Store>,
    options: WatchOptions,
    scope: Scope,
    told: Positions,
    /// Accounts that may have entries beyond their positions.
    behind: Queue,
    bell: Registered,
    look_at: Instant,
    rested_at: Instant,
}

impl Watch {
    /// Begins one. Nothing that is committed from now on is missed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn begin(
        store: Arc<dyn Store>,
        watchers: &Watchers,
        options: WatchOptions,
        scope: Scope,
        start: Start,
    ) -> Result<Self, Error> {
        let bell = watchers.register(&scope);
        let now = Instant::now();
        let mut watch = Self {
            store,
            options,
            scope,
            told: Positions::new(),
            behind: Queue::default(),
            bell,
            look_at: now,
            rested_at: now,
        };
        match start {
            Start::Now => {
                let accounts = watch.accounts().await?;
                watch.told = accounts.iter().map(|a| (a.id.clone(), Position::of_account(a))).collect();
            }
            Start::Beginning => {}
            Start::After(told) => watch.told = told,
            Start::AfterUnproven(told) => {
                watch.prove(&told).await?;
                watch.told = told;
            }
        }
        Ok(watch)
    }

    /// What is watched.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Up to where it has told.
    pub fn positions(&self) -> &Positions {
        &self.told
    }

    /// What has happened next. Waits until something has.
    ///
    /// # Errors
    /// [`Error`]. The watch is of no use then.
    pub async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        loop {
            self.take_notice().await?;
            let entries = self.read().await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            select! {
                () = self.bell.ringing() => {}
                () = sleep_until(self.look_at) => {}
            }
        }
    }

    /// Queues the accounts that have been written to, as far as that is known.
    async fn take_notice(&mut self) -> Result<(), Error> {
        let everything = match self.bell.take() {
            Rung::For(accounts) => {
                self.behind.extend(accounts);
                false
            }
            Rung::ForTooMany => true,
        };
        if everything || self.look_at <= Instant::now() {
            self.look().await?;
        }
        Ok(())
    }

    /// Queues the accounts that are not as they were told.
    async fn look(&mut self) -> Result<(), Error> {
        let watched = match self.scope.clone() {
            // To read it tells all.
            Scope::Account(id) => {
                self.behind.push(id);
                1
            }
            Scope::Owner(_) | Scope::Bank => {
                let accounts = self.accounts().await?;
                let found: BTreeMap<_, _> = accounts.iter().map(|account| (&account.id, account)).collect();
                let missing = self.told.keys().filter(|id| !found.contains_key(id)).cloned();
                self.look_for(missing.collect()).await?;
                for account in &accounts {
                    if self.told.get(&account.id) != Some(&Position::of_account(account)) {
                        self.behind.push(account.id.clone());
                    }
                }
                accounts.len()
            }
        };
        let intervals = u32::try_from(watched.div_ceil(ACCOUNTS_PER_INTERVAL)).unwrap_or(u32::MAX);
        self.look_at = Instant::now() + self.options.poll_interval * intervals.max(1);
        Ok(())
    }

    /// Accounts that were told of are not in the list of accounts. A list leaves out what cannot be read.
    async fn look_for(&mut self, missing: Vec<AccountId>) -> Result<(), Error> {
        if missing.is_empty() {
            return Ok(());
        }
        let accounts = self.store.load(&missing).await?;
        for (id, account) in missing.into_iter().zip(accounts) {
            // Nothing is read of an account that is not there for the caller, whatever a token says.
            if !account.is_some_and(|account| self.scope.has(&account)) {
                return Err(self.lost(id));
            }
            self.behind.push(id);
        }
        Ok(())
    }

    /// Makes sure that each of these entries is in the history of an account that is watched. An account that is not
    /// is treated as one that does not exist.
    async fn prove(&self, told: &Positions) -> Result<(), Error> {
        if told.len() > self.options.accounts_max {
            return Err(Error::Unfounded);
        }
        let ids: Vec<_> = told.keys().cloned().collect();
        for (found, (id, position)) in self.store.load(&ids).await?.into_iter().zip(told) {
            let EntryId { time, sequence } = position.entry_id;
            let after = Some(EntryId { time, sequence: sequence - 1 });
            let query = EntriesQuery { limit: 1, after, ..EntriesQuery::all(id.clone()) };
            let is_watched = found.is_some_and(|account| self.scope.has(&account));
            if !is_watched
                || self.store.entries(&query).await?.first().map(Position::of_entry) != Some(*position)
            {
                return Err(Error::Unfounded);
            }
        }
        Ok(())
    }

    /// The accounts that are watched, as they are now.
    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let owner = match &self.scope {
            Scope::Account(id) => {
                let account = self.store.load(std::slice::from_ref(id)).await?.pop().flatten();
                return Ok(vec![account.ok_or_else(|| Error::AccountNotFound(id.clone()))?]);
            }
            Scope::Owner(owner) => Some(owner.clone()),
            Scope::Bank => None,
        };
        let accounts_max = self.options.accounts_max;
        let query = AccountsQuery { owner, after: None, limit: accounts_max + 1 };
        let accounts = self.store.accounts(&query).await?;
        if accounts.len() > accounts_max {
            return Err(Error::TooManyAccounts { accounts_max });
        }
        Ok(accounts)
    }

    /// A message of what there is to be told, account by account.
    async fn read(&mut self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        if self.behind.is_empty() {
            return Ok(entries);
        }
        sleep_until(self.rested_at).await;
        while entries.len() < ENTRIES_PER_MESSAGE
            && let Some(id) = self.behind.pop()
        {
            let room = ENTRIES_PER_MESSAGE - entries.len();
            let new = self.read_on(&id, room).await?;
            if new.len() == room {
                // There may be more. The others come first.
                self.behind.push(id);
            }
            entries.extend(new);
        }
        if entries.len() < ENTRIES_PER_MESSAGE {
            self.rested_at = Instant::now() + REST;
        }
        // Time never runs backwards on an account, so its entries stay in order.
        entries.sort_by_key(|entry| entry.time);
        Ok(entries)
    }

    /// Entries beyond the position of an account, which are told from now on.
    async fn read_on(&mut self, id: &AccountId, limit: usize) -> Result<Vec<Entry>, Error> {
        let position = self.told.get(id).copied();
        if position.is_none() && self.told.len() >= self.options.accounts_max {
            return Err(Error::TooManyAccounts { accounts_max: self.options.accounts_max });
        }
        let mut query = EntriesQuery { limit, ..EntriesQuery::all(id.clone()) };
        if let Some(Position { entry_id: EntryId { time, sequence }, .. }) = position {
            // With the entry that was told last: nothing follows from what is not there.
            query.after = Some(EntryId { time, sequence: sequence - 1 });
            query.limit += 1;
        }
        let mut entries = self.store.entries(&query).await?;
        if position.is_some() && position != entries.first().map(Position::of_entry) {
            return Err(self.lost(id.clone()));
        }
        if position.is_some() {
            entries.remove(0);
        }
        let next = position.map_or(1, |position| position.entry_id.sequence + 1);
        if let Some((expected, entry)) = (next..).zip(&entries).find(|(next, entry)| entry.sequence != *next)
        {
            let found = entry.sequence;
            let problem = format!("account {id}: entry {expected} is missing before entry {found}");
            return Err(StoreError::Corrupt(problem).into());
        }
        if let Some(last) = entries.last() {
            self.told.insert(id.clone(), Position::of_entry(last));
        }
        Ok(entries)
    }

    fn lost(&self, account_id: AccountId) -> Error {
        let sequence = self.told.get(&account_id).map_or(0, |position| position.entry_id.sequence);
        Error::EntriesLost { account_id, sequence }
    }
}

impl Scope {
    /// Whether it has this account.
    fn has(&self, account: &Account) -> bool {
        match self {
            Self::Account(id) => account.id == *id,
            Self::Owner(owner) => account.owner == *owner,
            Self::Bank => true,
        }
    }
}
