//! The audit: walks accounts and their entries, and tells whatever is wrong.
//!
//! What is right and wrong is `bank_domain::audit`'s to say; this reads what it is said about.
//!
//! # While the bank is in use
//!
//! An account is checked up to the version that was read with it; what is written later is for the
//! next audit. Two accounts are from different instants, so of a transfer that was made in between
//! one side may be checked and the other not. That each entry has its other side is seen all the
//! same: a commit writes both at once, so whoever sees one finds the other in the store, beyond the
//! version that was checked or not.
//!
//! In the books such a transfer would show as money that came from nowhere. Both its sides have one
//! time: of those that were made more than five minutes before the audit began, both are in every
//! account that is read: the clocks of servers are within a minute of each other, with the largest
//! `clock.offset_ms_max`. They must come to nothing among themselves. Later ones are told as `transferred`, and
//! count as money that is under way.
//!
//! # Cost and bounds
//!
//! Every entry is read once, and once more if it is the other side of a transfer; an entry costs a
//! hash or two. Memory is bounded, however long the histories are: a few accounts at a time, with a
//! page of entries and a few look-ups each. News goes through a channel; where its reader is slow, the
//! audit is.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bank_domain::{
    Account, AccountId, Entry, EntryKind, MoneySum, Timestamp, TransactionId,
    audit::{Books, Extent, Fault, Mismatch, Sums, Verifier, match_sides},
};
use bank_store::{EntriesQuery, Store, StoreError};
use futures::{TryStreamExt as _, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::interval};

use crate::movement;

/// How long before the audit a transfer was made that must have both its sides on the books. Clocks of servers are
/// within two minutes of each other (`clock.offset_ms_max` is a minute at most), and a commit takes seconds.
const SETTLED_AFTER_MS: i64 = 5 * 60 * 1_000;
/// How many accounts are checked side by side.
const ACCOUNTS_IN_FLIGHT: usize = 8;
/// How many other sides of transfers are looked up side by side for one account.
const LOOKUPS_IN_FLIGHT: usize = 16;
/// How many ids of accounts are read at a time.
const IDS_PER_READ: usize = 1_000;
/// How many entries of an account are read at a time.
const ENTRIES_PER_READ: usize = 500;
/// The pause between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What is audited.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Every account.
    Bank,
    /// One account.
    Account(AccountId),
}

/// What an audit tells while it runs.
#[derive(Clone, Debug)]
pub enum News {
    /// How far it is.
    Progress(Progress),
    /// Something is wrong.
    Finding(Finding),
    /// It is done. Nothing comes after this.
    Summary(Box<Summary>),
}

/// How far an audit is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Accounts that have been checked.
    pub accounts: u64,
    /// How many there are, if the store can tell.
    pub accounts_total: Option<u64>,
    /// Entries that have been checked.
    pub entries: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    /// With which account; none for the bank as a whole.
    pub account_id: Option<AccountId>,
    /// The first entry that is wrong, if it is about entries.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Problem {
    /// With an account or its history.
    #[error(transparent)]
    History(#[from] Fault),
    /// An entry is from the future: some server's clock was wrong when it was written.
    #[error("it is dated {time}, ahead of the clock, which says {now}")]
    AheadOfClock {
        /// What it is dated.
        time: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// An account is in the list of accounts only.
    #[error("the account is in the list of accounts, and is not there")]
    AccountRemoved,
    /// Something is not as the bank writes it.
    #[error("{0}")]
    Unreadable(String),
    /// With the other side of a transfer.
    #[error("transfer {transaction_id}: {mismatch}")]
    Transfer {
        /// Which one.
        transaction_id: TransactionId,
        /// What is wrong.
        mismatch: Mismatch,
    },
    /// The other side of a transfer is not as the bank writes it.
    #[error("transfer {transaction_id}: the other side cannot be read: {reason}")]
    OtherSideUnreadable {
        /// Which one.
        transaction_id: TransactionId,
        /// What is wrong.
        reason: String,
    },
    /// The money of one currency does not add up.
    #[error("{}", unbalanced(.0))]
    Unbalanced(Box<Sums>),
}

fn unbalanced(sums: &Sums) -> String {
    let Sums { money_in, money_out, interest, transferred, settled, held } = sums;
    let excess = sums.excess();
    if excess.minor_units == 0 {
        return format!("transfers brought {} than they took, before the audit began", Difference(*settled));
    }
    format!(
        "{held} are held, {} than came in and did not go out: {money_in} in, {money_out} out, {interest} \
         interest, {transferred} by transfers",
        Difference(excess)
    )
}

/// How much more or less something is.
struct Difference(MoneySum);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MoneySum { currency, minor_units } = self.0;
        let word = if minor_units < 0 { "less" } else { "more" };
        write!(f, "{} {word}", MoneySum { currency, minor_units: minor_units.abs() })
    }
}

/// What an audit came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Accounts that were checked.
    pub accounts: u64,
    /// Entries that were checked.
    pub entries: u64,
    /// How many findings there were.
    pub findings: u64,
    /// What came in, went out and is held.
    pub books: Books,
    /// Whether that is of the whole bank.
    pub extent: Extent,
}

/// Why an audit did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such account.
    #[error("account {0} does not exist")]
    AccountNotFound(AccountId),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody takes the news any more.
    #[error("nobody listens")]
    NobodyListens,
}

/// Audits a store, and tells what it finds; the last of it is the summary.
///
/// Dropping the future ends the audit. Nothing is written at any time.
///
/// # Errors
/// [`Error`]; what is wrong with accounts is no error, but news.
pub async fn run(
    store: Arc<dyn Store>,
    scope: Scope,
    began_at: Timestamp,
    news: mpsc::Sender<News>,
) -> Result<(), Error> {
    let extent = match scope {
        Scope::Bank => Extent::Bank,
        Scope::Account(_) => Extent::Accounts,
    };
    let settled_before =
        Timestamp::try_from_unix_ms(began_at.unix_ms() - SETTLED_AFTER_MS).unwrap_or(Timestamp::MIN);
    let walk =
        Walk { store, news, settled_before, accounts_total: OnceLock::new(), counts: Counts::default() };
    let books = tokio::select! {
        books = walk.scope(scope) => books?,
        Err(error) = walk.report_progress() => return Err(error),
    };
    for sums in books.iter().filter(|sums| !sums.are_balanced(extent)) {
        walk.found(None, None, Problem::Unbalanced(Box::new(*sums))).await?;
    }
    walk.tell(News::Progress(walk.progress())).await?;
    let [accounts, entries, findings] =
        [&walk.counts.accounts, &walk.counts.entries, &walk.counts.findings].map(read);
    walk.tell(News::Summary(Box::new(Summary { accounts, entries, findings, books, extent }))).await
}

/// An account, or why it cannot be read.
type Loaded = Result<Option<Account>, String>;

/// One audit.
struct Walk {
    store: Arc<dyn Store>,
    news: mpsc::Sender<News>,
    settled_before: Timestamp,
    accounts_total: OnceLock<u64>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    accounts: AtomicU64,
    entries: AtomicU64,
    findings: AtomicU64,
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Walk {
    async fn scope(&self, scope: Scope) -> Result<Books, Error> {
        match scope {
            Scope::Bank => self.bank().await,
            Scope::Account(id) => {
                self.accounts_total.get_or_init(|| 1);
                match self.load(&id).await? {
                    Ok(None) => Err(Error::AccountNotFound(id)),
                    loaded => self.account(&id, loaded).await,
                }
            }
        }
    }

    async fn bank(&self) -> Result<Books, Error> {
        if let Some(count) = self.store.account_count().await.unwrap_or_default() {
            self.accounts_total.get_or_init(|| count);
        }
        let mut books = Books::default();
        let mut checking = FuturesUnordered::new();
        let mut after = None;
        loop {
            let ids = self.store.account_ids(after.as_ref(), IDS_PER_READ).await?;
            let is_last = ids.len() < IDS_PER_READ;
            after = ids.last().cloned();
            for id in ids {
                if checking.len() == ACCOUNTS_IN_FLIGHT
                    && let Some(of_account) = checking.try_next().await?
                {
                    books.merge(&of_account);
                }
                checking.push(self.listed_account(id));
            }
            if is_last {
                break;
            }
        }
        while let Some(of_account) = checking.try_next().await? {
            books.merge(&of_account);
        }
        Ok(books)
    }

    async fn listed_account(&self, id: AccountId) -> Result<Books, Error> {
        let loaded = self.load(&id).await?;
        self.account(&id, loaded).await
    }

    /// Checks an account, and tells what is on its books.
    async fn account(&self, id: &AccountId, loaded: Loaded) -> Result<Books, Error> {
        let mut books = Books::default();
        match loaded {
            Ok(Some(account)) => {
                books.hold(&account);
                self.history(&account, &mut books).await?;
            }
            Ok(None) => self.found(Some(id), None, Problem::AccountRemoved).await?,
            Err(reason) => self.found(Some(id), None, Problem::Unreadable(reason)).await?,
        }
        self.counts.accounts.fetch_add(1, Ordering::Relaxed);
        Ok(books)
    }

    async fn load(&self, id: &AccountId) -> Result<Loaded, Error> {
        match self.store.load(std::slice::from_ref(id)).await {
            Ok(mut accounts) => Ok(Ok(accounts.pop().flatten())),
            Err(StoreError::Corrupt(reason)) => Ok(Err(reason)),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks the entries of an account, and books them.
    async fn history(&self, account: &Account, books: &mut Books) -> Result<(), Error> {
        let mut verifier = Verifier::new(account);
        let mut query = EntriesQuery { limit: ENTRIES_PER_READ, ..EntriesQuery::all(account.id.clone()) };
        let (mut unreadable, mut is_ahead) = (None, false);
        while !verifier.has_newer() {
            let mut entries = match self.store.entries(&query).await {
                Ok(entries) => entries,
                // One of them cannot be read: which one?
                Err(StoreError::Corrupt(_)) if query.limit > 1 => {
                    query.limit = 1;
                    continue;
                }
                Err(StoreError::Corrupt(reason)) => {
                    unreadable = Some(reason);
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let is_last = entries.len() < query.limit;
            query.after = entries.last().map(Entry::id).or(query.after);
            for entry in &entries {
                verifier.check(entry);
            }
            entries.retain(|entry| entry.sequence <= account.version);
            // Time never runs backwards in a history, so the first one stands for those after it. An audit takes its
            // time, and entries are written meanwhile: they are held against the time at which they were read.
            let (now, ahead_max) = (self.store.clock().estimate(), self.store.clock().ahead_max());
            let ahead = entries.iter().find(|entry| entry.time.is_ahead_of(now, ahead_max));
            if let Some(Entry { sequence, time, .. }) = ahead.filter(|_| !is_ahead) {
                is_ahead = true;
                let problem = Problem::AheadOfClock { time: *time, now };
                self.found(Some(&account.id), Some(*sequence), problem).await?;
            }
            for entry in &entries {
                books.book(entry, self.settled_before);
            }
            self.counts.entries.fetch_add(entries.len() as u64, Ordering::Relaxed);
            self.transfers(&entries).await?;
            if is_last {
                break;
            }
        }

        let id = Some(&account.id);
        let next = verifier.verified() + 1;
        let (has_fault, has_newer) = (verifier.has_fault(), verifier.has_newer());
        match (unreadable, verifier.finish()) {
            (Some(reason), _) if !has_fault => self.found(id, Some(next), Problem::Unreadable(reason)).await,
            (_, Err(fault)) => self.found(id, fault.sequence(), fault.into()).await,
            (_, Ok(())) if has_newer => self.newer(account, next).await,
            (_, Ok(())) => Ok(()),
        }
    }

    /// Makes sure that an entry beyond the version that was read belongs to a later one.
    async fn newer(&self, account: &Account, sequence: u64) -> Result<(), Error> {
        if let Ok(Some(later)) = self.load(&account.id).await?
            && later.version >= sequence
        {
            return Ok(());
        }
        let fault = Fault::Inserted { sequence };
        self.found(Some(&account.id), fault.sequence(), fault.into()).await
    }

    /// Looks for the other side of each transfer.
    async fn transfers(&self, entries: &[Entry]) -> Result<(), Error> {
        let mut looking = FuturesUnordered::new();
        for entry in entries.iter().filter(|entry| entry.kind.counterparty().is_some()) {
            if looking.len() == LOOKUPS_IN_FLIGHT {
                looking.try_next().await?;
            }
            looking.push(self.transfer(entry));
        }
        while looking.try_next().await?.is_some() {}
        Ok(())
    }

    async fn transfer(&self, entry: &Entry) -> Result<(), Error> {
        let transaction_id = entry.transaction_id.clone();
        let other = match &entry.kind {
            EntryKind::TransferOut { destination } => {
                movement::entry_on(&*self.store, destination, &transaction_id).await
            }
            _ => movement::primary_entry(&*self.store, &transaction_id).await,
        };
        let problem = match other {
            Ok(other) => match match_sides(entry, other.as_ref()) {
                Ok(()) => return Ok(()),
                Err(mismatch) => Problem::Transfer { transaction_id, mismatch },
            },
            Err(StoreError::Corrupt(reason)) => Problem::OtherSideUnreadable { transaction_id, reason },
            Err(error) => return Err(error.into()),
        };
        self.found(Some(&entry.account_id), Some(entry.sequence), problem).await
    }

    async fn found(
        &self,
        account_id: Option<&AccountId>,
        sequence: Option<u64>,
        problem: Problem,
    ) -> Result<(), Error> {
        self.counts.findings.fetch_add(1, Ordering::Relaxed);
        // Without the problem: it names amounts, which are not for the log.
        let account = account_id.map(AccountId::as_str);
        tracing::error!(account, sequence, "an audit has found something wrong");
        self.tell(News::Finding(Finding { account_id: account_id.cloned(), sequence, problem })).await
    }

    fn progress(&self) -> Progress {
        let Counts { accounts, entries, .. } = &self.counts;
        Progress {
            accounts: read(accounts),
            accounts_total: self.accounts_total.get().copied(),
            entries: read(entries),
        }
    }

    async fn report_progress(&self) -> Result<Infallible, Error> {
        let mut ticks = interval(PROGRESS_INTERVAL);
        loop {
            ticks.tick().await;
            self.tell(News::Progress(self.progress())).await?;
        }
    }

    async fn tell(&self, news: News) -> Result<(), Error> {
        self.news.send(news).await.map_err(|_| Error::NobodyListens)
    }
}
