//! Watches: the entries of accounts as they are written, from where an earlier watch stopped.
//!
//! # Exactly once
//!
//! A watch keeps a **position** for each account: the newest entry that it sent. Entries are dense and never change,
//! and each read starts with the entry at the position, so it returns everything that followed, in order, once. Each
//! reply carries all positions in a resume token (`token.rs`); a caller who sends it back continues there, on any
//! server. An account without a position is new and is sent from its first entry, so accounts that are opened later
//! need nothing special.
//!
//! A store that was set back to an earlier state does not have the entry at the position, which is identified by its
//! hash. That is an error, never a gap.
//!
//! # Finding new entries
//!
//! A watch polls the store every `poll_interval`. That alone is correct on every store and with any number of servers.
//! To be fast, it also subscribes to the [`Notifier`], through which the ledger of the same server publishes the
//! accounts that it has written to. The next poll makes up for a notification that was missed.
//!
//! # Cost and bounds
//!
//! A poll reads one entry, or the list of watched accounts; the more accounts, the longer the pause before the next. A
//! watch holds its positions and one message of entries. Nothing is read ahead of a slow caller.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod position;
mod token;

use std::{collections::BTreeMap, slice, time::Duration};

use bank_domain::{Account, AccountId, Entry};
use bank_store::{AccountsQuery, EntriesQuery, Store, StoreError};
use lru::LruCache;
use tokio::{
    select,
    time::{Instant, sleep_until},
};

use self::position::{Position, Positions};
pub use self::token::InvalidToken;
pub(crate) use self::token::{Token, token_bytes_max};
use crate::{
    notifier::{Changed, Notifier, Selection, Subscription},
    scans::Scans,
};

/// The most entries in one message. An entry has up to 2 KiB, and a slow caller causes two messages to be held.
const ENTRIES_PER_MESSAGE: usize = 32;
/// How many accounts a poll interval allows for. With more accounts polls are rarer, so that no watch takes more of
/// the store's time than one of this many.
const ACCOUNTS_PER_INTERVAL: usize = 100;
/// The pause after a watch has caught up. It bounds the reads of a busy account to a hundred a second for each
/// watch, and lets entries share a message.
const READ_PAUSE: Duration = Duration::from_millis(10);

/// The limits of watches.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// The pause between two polls for what other servers have written.
    pub poll_interval: Duration,
    /// The longest silence before an empty reply is sent.
    pub heartbeat_interval: Duration,
    /// How long a caller may leave a reply unread.
    pub consumer_timeout: Duration,
    /// The most accounts of one watch.
    pub accounts_max: usize,
}

/// Where a watch starts.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// With entries that are written from now on.
    Now,
    /// With the first entry of every account.
    Beginning,
    /// Where an earlier watch stopped.
    After(Token),
}

/// Why a watch ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The account does not exist, or is not visible.
    #[error("account {0} does not exist")]
    AccountNotFound(AccountId),
    /// The selection has too many accounts.
    #[error("more than {accounts_max} accounts")]
    TooManyAccounts {
        /// The limit.
        accounts_max: usize,
    },
    /// An entry that was sent is missing: the store was set back to an earlier state.
    #[error("entry {sequence} of account {account_id} was sent and is not in the history any more")]
    EntriesLost {
        /// The account.
        account_id: AccountId,
        /// The newest entry that was sent.
        sequence: u64,
    },
    /// The resume token is not one of this watch.
    #[error("the resume token {0}")]
    InvalidToken(#[from] InvalidToken),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running watch.
pub(crate) struct Watch {
    scans: Scans,
    options: WatchOptions,
    sent: Positions,
    /// Accounts that may have entries beyond their positions: a queue in which each is once, since none is used while it waits.
    behind: LruCache<AccountId, ()>,
    subscription: Subscription,
    next_poll: Instant,
    next_read: Instant,
}

impl Watch {
    /// Starts a watch. Nothing that is committed from now on is missed.
    pub(crate) async fn start(
        scans: Scans,
        notifier: &Notifier,
        options: WatchOptions,
        selection: Selection,
        start: Start,
    ) -> Result<Self, Error> {
        let now = Instant::now();
        let mut watch = Self {
            scans,
            options,
            sent: Positions::new(),
            behind: LruCache::unbounded(),
            subscription: notifier.subscribe(selection),
            next_poll: now,
            next_read: now,
        };
        match start {
            Start::Now => {
                let accounts = watch.accounts().await?;
                watch.sent = accounts.iter().map(|a| (a.id.clone(), Position::of_account(a))).collect();
            }
            Start::Beginning => {}
            Start::After(token) => {
                let (bank_id, secret) = (watch.store().bank_id(), watch.store().secret());
                watch.sent = token.positions(bank_id, secret, watch.selection())?;
                if !token.is_sealed() {
                    watch.check_positions().await?;
                }
            }
        }
        Ok(watch)
    }

    /// The token that resumes a watch after everything that was returned so far.
    pub(crate) fn resume_token(&self) -> String {
        Token::encode(self.store().bank_id(), self.store().secret(), self.selection(), &self.sent)
    }

    /// Returns the next entries, and waits until there are any. After an error the watch is unusable.
    pub(crate) async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        loop {
            self.find_changes().await?;
            let entries = self.read().await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            select! {
                () = self.subscription.notified() => {}
                () = sleep_until(self.next_poll) => {}
            }
        }
    }

    fn store(&self) -> &dyn Store {
        self.scans.store()
    }

    fn selection(&self) -> &Selection {
        self.subscription.selection()
    }

    /// Queues an account. One that waits already keeps its place, so that a busy account does not delay the others.
    fn queue(&mut self, id: AccountId) {
        if !self.behind.contains(&id) {
            self.behind.put(id, ());
        }
    }

    /// Queues the accounts that are known to have changed, and polls if it is time.
    async fn find_changes(&mut self) -> Result<(), Error> {
        let any_may_have_changed = match self.subscription.take() {
            Changed::Accounts(accounts) => {
                for id in accounts {
                    self.queue(id);
                }
                false
            }
            Changed::TooMany => true,
        };
        if any_may_have_changed || self.next_poll <= Instant::now() {
            self.poll().await?;
        }
        Ok(())
    }

    /// Queues the accounts that are not at their positions.
    async fn poll(&mut self) -> Result<(), Error> {
        let watched = match self.selection().clone() {
            // Reading it is the poll.
            Selection::Account(id) => {
                self.queue(id);
                1
            }
            Selection::Owner(_) | Selection::Bank => {
                let accounts = self.accounts().await?;
                let found: BTreeMap<_, _> = accounts.iter().map(|account| (&account.id, account)).collect();
                let missing = self.sent.keys().filter(|id| !found.contains_key(id)).cloned();
                self.queue_missing(missing.collect()).await?;
                for account in &accounts {
                    if self.sent.get(&account.id) != Some(&Position::of_account(account)) {
                        self.queue(account.id.clone());
                    }
                }
                accounts.len()
            }
        };
        let intervals = u32::try_from(watched.div_ceil(ACCOUNTS_PER_INTERVAL)).unwrap_or(u32::MAX);
        self.next_poll = Instant::now() + self.options.poll_interval * intervals.max(1);
        Ok(())
    }

    /// Queues accounts with a position that are not in the list of accounts, which omits unreadable ones.
    async fn queue_missing(&mut self, missing: Vec<AccountId>) -> Result<(), Error> {
        if missing.is_empty() {
            return Ok(());
        }
        let accounts = self.store().load(&missing).await?;
        for (id, account) in missing.into_iter().zip(accounts) {
            // Whatever a token says, an account that the caller may not see is not read.
            if !account.is_some_and(|account| self.selection().includes(&account)) {
                return Err(self.lost(id));
            }
            self.queue(id);
        }
        Ok(())
    }

    /// Checks that each position of a token without a seal is an entry of a watched account. Other accounts are
    /// treated as if they did not exist.
    async fn check_positions(&self) -> Result<(), Error> {
        if self.sent.len() > self.options.accounts_max {
            return Err(InvalidToken::UnknownEntries.into());
        }
        let ids: Vec<_> = self.sent.keys().cloned().collect();
        for (found, (id, position)) in self.store().load(&ids).await?.into_iter().zip(&self.sent) {
            let query =
                EntriesQuery { limit: 1, after: Some(position.before()), ..EntriesQuery::all(id.clone()) };
            let is_watched = found.is_some_and(|account| self.selection().includes(&account));
            if !is_watched
                || self.scans.entries(query).await?.first().map(Position::of_entry) != Some(*position)
            {
                return Err(InvalidToken::UnknownEntries.into());
            }
        }
        Ok(())
    }

    /// The current state of the watched accounts.
    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let owner = match self.selection() {
            Selection::Account(id) => {
                let account = self.store().load(slice::from_ref(id)).await?.pop().flatten();
                return Ok(vec![account.ok_or_else(|| Error::AccountNotFound(id.clone()))?]);
            }
            Selection::Owner(owner) => Some(owner.clone()),
            Selection::Bank => None,
        };
        let accounts_max = self.options.accounts_max;
        let query = AccountsQuery { owner, after: None, limit: accounts_max + 1 };
        let accounts = self.scans.accounts(query).await?;
        if accounts.len() > accounts_max {
            return Err(Error::TooManyAccounts { accounts_max });
        }
        Ok(accounts)
    }

    /// Reads one message of entries from the queued accounts.
    async fn read(&mut self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        if self.behind.is_empty() {
            return Ok(entries);
        }
        sleep_until(self.next_read).await;
        while entries.len() < ENTRIES_PER_MESSAGE
            && let Some((id, ())) = self.behind.pop_lru()
        {
            let room = ENTRIES_PER_MESSAGE - entries.len();
            let new = self.read_account(&id, room).await?;
            if new.len() == room {
                // There may be more. The other accounts come first.
                self.queue(id);
            }
            entries.extend(new);
        }
        if entries.len() < ENTRIES_PER_MESSAGE {
            self.next_read = Instant::now() + READ_PAUSE;
        }
        // The sort is stable, and times never decrease within an account, so its entries stay in order.
        entries.sort_by_key(|entry| entry.time);
        Ok(entries)
    }

    /// Reads entries beyond the position of an account, and advances it.
    async fn read_account(&mut self, id: &AccountId, limit: usize) -> Result<Vec<Entry>, Error> {
        let position = self.sent.get(id).copied();
        if position.is_none() && self.sent.len() >= self.options.accounts_max {
            return Err(Error::TooManyAccounts { accounts_max: self.options.accounts_max });
        }
        let mut query = EntriesQuery { limit, ..EntriesQuery::all(id.clone()) };
        if let Some(position) = position {
            // Including the entry at the position, which proves that the history still has it.
            query.after = Some(position.before());
            query.limit += 1;
        }
        let mut entries = self.scans.entries(query).await?;
        if position.is_some() {
            if position != entries.first().map(Position::of_entry) {
                return Err(self.lost(id.clone()));
            }
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
            self.sent.insert(id.clone(), Position::of_entry(last));
        }
        Ok(entries)
    }

    fn lost(&self, account_id: AccountId) -> Error {
        let sequence = self.sent.get(&account_id).map_or(0, |position| position.entry_id.sequence);
        Error::EntriesLost { account_id, sequence }
    }
}
