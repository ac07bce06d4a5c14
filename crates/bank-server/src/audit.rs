//! The audit: reads every account and entry, and reports what is wrong.
//!
//! `bank_domain::audit` has the rules; this reads what they are applied to.
//!
//! # While the bank is in use
//!
//! An account is checked up to the version that it had when it was read. Two accounts are read at different times, so
//! one side of a transfer in between may be checked and the other not. Its other side is still found, since a commit
//! writes both at once.
//!
//! In the sums such a transfer would look like money from nowhere. Both sides have the same time, and clocks of servers
//! are at most a minute off (`clock.offset_ms_max`), so both sides of every transfer from more than five minutes
//! before the audit are in the accounts that it reads. These must add up to zero. Later ones are reported as
//! `transferred`, as money in transit.
//!
//! # Cost and bounds
//!
//! Every entry is read once, and once more as the other side of a transfer, and costs one or two hashes. Memory is
//! bounded for histories of any length: a few accounts at a time, each with a page of entries and a few look-ups.
//! Findings go through a channel, so a slow reader slows the audit.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bank_domain::{
    Account, AccountId, Entry, EntryKind, MoneySum, Timestamp, TransactionId,
    audit::{Books, Extent, Fault, Mismatch, Sums, Verifier, match_sides},
};
use bank_store::{EntriesQuery, Store, StoreError};
use futures::{TryStreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc::{self, error::SendError};

use crate::{movement, progress};

/// How long before the audit a transfer was made whose sides must both be in the sums. Clocks of servers are at most
/// two minutes apart (`clock.offset_ms_max` is a minute at most), and a commit takes seconds.
const SETTLED_AFTER_MS: i64 = 5 * 60 * 1_000;
/// How many accounts are checked concurrently.
const ACCOUNTS_IN_FLIGHT: usize = 8;
/// How many other sides of transfers are looked up concurrently for one account.
const LOOKUPS_IN_FLIGHT: usize = 16;
const IDS_PER_READ: usize = 1_000;
const ENTRIES_PER_READ: usize = 500;

/// What an audit sends while it runs.
#[derive(Clone, Debug)]
pub enum News {
    /// How far it is.
    Progress(Progress),
    /// Something is wrong.
    Finding(Finding),
    /// The audit is complete. Nothing follows.
    Summary(Box<Summary>),
}

/// How far an audit is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Accounts checked so far.
    pub accounts: u64,
    /// All accounts, if the store can count them.
    pub accounts_total: Option<u64>,
    /// Entries checked so far.
    pub entries: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The account; none for the bank as a whole.
    pub account_id: Option<AccountId>,
    /// The first wrong entry, if the problem is with entries.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Problem {
    /// An account or its history breaks a rule.
    #[error(transparent)]
    History(#[from] Fault),
    /// An entry is from the future: the clock of some server was wrong when it was written.
    #[error("it is dated {time}, ahead of the clock, which says {now}")]
    AheadOfClock {
        /// The time of the entry.
        time: Timestamp,
        /// The clock of this server.
        now: Timestamp,
    },
    /// The list of accounts has an account that does not exist.
    #[error("the account is in the list of accounts, and does not exist")]
    AccountRemoved,
    /// Stored bytes are not what the bank writes.
    #[error("{0}")]
    Unreadable(String),
    /// The other side of a transfer is missing or differs.
    #[error("transfer {transaction_id}: {mismatch}")]
    Transfer {
        /// The transfer.
        transaction_id: TransactionId,
        /// How the sides differ.
        mismatch: Mismatch,
    },
    /// The other side of a transfer is not what the bank writes.
    #[error("transfer {transaction_id}: the other side cannot be read: {reason}")]
    OtherSideUnreadable {
        /// The transfer.
        transaction_id: TransactionId,
        /// What is wrong with the other side.
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

/// Displays a sum as "$1.00 more" or "$1.00 less".
struct Difference(MoneySum);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MoneySum { currency, minor_units } = self.0;
        let word = if minor_units < 0 { "less" } else { "more" };
        write!(f, "{} {word}", MoneySum { currency, minor_units: minor_units.abs() })
    }
}

/// The result of an audit.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Accounts checked.
    pub accounts: u64,
    /// Entries checked.
    pub entries: u64,
    /// Findings sent.
    pub findings: u64,
    /// The sums of each currency.
    pub books: Books,
    /// Whether the sums are of the whole bank.
    pub extent: Extent,
}

/// Why an audit did not complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The account does not exist.
    #[error("account {0} does not exist")]
    AccountNotFound(AccountId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The receiver of the news was dropped.
    #[error("the caller is gone")]
    CallerGone,
}

impl<T> From<SendError<T>> for Error {
    fn from(_: SendError<T>) -> Self {
        Self::CallerGone
    }
}

/// Audits one account, or the whole bank, and sends what it finds. The summary comes last.
///
/// Dropping the future stops the audit. Nothing is ever written.
///
/// # Errors
/// [`Error`]. What is wrong with accounts is not an error but a finding.
pub async fn run(
    store: Arc<dyn Store>,
    account_id: Option<AccountId>,
    began_at: Timestamp,
    news: mpsc::Sender<News>,
) -> Result<(), Error> {
    let extent = if account_id.is_none() { Extent::Bank } else { Extent::Accounts };
    let settled_before =
        Timestamp::try_from_unix_ms(began_at.unix_ms() - SETTLED_AFTER_MS).unwrap_or(Timestamp::MIN);
    let audit =
        Audit { store, news, settled_before, accounts_total: OnceLock::new(), counts: Counts::default() };
    let books = tokio::select! {
        books = audit.books(account_id) => books?,
        gone = progress::report(&audit.news, || News::Progress(audit.progress())) => return Err(gone.into()),
    };
    for sums in books.iter().filter(|sums| !sums.are_balanced(extent)) {
        audit.found(None, None, Problem::Unbalanced(Box::new(*sums))).await?;
    }
    let progress = audit.progress();
    audit.news.send(News::Progress(progress)).await?;
    let Progress { accounts, entries, .. } = progress;
    let findings = audit.counts.findings.load(Ordering::Relaxed);
    let summary = Summary { accounts, entries, findings, books, extent };
    Ok(audit.news.send(News::Summary(Box::new(summary))).await?)
}

/// An account, or why it cannot be read.
type Loaded = Result<Option<Account>, String>;

struct Audit {
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

impl Audit {
    async fn books(&self, account_id: Option<AccountId>) -> Result<Books, Error> {
        let Some(id) = account_id else { return self.bank().await };
        self.accounts_total.get_or_init(|| 1);
        match self.load(&id).await? {
            Ok(None) => Err(Error::AccountNotFound(id)),
            loaded => self.account(&id, loaded).await,
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
                    && let Some(checked) = checking.try_next().await?
                {
                    books.merge(&checked);
                }
                checking.push(async move { self.account(&id, self.load(&id).await?).await });
            }
            if is_last {
                break;
            }
        }
        while let Some(checked) = checking.try_next().await? {
            books.merge(&checked);
        }
        Ok(books)
    }

    /// Checks an account, and returns its sums.
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

    /// Checks the entries of an account, and adds them to the sums.
    async fn history(&self, account: &Account, books: &mut Books) -> Result<(), Error> {
        let id = Some(&account.id);
        let mut verifier = Verifier::new(account);
        let mut query = EntriesQuery { limit: ENTRIES_PER_READ, ..EntriesQuery::all(account.id.clone()) };
        let (mut unreadable, mut is_ahead) = (None, false);
        while !verifier.has_newer() {
            let mut entries = match self.store.entries(&query).await {
                Ok(entries) => entries,
                // One of them cannot be read. Read them one by one to find out which.
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
            // Times never decrease within a history, so only the first one that is ahead is reported. The clock is read
            // here because entries are also written during the audit.
            let (now, ahead_max) = (self.store.clock().estimate(), self.store.clock().ahead_max());
            let ahead = entries.iter().find(|entry| entry.time.is_ahead_of(now, ahead_max));
            if let Some(Entry { sequence, time, .. }) = ahead.filter(|_| !is_ahead) {
                is_ahead = true;
                self.found(id, Some(*sequence), Problem::AheadOfClock { time: *time, now }).await?;
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

        let next = verifier.verified() + 1;
        let (has_fault, has_newer) = (verifier.has_fault(), verifier.has_newer());
        match (unreadable, verifier.finish()) {
            (Some(reason), _) if !has_fault => self.found(id, Some(next), Problem::Unreadable(reason)).await,
            (_, Err(fault)) => self.found(id, fault.sequence(), fault.into()).await,
            (_, Ok(())) if has_newer => self.newer(account, next).await,
            (_, Ok(())) => Ok(()),
        }
    }

    /// Checks that an entry beyond the version that was read belongs to a later version.
    async fn newer(&self, account: &Account, sequence: u64) -> Result<(), Error> {
        if let Ok(Some(later)) = self.load(&account.id).await?
            && later.version >= sequence
        {
            return Ok(());
        }
        self.found(Some(&account.id), Some(sequence), Fault::Inserted { sequence }.into()).await
    }

    /// Checks the transfers among entries against their other sides.
    async fn transfers(&self, entries: &[Entry]) -> Result<(), Error> {
        let mut checking = FuturesUnordered::new();
        for entry in entries.iter().filter(|entry| entry.kind.counterparty().is_some()) {
            if checking.len() == LOOKUPS_IN_FLIGHT {
                checking.try_next().await?;
            }
            checking.push(self.transfer(entry));
        }
        while checking.try_next().await?.is_some() {}
        Ok(())
    }

    /// Checks a side of a transfer against the other one.
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
        // Without the problem: it names amounts, which do not belong in the log.
        let account = account_id.map(AccountId::as_str);
        tracing::error!(account, sequence, "the audit found a problem");
        let finding = Finding { account_id: account_id.cloned(), sequence, problem };
        Ok(self.news.send(News::Finding(finding)).await?)
    }

    fn progress(&self) -> Progress {
        let Counts { accounts, entries, .. } = &self.counts;
        Progress {
            accounts: accounts.load(Ordering::Relaxed),
            accounts_total: self.accounts_total.get().copied(),
            entries: entries.load(Ordering::Relaxed),
        }
    }
}
