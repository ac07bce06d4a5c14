//! Exports a bank.

use std::{collections::VecDeque, sync::Arc};

use bank_domain::{Account, AccountId, Entry, audit::Verifier};
use bank_store::{
    Backup, EntriesQuery, Placement, RecordedOutcome, RequestKey, RequestRecord, RequestsQuery, Store,
    StoreError,
};
use futures::{TryStreamExt as _, stream::FuturesOrdered};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{
    Counters, Counts, Error, add,
    line::{End, Header, Line, checksum},
    without_backup,
};
use crate::progress;

/// About how many bytes are sent at a time.
const DATA_BYTES: usize = 64 * 1024;
/// How many accounts are read before their request records.
const ACCOUNTS_PER_SECTION: usize = 10_000;
/// How many accounts are read at a time.
const ACCOUNTS_PER_READ: usize = 1_000;
/// How many entries of an account are read at a time.
const ENTRIES_PER_READ: usize = 500;
/// For how many accounts the first entries are read concurrently.
const ACCOUNTS_IN_FLIGHT: usize = 8;
/// How many records of requests are read at a time.
const REQUESTS_PER_READ: usize = 100_000;

/// What an export sends.
#[derive(Clone, Debug)]
pub enum ExportNews {
    /// The next bytes of the file.
    Data(Vec<u8>),
    /// The lines so far, and the number of accounts, if the store can count them.
    Progress(Counts, Option<u64>),
    /// The export is complete. Nothing follows.
    Summary(ExportSummary),
}

/// The result of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSummary {
    /// The lines of the file.
    pub counts: Counts,
    /// Whether no account changed during the export.
    pub of_one_instant: bool,
}

/// Exports a bank, and sends the file. The summary comes last.
///
/// Dropping the future stops the export. Nothing is written to the store.
///
/// # Errors
/// [`Error`], for example if a history fails verification; an audit reports the details.
pub async fn export(store: Arc<dyn Store>, news: mpsc::Sender<ExportNews>) -> Result<(), Error> {
    let backup = store.backup().ok_or_else(without_backup)?;
    let counters = Counters::default();
    let accounts_total = store.account_count().await?;
    let progress = || ExportNews::Progress(counters.counts(), accounts_total);
    let mut writer = Writer {
        news: &news,
        counters: &counters,
        data: Vec::with_capacity(DATA_BYTES),
        digest: Sha256::new(),
    };
    let exporter = Exporter { store: &*store, backup, placement: store.placement() };
    let of_one_instant = tokio::select! {
        done = exporter.all(&mut writer) => done?,
        gone = progress::report(&news, &progress) => return Err(gone.into()),
    };
    news.send(progress()).await?;
    let summary = ExportSummary { counts: counters.counts(), of_one_instant };
    Ok(news.send(ExportNews::Summary(summary)).await?)
}

/// Sends the file.
struct Writer<'a> {
    news: &'a mpsc::Sender<ExportNews>,
    counters: &'a Counters,
    data: Vec<u8>,
    digest: Sha256,
}

impl Writer<'_> {
    async fn line(&mut self, line: Line) -> Result<(), Error> {
        let count = match &line {
            Line::Account(_) => Some(&self.counters.accounts),
            Line::Entry(_) => Some(&self.counters.entries),
            Line::Request(_) => Some(&self.counters.requests),
            Line::Backup(_) | Line::End(_) => None,
        };
        let bytes = line.to_bytes();
        self.digest.update(&bytes);
        self.data.extend(bytes);
        if let Some(count) = count {
            add(count, 1);
        }
        if self.data.len() >= DATA_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn end(&mut self) -> Result<(), Error> {
        let Counts { accounts, entries, requests } = self.counters.counts();
        let sha256 = checksum(self.digest.clone());
        self.line(Line::End(End { accounts, entries, requests, sha256 })).await?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let data = std::mem::replace(&mut self.data, Vec::with_capacity(DATA_BYTES));
        Ok(self.news.send(ExportNews::Data(data)).await?)
    }
}

struct Exporter<'a> {
    store: &'a dyn Store,
    backup: &'a dyn Backup,
    placement: Placement,
}

impl Exporter<'_> {
    /// Exports everything. Returns whether no account changed meanwhile.
    async fn all(&self, writer: &mut Writer<'_>) -> Result<bool, Error> {
        writer.line(Line::Backup(Header::of(self.placement))).await?;
        let mut heads = Sha256::new();
        let mut after = None;
        loop {
            let (section, is_last) = self.section(after.as_ref()).await?;
            note_heads(&mut heads, &section);
            let through = section.last().map(|account| account.id.clone()).filter(|_| !is_last);
            let mut requests = Requests::new(self, after, through.clone());
            for accounts in section.chunks(ACCOUNTS_IN_FLIGHT) {
                let mut reading = FuturesOrdered::new();
                for account in accounts {
                    reading.push_back(self.entries_after(account, None));
                }
                let first_entries: Vec<_> = reading.try_collect().await?;
                for (account, entries) in accounts.iter().zip(first_entries) {
                    requests.write_of_absent(Some(&account.id), writer).await?;
                    writer.line(Line::Account(Box::new(account.clone()))).await?;
                    self.history(account, entries, writer).await?;
                    requests.write_of(account, writer).await?;
                }
            }
            if is_last {
                requests.write_of_absent(None, writer).await?;
                break;
            }
            after = through;
        }
        writer.end().await?;
        Ok(heads.finalize() == self.heads().await?.finalize())
    }

    /// The next accounts, and whether they are the last.
    async fn section(&self, after: Option<&AccountId>) -> Result<(Vec<Account>, bool), Error> {
        let mut section: Vec<Account> = Vec::new();
        let mut after = after.cloned();
        while section.len() < ACCOUNTS_PER_SECTION {
            let accounts = self.accounts(after.as_ref()).await?;
            let is_last = accounts.len() < ACCOUNTS_PER_READ;
            section.extend(accounts);
            if is_last {
                return Ok((section, true));
            }
            after = section.last().map(|account| account.id.clone());
        }
        Ok((section, false))
    }

    async fn accounts(&self, after: Option<&AccountId>) -> Result<Vec<Account>, Error> {
        let ids = self.store.account_ids(after, ACCOUNTS_PER_READ).await?;
        let accounts = self.store.load(&ids).await?.into_iter().zip(&ids);
        let there = accounts.map(|(account, id)| {
            let gone = || StoreError::Corrupt(format!("account {id} is in the list of accounts only"));
            Ok(account.ok_or_else(gone)?)
        });
        there.collect()
    }

    /// A hash that changes with every account.
    async fn heads(&self) -> Result<Sha256, Error> {
        let mut heads = Sha256::new();
        let mut after = None;
        loop {
            let accounts = self.accounts(after.as_ref()).await?;
            note_heads(&mut heads, &accounts);
            if accounts.len() < ACCOUNTS_PER_READ {
                return Ok(heads);
            }
            after = accounts.last().map(|account| account.id.clone());
        }
    }

    /// Entries of an account after another one, up to the version that was read.
    async fn entries_after(&self, account: &Account, after: Option<&Entry>) -> Result<Vec<Entry>, Error> {
        let query = EntriesQuery {
            after: after.map(Entry::id),
            limit: ENTRIES_PER_READ,
            ..EntriesQuery::all(account.id.clone())
        };
        let mut entries = self.store.entries(&query).await?;
        entries.retain(|entry| entry.sequence <= account.version);
        Ok(entries)
    }

    async fn history(
        &self,
        account: &Account,
        mut entries: Vec<Entry>,
        writer: &mut Writer<'_>,
    ) -> Result<(), Error> {
        let mut verifier = Verifier::new(account);
        while let Some(last) = entries.last().cloned() {
            for entry in entries {
                verifier.check(&entry);
                writer.line(Line::Entry(Box::new(entry))).await?;
            }
            if last.sequence >= account.version || verifier.has_fault() {
                break;
            }
            entries = self.entries_after(account, Some(&last)).await?;
        }
        verifier
            .finish()
            .map_err(|fault| Error::Store(StoreError::Corrupt(format!("account {}: {fault}", account.id))))
    }
}

fn note_heads(heads: &mut Sha256, accounts: &[Account]) {
    for account in accounts {
        heads.update(account.id.as_str());
        heads.update([0]);
        heads.update(account.head.as_bytes());
    }
}

/// The request records of a section, page by page. They are read after its accounts.
struct Requests<'a> {
    exporter: &'a Exporter<'a>,
    query: RequestsQuery,
    page: VecDeque<(RequestKey, RequestRecord)>,
    is_last: bool,
}

impl<'a> Requests<'a> {
    fn new(exporter: &'a Exporter<'a>, after: Option<AccountId>, through: Option<AccountId>) -> Self {
        let query = RequestsQuery {
            after_account: after,
            through_account: through,
            after: None,
            limit: REQUESTS_PER_READ,
        };
        Self { exporter, query, page: VecDeque::new(), is_last: false }
    }

    /// Exports the records of accounts that are not in the file, up to the next account: rejections only. Executed
    /// requests on such an account are later than the list of accounts.
    async fn write_of_absent(
        &mut self,
        next: Option<&AccountId>,
        writer: &mut Writer<'_>,
    ) -> Result<(), Error> {
        let placement = self.exporter.placement;
        let is_before =
            |id: &AccountId, other: &AccountId| (placement.of(id), id) < (placement.of(other), other);
        while let Some(request) = self.next_if(|id| next.is_none_or(|next| is_before(id, next))).await? {
            if matches!(request.1.outcome, RecordedOutcome::Rejected(_)) {
                writer.line(Line::Request(Box::new(request.into()))).await?;
            }
        }
        Ok(())
    }

    /// Exports the records of an account, without those of entries beyond its version.
    async fn write_of(&mut self, account: &Account, writer: &mut Writer<'_>) -> Result<(), Error> {
        while let Some(request) = self.next_if(|id| *id == account.id).await? {
            let is_later = matches!(request.1.outcome, RecordedOutcome::Entry(entry) if entry.sequence > account.version);
            if !is_later {
                writer.line(Line::Request(Box::new(request.into()))).await?;
            }
        }
        Ok(())
    }

    async fn next_if(
        &mut self,
        wanted: impl Fn(&AccountId) -> bool,
    ) -> Result<Option<(RequestKey, RequestRecord)>, Error> {
        if self.page.is_empty() && !self.is_last {
            let page = self.exporter.backup.requests(&self.query).await?;
            self.is_last = page.len() < self.query.limit;
            self.query.after = page.last().map(|(key, _)| key.clone());
            self.page = page.into();
        }
        let is_wanted = self.page.front().is_some_and(|(key, _)| wanted(&key.account_id));
        Ok(if is_wanted { self.page.pop_front() } else { None })
    }
}
