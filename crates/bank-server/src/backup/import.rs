//! Imports a file into an empty bank.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use bank_domain::{Account, AccountId, Entry, EntryId, audit::Verifier};
use bank_store::{
    Backup, HistoryPart, ImportBatch, ImportId, ImportStart, Placement, RecordedOutcome, RequestKey, Store,
    StoreError, clock::Timekeeper,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    Counters, Counts, Error, add,
    line::{End, Line, Request, VERSION, VERSION_BY_ACCOUNT_ID},
    reader::Reader,
    without_backup,
};
use crate::progress;

/// How many entries and records are written at a time.
const LINES_PER_WRITE: usize = 1_000;
/// How long a write is retried while the store is unavailable, or the outcome unknown.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before a retry.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What an import sends.
#[derive(Clone, Debug)]
pub enum ImportNews {
    /// The bytes and lines read so far.
    Progress(u64, Counts),
    /// The import is complete and the bank serves. Nothing follows.
    Summary(Counts),
}

/// Imports a file into an empty bank. The summary comes last.
///
/// After a refused file the bank is empty again. Dropping the future interrupts the import: the bank serves nobody
/// until the next one.
///
/// # Errors
/// [`Error`], with the first wrong line.
pub async fn import(
    store: Arc<dyn Store>,
    data: mpsc::Receiver<Vec<u8>>,
    news: mpsc::Sender<ImportNews>,
) -> Result<(), Error> {
    let backup = store.backup().ok_or_else(without_backup)?;
    let (import, counters, clock) = (ImportId::random(), Counters::default(), store.clock());
    clock.now()?;
    if persist(|| backup.begin_import(&import)).await? == ImportStart::NotEmpty {
        return Err(Error::NotEmpty);
    }
    tracing::info!(%import, "an import begins: the bank serves nobody until it is complete");
    let progress = || ImportNews::Progress(counters.bytes.load(Ordering::Relaxed), counters.counts());
    let mut importer = Importer {
        backup,
        import: &import,
        placement: store.placement(),
        clock,
        counters: &counters,
        reader: Reader::new(data),
        batch: ImportBatch::default(),
        batch_lines: 0,
        position: None,
    };
    let filled = tokio::select! {
        filled = importer.all() => filled,
        gone = progress::report(&news, &progress) => return Err(gone.into()),
    };
    if let Err(error) = filled {
        tracing::error!(%import, %error, "an import has failed: the bank is emptied again");
        if let Err(error) = persist(|| backup.abandon_import(&import)).await {
            tracing::error!(%import, %error, "the bank could not be emptied: it serves nobody");
        }
        return Err(error);
    }
    persist(|| backup.finish_import(&import)).await?;
    let Counts { accounts, entries, requests } = counters.counts();
    tracing::info!(%import, accounts, entries, requests, "an import is complete: the bank serves");
    news.send(progress()).await?;
    Ok(news.send(ImportNews::Summary(counters.counts())).await?)
}

/// Retries a call while the store is unavailable, or the outcome unknown.
async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
    call: impl Fn() -> F,
) -> Result<T, StoreError> {
    let give_up_at = Instant::now() + RETRY_TIMEOUT;
    loop {
        match call().await {
            Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
                if Instant::now() < give_up_at =>
            {
                sleep(RETRY_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// The position of a line: an account precedes the records that name it.
type Position = (u32, AccountId, Option<RequestKey>);

struct Importer<'a> {
    backup: &'a dyn Backup,
    import: &'a ImportId,
    /// Of the bank that was exported, which determines the order of its accounts.
    placement: Placement,
    clock: &'a Timekeeper,
    counters: &'a Counters,
    reader: Reader,
    batch: ImportBatch,
    batch_lines: usize,
    position: Option<Position>,
}

impl Importer<'_> {
    /// Imports the whole file.
    async fn all(&mut self) -> Result<(), Error> {
        self.header().await?;
        let mut last_account = None;
        let mut line = self.line().await?;
        loop {
            line = match line {
                Line::Account(account) => {
                    self.advance(&account.id, None)?;
                    last_account = Some(account.id.clone());
                    self.history(&account).await?
                }
                Line::Request(request) => {
                    self.request(*request, last_account.as_ref()).await?;
                    self.line().await?
                }
                Line::End(end) => {
                    self.check_end(&end)?;
                    break;
                }
                Line::Backup(_) => return Err(self.reader.damaged("is a second header")),
                Line::Entry(_) => return Err(self.reader.damaged("is an entry that no account is before")),
            };
        }
        if self.reader.bytes().await?.is_some() {
            return Err(self.reader.damaged("comes after the last line"));
        }
        self.write().await
    }

    async fn line(&mut self) -> Result<Line, Error> {
        let line = self.reader.line().await?;
        self.counters.bytes.store(self.reader.bytes_read(), Ordering::Relaxed);
        Ok(line)
    }

    async fn header(&mut self) -> Result<(), Error> {
        #[derive(serde::Deserialize)]
        struct AnyVersion {
            backup: Version,
        }
        #[derive(serde::Deserialize)]
        struct Version {
            version: u32,
        }

        let bytes = self.reader.bytes().await?.unwrap_or_default().to_vec();
        let Ok(AnyVersion { backup: Version { version } }) = serde_json::from_slice(&bytes) else {
            return Err(self.reader.damaged("is not the header of a file that `bank export` has written"));
        };
        if ![VERSION_BY_ACCOUNT_ID, VERSION].contains(&version) {
            let problem = format!(
                "says that the file is of version {version}; this server reads {VERSION_BY_ACCOUNT_ID} and {VERSION}"
            );
            return Err(self.reader.damaged(problem));
        }
        let header = Line::from_bytes(&bytes).map_err(|problem| self.reader.damaged(problem))?;
        let placement = match header {
            Line::Backup(header) => header.placement(),
            _ => None,
        };
        self.placement = placement.ok_or_else(|| self.reader.damaged("is not a header"))?;
        Ok(())
    }

    /// Imports the entries of an account. Returns the line that follows them.
    async fn history(&mut self, account: &Account) -> Result<Line, Error> {
        add(&self.counters.accounts, 1);
        let mut verifier = Verifier::new(account);
        let mut part = Vec::new();
        let next = loop {
            let entry = match self.line().await? {
                Line::Entry(entry) => *entry,
                other => break other,
            };
            verifier.check(&entry);
            if entry.account_id != account.id || verifier.has_newer() {
                let problem = format!("is an entry that account {} does not have", account.id);
                return Err(self.reader.damaged(problem));
            }
            let now = self.clock.estimate();
            if entry.time.is_ahead_of(now, self.clock.ahead_max()) {
                let EntryId { time, sequence } = entry.id();
                return Err(self.reader.damaged(format!(
                    "is entry {sequence} of account {}, dated {time}: that is ahead of the clock, which says {now}",
                    account.id
                )));
            }
            if verifier.has_fault() {
                break Line::Entry(Box::new(entry));
            }
            add(&self.counters.entries, 1);
            self.batch_lines += 1;
            part.push(entry);
            if self.batch_lines >= LINES_PER_WRITE {
                self.add_part(account, &mut part);
                self.write().await?;
            }
        };
        let verdict = verifier.finish().map_err(|fault| fault.to_string());
        let verdict = verdict
            .and_then(|()| if account.version == 0 { Err("it has no entries".to_owned()) } else { Ok(()) });
        if let Err(fault) = verdict {
            let problem =
                format!("shows that account {} is not what the bank has written: {fault}", account.id);
            return Err(self.reader.damaged(problem));
        }
        self.add_part(account, &mut part);
        Ok(next)
    }

    fn add_part(&mut self, account: &Account, part: &mut Vec<Entry>) {
        if !part.is_empty() {
            let entries = std::mem::take(part);
            self.batch.histories.push(HistoryPart { account: account.clone(), entries });
        }
    }

    async fn request(&mut self, request: Request, last_account: Option<&AccountId>) -> Result<(), Error> {
        let (key, record) = request.try_into().map_err(|problem| self.reader.damaged(problem))?;
        self.advance(&key.account_id, Some(&key))?;
        if matches!(record.outcome, RecordedOutcome::Entry(_)) && last_account != Some(&key.account_id) {
            return Err(self.reader.damaged("is the record of an entry of an account that is not before it"));
        }
        add(&self.counters.requests, 1);
        self.batch_lines += 1;
        self.batch.requests.push((key, record));
        if self.batch_lines >= LINES_PER_WRITE { self.write().await } else { Ok(()) }
    }

    /// Checks that a line is in order.
    fn advance(&mut self, account_id: &AccountId, request: Option<&RequestKey>) -> Result<(), Error> {
        let position = (self.placement.of(account_id), account_id.clone(), request.cloned());
        if self.position.as_ref().is_some_and(|before| *before >= position) {
            return Err(self.reader.damaged("is not in its place: those before it should come after it"));
        }
        self.position = Some(position);
        Ok(())
    }

    fn check_end(&self, end: &End) -> Result<(), Error> {
        let Counts { accounts, entries, requests } = self.counters.counts();
        for (what, said, found) in [
            ("accounts", end.accounts, accounts),
            ("entries", end.entries, entries),
            ("records of requests", end.requests, requests),
        ] {
            if said != found {
                return Err(self
                    .reader
                    .damaged(format!("says that there are {said} {what}; there are {found}")));
            }
        }
        if end.sha256 != self.reader.digest() {
            return Err(self
                .reader
                .damaged("has another checksum than the lines before it: one was changed"));
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Error> {
        self.batch_lines = 0;
        let batch = std::mem::take(&mut self.batch);
        let (backup, import) = (self.backup, self.import);
        match persist(|| backup.import(import, &batch)).await {
            // The store is filled from the file alone.
            Err(StoreError::Corrupt(what)) => {
                Err(self.reader.damaged(format!("or one before it is wrong: {what}")))
            }
            result => Ok(result?),
        }
    }
}
