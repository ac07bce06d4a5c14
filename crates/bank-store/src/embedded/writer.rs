//! The open file, and the one thread that writes to it.
//!
//! All writes go through one thread, one transaction each, so that no async worker waits for the
//! disk, and a write whose caller is gone is carried out all the same. Reads see the last commit.
//!
//! After a write has failed, redb lets nothing more into the file until it is opened again. The
//! thread does that, at once and then again and again, until it can: the bank comes back by itself.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use redb::{CommitError, Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};
use tokio::sync::oneshot;

use super::{
    EmbeddedOptions,
    ages::Ages,
    commit::{After, Before},
    file::{self, Identity, damaged, storage_error},
    heads::{Recent, Remembered},
    medium::Medium,
    requests::Retention,
    tables::{META, REQUESTS, WriteTables},
};
use crate::{StoreError, clock::Timekeeper, partition::Partitions};

/// How many writes may wait for the thread. A server has two commits under way at most.
const WRITES_WAITING_MAX: usize = 1024;
/// The pause before a file that could not be opened again is tried once more.
const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(250);

/// The file, as all of this process use it.
pub(super) struct OpenFile {
    medium: Box<dyn Medium>,
    options: EmbeddedOptions,
    identity: Identity,
    ages: Ages,
    state: RwLock<State>,
}

/// All that is committed at one instant, to read.
pub(super) struct Snapshot {
    pub(super) transaction: ReadTransaction,
    pub(super) recent: Recent,
    pub(super) partitions: Partitions,
}

/// A database that can be used.
struct Open {
    /// As the last commit left it.
    snapshot: RwLock<Arc<Snapshot>>,
    remembered: Mutex<Remembered>,
    database: Database,
}

enum State {
    Open(Open),
    /// It has to be opened again first: why.
    Failed(StoreError),
    Closed,
}

impl OpenFile {
    /// Opens the file, or makes it.
    pub(super) fn open(medium: Box<dyn Medium>, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        let (database, identity) = file::open_or_found(&*medium, options)?;
        file::require_past(&database, &medium.name(), options)?;
        let open = Open::new(database, &identity, options)?;
        let retention = retention(&identity, options);
        let transaction = &open.snapshot().transaction;
        let meta = transaction.open_table(META).map_err(storage_error)?;
        let requests = transaction.open_table(REQUESTS).map_err(storage_error)?;
        let ages = Ages::read(&meta, &requests, retention, &options.clock)?;
        Ok(Self { medium, options: options.clone(), identity, ages, state: RwLock::new(State::Open(open)) })
    }

    pub(super) fn name(&self) -> String {
        self.medium.name()
    }

    pub(super) fn clock(&self) -> &Timekeeper {
        &self.options.clock
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// All that is committed at this instant, to read.
    pub(super) fn snapshot(&self) -> Result<Arc<Snapshot>, StoreError> {
        self.with_open(|open| Ok(open.snapshot()))
    }

    /// Whether writes can be taken now.
    pub(super) fn require_writable(&self) -> Result<(), StoreError> {
        self.with_open(|_| self.medium.obstacle().map_or(Ok(()), |what| Err(StoreError::Unavailable(what))))
    }

    /// Does some work in a transaction, and commits it: when this returns, it is on disk.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce(&WriteTransaction, Before<'_>) -> Result<(T, After), StoreError>,
    ) -> Result<T, StoreError> {
        self.require_writable()?;
        let mut is_usable = true;
        let result = self.with_open(|open| {
            let result = open.attempt(self.retention(), self.aged_to_ms(), work);
            is_usable = match &result {
                Ok(_) => true,
                Err(StoreError::OutcomeUnknown(_)) => false,
                Err(_) => can_write(&open.database),
            };
            result
        });
        if let Err(error) = &result
            && !is_usable
        {
            tracing::error!(file = self.name(), %error, "a write has failed; opening the file again");
            self.set(State::Failed(StoreError::Unavailable(format!(
                "the file of the bank has to be opened again: {error}"
            ))));
        }
        result
    }

    pub(super) fn retention(&self) -> Retention {
        retention(&self.identity, &self.options)
    }

    /// What is new at this instant is of this age, in milliseconds.
    pub(super) fn aged_to_ms(&self) -> u64 {
        self.ages.now_ms(&self.options.clock)
    }

    fn with_open<T>(&self, work: impl FnOnce(&Open) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(open) => work(open),
            State::Failed(error) => Err(error.clone()),
            State::Closed => Err(StoreError::Unavailable("the bank is closed".to_owned())),
        }
    }

    fn has_failed(&self) -> bool {
        matches!(*self.state.read().unwrap_or_else(PoisonError::into_inner), State::Failed(_))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let open = || {
            let database = file::reopen(&*self.medium, &self.options, &self.identity)?;
            Open::new(database, &self.identity, &self.options)
        };
        let opened = catch_unwind(AssertUnwindSafe(open));
        let opened = opened.unwrap_or_else(|panic| Err(StoreError::Corrupt(damaged(&said(&*panic)))));
        match opened {
            Ok(open) => {
                self.set(State::Open(open));
                Ok(())
            }
            Err(error) => {
                // Whatever is in the way may go away, but for damage.
                let error = match error {
                    StoreError::Misconfigured(what) | StoreError::OutcomeUnknown(what) => {
                        StoreError::Unavailable(what)
                    }
                    error @ (StoreError::Unavailable(_) | StoreError::Unfit(_) | StoreError::Corrupt(_)) => {
                        error
                    }
                };
                self.set(State::Failed(error.clone()));
                Err(error)
            }
        }
    }

    /// Writes down what the next opening would have to gather, and closes the file.
    fn close(&self) {
        let is_behind = self.snapshot().is_ok_and(|snapshot| snapshot.recent.is_ahead());
        let write_heads = |transaction: &WriteTransaction, before: Before<'_>| {
            let recent = before.recent.file(&mut WriteTables::open(transaction)?)?;
            Ok(((), After { recent, heads: Vec::new() }))
        };
        if is_behind && let Err(error) = self.transact(write_heads) {
            tracing::warn!(file = self.name(), %error, "the next opening of the file takes longer");
        }
        self.set(State::Closed);
    }

    fn set(&self, state: State) {
        // The file that was open is closed here, if one was.
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Open {
    fn new(database: Database, identity: &Identity, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        let partitions = identity.partitions;
        let transaction = database.begin_read().map_err(storage_error)?;
        let recent = Recent::read(&transaction, partitions)?;
        let snapshot = Snapshot { transaction, recent, partitions };
        Ok(Self {
            snapshot: RwLock::new(Arc::new(snapshot)),
            remembered: Mutex::new(Remembered::new(options.head_bytes_max())),
            database,
        })
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Work in one transaction, durable and to be seen by readers when this returns. An error before the
    /// commit means that nothing was done; one of the commit itself, that nobody knows.
    fn attempt<T>(
        &self,
        retention: Retention,
        aged_to_ms: u64,
        work: impl FnOnce(&WriteTransaction, Before<'_>) -> Result<(T, After), StoreError>,
    ) -> Result<T, StoreError> {
        let is_committing = Cell::new(false);
        let snapshot = self.snapshot();
        let work = || {
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            let partitions = snapshot.partitions;
            let recent = &snapshot.recent;
            let before = Before { recent, remembered: &mut remembered, partitions, retention, aged_to_ms };
            // Durable and in one phase, unless told otherwise.
            let transaction = self.database.begin_write().map_err(storage_error)?;
            let (answer, After { recent, heads }) = work(&transaction, before)?;
            is_committing.set(true);
            let unknown =
                |error: redb::Error| StoreError::OutcomeUnknown(format!("the file of the bank: {error}"));
            transaction.commit().map_err(|error| match error {
                CommitError::TransactionPoisoned => storage_error(error),
                error => unknown(error.into()),
            })?;
            let transaction = self.database.begin_read().map_err(|error| unknown(error.into()))?;
            for (id, head) in heads {
                remembered.put(id, head);
            }
            let snapshot = Arc::new(Snapshot { transaction, recent, partitions });
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
            Ok(answer)
        };
        // A damaged file can make redb panic.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let what = damaged(&said(&*panic));
            Err(if is_committing.get() {
                StoreError::OutcomeUnknown(what)
            } else {
                StoreError::Corrupt(what)
            })
        })
    }
}

fn retention(identity: &Identity, options: &EmbeddedOptions) -> Retention {
    Retention { seconds: file::retention_seconds(options), window_seconds: identity.request_window_seconds }
}

/// Whether redb lets anybody write, after a write that did not come to its end.
fn can_write(database: &Database) -> bool {
    let begun = catch_unwind(AssertUnwindSafe(|| database.begin_write().and_then(|it| Ok(it.abort()?))));
    matches!(begun, Ok(Ok(())))
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it cannot be read".to_owned())
}

type Job = Box<dyn FnOnce(&OpenFile) + Send>;

/// The thread that writes. Dropping it waits for the writes that are queued, and closes the file.
pub(super) struct Writer {
    /// `None` once it is dropped.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(file: Arc<OpenFile>) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel(WRITES_WAITING_MAX);
        let thread = thread::Builder::new()
            .name("bank-writer".to_owned())
            .spawn(move || run(&file, &queue))
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Does some work in a transaction: when this returns, it is on disk.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction, Before<'_>) -> Result<(T, After), StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(|file| file.transact(work)).await
    }

    /// Does something on the thread, after what is queued.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&OpenFile) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |file| {
            // An error means that the caller is gone; what was done stands all the same.
            let _ = reply.send(work(file));
        });
        let gone = || StoreError::OutcomeUnknown("the thread that writes is gone".to_owned());
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Unavailable("too many writes wait for the disk".to_owned()),
            TrySendError::Disconnected(_) => gone(),
        })?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Closes the file, after what is queued.
    pub(super) async fn close(&self) {
        let close = |file: &OpenFile| {
            file.close();
            Ok(())
        };
        if let Err(error) = self.run(close).await {
            tracing::warn!(%error, "the file of the bank was not closed in order");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // An error means that it has panicked, which has been said.
            let _ = thread.join();
        }
    }
}

fn run(file: &OpenFile, jobs: &Receiver<Job>) {
    let mut reopening: Option<Reopening> = None;
    loop {
        let job = if file.has_failed() {
            let pause = reopening.as_ref().map_or(Duration::ZERO, Reopening::pause);
            if pause.is_zero() { Err(RecvTimeoutError::Timeout) } else { jobs.recv_timeout(pause) }
        } else {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match job {
            Ok(job) => job(file),
            Err(RecvTimeoutError::Timeout) => reopening = Some(Reopening::attempt(file, reopening)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    file.close();
}

/// The last time that the file was opened again, or was not.
struct Reopening {
    ended_at: Instant,
    took: Duration,
    error: Option<StoreError>,
}

impl Reopening {
    fn attempt(file: &OpenFile, before: Option<Self>) -> Self {
        let began_at = Instant::now();
        let error = file.reopen().err();
        match &error {
            None => tracing::info!(file = file.name(), "the file is open again"),
            Some(error) if before.is_some_and(|before| before.error.as_ref() == Some(error)) => {}
            Some(error) => tracing::error!(file = file.name(), %error, "the file cannot be opened again yet"),
        }
        Self { ended_at: Instant::now(), took: began_at.elapsed(), error }
    }

    /// How long to wait before the next time. Each may mean reading the whole file: no more than half
    /// of the time goes into it, even if every write fails.
    fn pause(&self) -> Duration {
        self.took.max(REOPEN_PAUSE_MIN).saturating_sub(self.ended_at.elapsed())
    }
}
