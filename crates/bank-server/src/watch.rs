//! Histories as they are written: entries from a place on, each once, in order.
//!
//! A follower reads the history itself, from where it stands, whenever there is more of it. So it
//! misses nothing and repeats nothing, whichever server wrote an entry, and it holds no more than
//! what it reads at a time.
//!
//! Whether there is more is found out for all followers together: the [`Watcher`] reads the followed
//! accounts anew at a fixed pace, and tells how far each history has come.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bank_domain::{AccountId, Entry, EntryId, Owner};
use bank_store::{AccountsQuery, EntriesQuery, Store, StoreError};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// How many accounts are read at a time.
const ACCOUNTS_PER_READ: usize = 100;
/// The pause between two looks at which accounts an owner has.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// The bounds of watching.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// The pause between two looks at the followed accounts.
    pub poll_interval: Duration,
    /// How many entries are read at a time.
    pub batch_entries_max: usize,
    /// How many accounts one follower may follow.
    pub accounts_max: usize,
}

/// Whose history is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// One account's.
    Account(AccountId),
    /// Those of all accounts of an owner, with those that are opened meanwhile.
    Owner(Owner),
}

/// Where a follower begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first entry of each account.
    Beginning,
    /// With what is written from now on.
    Now,
    /// After these entries; accounts that are not named, with their first.
    After(Positions),
}

/// The newest entry of each account that a follower has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<AccountId, EntryId>);

/// The text is not one that [`Positions`] were written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a resume token")]
pub struct InvalidPositions;

/// Why a follower cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such account.
    #[error("account {0} does not exist")]
    AccountNotFound(AccountId),
    /// The owner has too many accounts for one follower.
    #[error("more than {accounts_max} accounts")]
    TooManyAccounts {
        /// How many may be.
        accounts_max: usize,
    },
    /// The history ends before the entry that the follower got last: the store has lost what it had
    /// acknowledged.
    #[error("the history of account {account_id} ends at entry {ends_at}, before entry {position}")]
    HistoryLost {
        /// Whose.
        account_id: AccountId,
        /// The entry that was got.
        position: u64,
        /// The newest there is.
        ends_at: u64,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds out which histories have grown; cheap to clone.
#[derive(Clone)]
pub struct Watcher {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    options: WatchOptions,
    /// The followed accounts, and by how many followers.
    followed: Mutex<HashMap<AccountId, usize>>,
    /// How long each followed history is. It is sent anew whenever one has grown.
    lengths: watch::Sender<Arc<HashMap<AccountId, u64>>>,
}

/// Reads histories on. It is dropped to end it.
pub struct Follower {
    shared: Arc<Shared>,
    followed: Followed,
    positions: Positions,
    /// What is looked out for.
    accounts: BTreeMap<AccountId, Interest>,
    lengths: watch::Receiver<Arc<HashMap<AccountId, u64>>>,
    /// When the accounts of the owner are listed again.
    list_again_at: Instant,
    /// The account whose entries came last: the others have their turn before it.
    last: Option<AccountId>,
}

/// That a follower follows an account.
struct Interest {
    shared: Arc<Shared>,
    account_id: AccountId,
}

impl Watcher {
    /// Looks at followed accounts until it is stopped.
    pub fn start(store: Arc<dyn Store>, options: WatchOptions, stop: CancellationToken) -> Self {
        let shared = Arc::new(Shared {
            store,
            options,
            followed: Mutex::default(),
            lengths: watch::Sender::new(Arc::default()),
        });
        let looking = Arc::clone(&shared);
        tokio::spawn(async move { stop.run_until_cancelled_owned(looking.look()).await });
        Self { shared }
    }

    /// Begins to follow.
    ///
    /// # Errors
    /// [`Error`]: there is nothing to follow, or too much.
    pub async fn follow(&self, followed: Followed, from: From) -> Result<Follower, Error> {
        let mut follower = Follower {
            shared: Arc::clone(&self.shared),
            followed,
            positions: Positions::default(),
            accounts: BTreeMap::new(),
            lengths: self.shared.lengths.subscribe(),
            list_again_at: Instant::now(),
            last: None,
        };
        let newest = follower.list().await?;
        match from {
            From::Beginning => {}
            From::Now => follower.positions = newest,
            From::After(positions) => {
                for (account_id, position) in positions.0 {
                    require(&account_id, position, newest.0.get(&account_id))?;
                    follower.positions.0.insert(account_id, position);
                }
            }
        }
        Ok(follower)
    }
}

impl Shared {
    async fn look(&self) {
        loop {
            let ids: Vec<_> = self.followed().keys().cloned().collect();
            let mut lengths = HashMap::with_capacity(ids.len());
            let mut complete = true;
            for ids in ids.chunks(ACCOUNTS_PER_READ) {
                match self.store.load(ids).await {
                    Ok(accounts) => lengths
                        .extend(accounts.into_iter().flatten().map(|account| (account.id, account.version))),
                    // Health says that the store is away; followers wait until it is back.
                    Err(_) => complete = false,
                }
            }
            if complete {
                self.lengths.send_if_modified(|known| {
                    let is_new = **known != lengths;
                    if is_new {
                        *known = Arc::new(lengths);
                    }
                    is_new
                });
            }
            sleep(self.options.poll_interval).await;
        }
    }

    fn followed(&self) -> std::sync::MutexGuard<'_, HashMap<AccountId, usize>> {
        // It is whole whatever a thread that held the lock did.
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interest {
    fn new(shared: Arc<Shared>, account_id: AccountId) -> Self {
        *shared.followed().entry(account_id.clone()).or_default() += 1;
        Self { shared, account_id }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut followed = self.shared.followed();
        if let Some(followers) = followed.get_mut(&self.account_id) {
            *followers -= 1;
            if *followers == 0 {
                followed.remove(&self.account_id);
            }
        }
    }
}

impl Follower {
    /// How far it has come: to go on from, in this process or another.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The next entries; waits until there are some.
    ///
    /// Cancel safe: what was not returned is read again.
    ///
    /// # Errors
    /// [`Error`]. If it is retryable, the next call goes on from the same place.
    pub async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        loop {
            if self.list_again_at <= Instant::now() {
                self.list().await?;
            }
            let entries = self.read_on().await?;
            if let Some(newest) = entries.last() {
                self.positions.0.insert(newest.account_id.clone(), newest.id());
                self.last = Some(newest.account_id.clone());
                return Ok(entries);
            }
            // An error means that it is time to list the accounts again.
            let _ = timeout_at(self.list_again_at, self.lengths.changed()).await;
        }
    }

    /// Entries of the first account whose history has grown.
    async fn read_on(&mut self) -> Result<Vec<Entry>, Error> {
        let lengths = Arc::clone(&self.lengths.borrow_and_update());
        let is_next = |id: &&AccountId| self.last.as_ref().is_none_or(|last| *id > last);
        let turns =
            self.accounts.keys().filter(is_next).chain(self.accounts.keys().filter(|id| !is_next(id)));
        for account_id in turns {
            let position = self.positions.0.get(account_id).copied();
            let read = position.map_or(0, |position| position.sequence);
            let Some(&length) = lengths.get(account_id) else { continue };
            if length == read {
                continue;
            }
            if let Some(position) = position.filter(|_| length < read) {
                // The length may be from before the last read.
                let newest = self.newest(std::slice::from_ref(account_id)).await?;
                require(account_id, position, newest.0.get(account_id))?;
                continue;
            }
            let query = EntriesQuery {
                after: position,
                limit: self.shared.options.batch_entries_max,
                ..EntriesQuery::all(account_id.clone())
            };
            let entries = self.shared.store.entries(&query).await?;
            if let Some(first) = entries.first().filter(|first| first.sequence != read + 1) {
                let gap = format!("entry {} of account {account_id} follows entry {read}", first.sequence);
                return Err(StoreError::Corrupt(gap).into());
            }
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    }

    /// Finds the accounts to follow, and how far each has come.
    async fn list(&mut self) -> Result<Positions, Error> {
        let accounts_max = self.shared.options.accounts_max;
        let ids = match &self.followed {
            Followed::Account(id) => vec![id.clone()],
            Followed::Owner(owner) => {
                let query =
                    AccountsQuery { owner: Some(owner.clone()), after: None, limit: accounts_max + 1 };
                let accounts = self.shared.store.accounts(&query).await?;
                accounts.into_iter().map(|account| account.id).collect()
            }
        };
        if ids.len() > accounts_max {
            return Err(Error::TooManyAccounts { accounts_max });
        }
        let newest = self.newest(&ids).await?;
        if let Followed::Account(id) = &self.followed
            && !newest.0.contains_key(id)
        {
            return Err(Error::AccountNotFound(id.clone()));
        }
        for id in ids {
            let interest = |id: &AccountId| Interest::new(Arc::clone(&self.shared), id.clone());
            self.accounts.entry(id).or_insert_with_key(interest);
        }
        self.list_again_at = Instant::now() + LIST_INTERVAL;
        Ok(newest)
    }

    async fn newest(&self, ids: &[AccountId]) -> Result<Positions, Error> {
        let mut newest = Positions::default();
        for ids in ids.chunks(ACCOUNTS_PER_READ) {
            for account in self.shared.store.load(ids).await?.into_iter().flatten() {
                let id = EntryId { time: account.updated_at, sequence: account.version };
                newest.0.insert(account.id, id);
            }
        }
        Ok(newest)
    }
}

/// That a history has not become shorter than what was got of it.
fn require(account_id: &AccountId, position: EntryId, newest: Option<&EntryId>) -> Result<(), Error> {
    let ends_at = newest.map_or(0, |newest| newest.sequence);
    if ends_at >= position.sequence {
        return Ok(());
    }
    Err(Error::HistoryLost { account_id: account_id.clone(), position: position.sequence, ends_at })
}

impl fmt::Display for Positions {
    /// `123=1767225600000-7,456=1767225600000-2`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (account_id, position)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            write!(f, "{separator}{account_id}={position}")?;
        }
        Ok(())
    }
}

impl FromStr for Positions {
    type Err = InvalidPositions;

    fn from_str(text: &str) -> Result<Self, InvalidPositions> {
        let position = |text: &str| {
            let (account_id, position) = text.split_once('=').ok_or(InvalidPositions)?;
            let account_id = account_id.parse().map_err(|_| InvalidPositions)?;
            Ok((account_id, position.parse().map_err(|_| InvalidPositions)?))
        };
        let all: Vec<_> =
            text.split(',').filter(|text| !text.is_empty()).map(position).collect::<Result<_, _>>()?;
        let count = all.len();
        let positions = Self(all.into_iter().collect());
        if positions.0.len() == count { Ok(positions) } else { Err(InvalidPositions) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back_and_nothing_else_does() {
        for good in ["", "a=1-1", "a:b-c=1767225600000-7,z=-1-2"] {
            assert_eq!(good.parse::<Positions>().unwrap().to_string(), good);
        }
        for bad in ["a", "a=", "=1-1", "a=1", "a=1-1;b=1-1", "a=1-1,a=1-2", "a=1-1,b"] {
            assert_eq!(bad.parse::<Positions>(), Err(InvalidPositions), "{bad:?}");
        }
    }
}
