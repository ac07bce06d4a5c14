//! The open file.
//!
//! After a failed write redb accepts no other until the file is reopened.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use redb::{CommitError, Database, ReadableDatabase as _, WriteTransaction};

use super::{
    ages::Ages,
    commit::{After, Before},
    errors::{damaged, storage_error, unknown_outcome},
    file,
    heads::{HeadCache, RecentHeads},
    medium::Medium,
    options::EmbeddedOptions,
    snapshot::Snapshot,
    tables::{META, REQUESTS, WriteTables},
};
use crate::{
    StoreError,
    identity::{Identity, Retention},
};

/// The file of a bank, shared by readers and the writer.
pub(super) struct OpenFile {
    medium: Box<dyn Medium>,
    options: EmbeddedOptions,
    identity: Identity,
    ages: Ages,
    state: RwLock<State>,
}

enum State {
    Open(OpenDatabase),
    /// The file must be reopened because of this error.
    Failed(StoreError),
    Closed,
}

struct OpenDatabase {
    /// The state after the last commit.
    snapshot: RwLock<Arc<Snapshot>>,
    cache: Mutex<HeadCache>,
    database: Database,
}

impl OpenFile {
    /// Opens or creates the file.
    pub(super) fn open(medium: Box<dyn Medium>, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        let (database, identity) = file::open_or_create(&*medium, options)?;
        file::require_past(&database, &medium.name(), options)?;
        let open = OpenDatabase::new(database, &identity, options)?;
        let transaction = &open.snapshot().transaction;
        let (meta, requests) = (transaction.open_table(META)?, transaction.open_table(REQUESTS)?);
        let ages = Ages::read(&meta, &requests, identity.retention, &options.clock)?;
        Ok(Self { medium, options: options.clone(), identity, ages, state: RwLock::new(State::Open(open)) })
    }

    pub(super) fn name(&self) -> String {
        self.medium.name()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The age of new records, in milliseconds.
    pub(super) fn aged_to_ms(&self) -> u64 {
        self.ages.now_ms(&self.options.clock)
    }

    /// The state after the last commit.
    pub(super) fn snapshot(&self) -> Result<Arc<Snapshot>, StoreError> {
        self.with_open(|open| Ok(open.snapshot()))
    }

    /// Checks that writes are possible now.
    pub(super) fn require_writable(&self) -> Result<(), StoreError> {
        self.with_open(|_| self.medium.obstacle().map_or(Ok(()), |what| Err(StoreError::Unavailable(what))))
    }

    /// Runs `work` in a transaction and commits it durably.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce(&WriteTransaction, Before<'_>) -> Result<(T, After), StoreError>,
    ) -> Result<T, StoreError> {
        self.require_writable()?;
        let mut is_usable = true;
        let result = self.with_open(|open| {
            let result = open.transact(self.identity.retention, self.aged_to_ms(), work);
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
            let error = format!("the file of the bank must be reopened: {error}");
            self.set(State::Failed(StoreError::Unavailable(error)));
        }
        result
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.state.read().unwrap_or_else(PoisonError::into_inner), State::Failed(_))
    }

    /// Reopens the file after a failed write.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let open = || {
            let database = file::reopen(&*self.medium, &self.options, &self.identity)?;
            OpenDatabase::new(database, &self.identity, &self.options)
        };
        let opened = catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|panic| Err(StoreError::Corrupt(damaged(&message_of(&*panic)))));
        let (state, result) = match opened {
            Ok(open) => (State::Open(open), Ok(())),
            Err(error) => {
                // Every cause but damage may go away.
                let error = match error {
                    StoreError::Misconfigured(what) | StoreError::OutcomeUnknown(what) => {
                        StoreError::Unavailable(what)
                    }
                    error => error,
                };
                (State::Failed(error.clone()), Err(error))
            }
        };
        self.set(state);
        result
    }

    /// Writes the heads, which makes the next opening fast, and closes the file.
    pub(super) fn close(&self) {
        let has_unwritten = self.snapshot().is_ok_and(|snapshot| snapshot.recent.is_ahead());
        let write_heads = |transaction: &WriteTransaction, before: Before<'_>| {
            let recent = before.recent.write(&mut WriteTables::open(transaction)?)?;
            Ok(((), After { recent, heads: Vec::new() }))
        };
        if has_unwritten && let Err(error) = self.transact(write_heads) {
            tracing::warn!(file = self.name(), %error, "the next opening of the file will take longer");
        }
        self.set(State::Closed);
    }

    fn with_open<T>(
        &self,
        work: impl FnOnce(&OpenDatabase) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(open) => work(open),
            State::Failed(error) => Err(error.clone()),
            State::Closed => Err(StoreError::Unavailable("the bank is closed".to_owned())),
        }
    }

    fn set(&self, state: State) {
        // Drops, and so closes, an open database.
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl OpenDatabase {
    fn new(database: Database, identity: &Identity, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        let placement = identity.placement;
        let transaction = database.begin_read()?;
        let recent = RecentHeads::read(&transaction, placement)?;
        let snapshot = Snapshot { transaction, recent, placement };
        Ok(Self {
            snapshot: RwLock::new(Arc::new(snapshot)),
            cache: Mutex::new(HeadCache::new(options.head_bytes_max())),
            database,
        })
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `work` in a transaction, commits it durably and shows it to readers. After an error of the commit itself
    /// the outcome is unknown; any other error means that nothing was done.
    fn transact<T>(
        &self,
        retention: Retention,
        aged_to_ms: u64,
        work: impl FnOnce(&WriteTransaction, Before<'_>) -> Result<(T, After), StoreError>,
    ) -> Result<T, StoreError> {
        let is_committing = Cell::new(false);
        let snapshot = self.snapshot();
        let work = || {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            let placement = snapshot.placement;
            let before =
                Before { recent: &snapshot.recent, cache: &mut cache, placement, retention, aged_to_ms };
            // The default durability of redb: on disk when the commit returns.
            let transaction = self.database.begin_write()?;
            let (answer, After { recent, heads }) = work(&transaction, before)?;
            is_committing.set(true);
            transaction.commit().map_err(|error| match error {
                CommitError::TransactionPoisoned => storage_error(error),
                error => unknown_outcome(error),
            })?;
            let transaction = self.database.begin_read().map_err(unknown_outcome)?;
            for (id, head) in heads {
                cache.put(id, head);
            }
            let snapshot = Arc::new(Snapshot { transaction, recent, placement });
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
            Ok(answer)
        };
        // A damaged file can make redb panic.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let what = damaged(&message_of(&*panic));
            Err(if is_committing.get() {
                StoreError::OutcomeUnknown(what)
            } else {
                StoreError::Corrupt(what)
            })
        })
    }
}

/// Whether redb accepts another write after an error.
fn can_write(database: &Database) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| database.begin_write().and_then(|it| Ok(it.abort()?))));
    matches!(result, Ok(Ok(())))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it cannot be read".to_owned())
}
