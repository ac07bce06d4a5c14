//! The ledger: where commands take effect, one after another.
//!
//! Every account is on a lane of the store, and every lane has one sequencer. A command is queued at
//! the sequencer of the account that it names first, decided by the rules of `bank-domain` on the
//! state that the sequencer knows, and committed by compare-and-set. A sequencer never waits to
//! fill a batch: it takes what has queued up while the last commit was under way.
//!
//! A command that has been queued belongs to the sequencer. It is finished even if its caller is
//! gone; only one whose deadline passes before it is decided is dropped undone.

mod acknowledged;
mod error;
mod sequencer;

use std::{sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Command, Context, Entry, Plan, Refusal, RequestId, Timestamp};
use bank_store::{Caller, RequestKey, Store};
use futures::future::join_all;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Span;
use uuid::Uuid;

use self::{
    acknowledged::Acknowledged,
    sequencer::{Sequencer, Submission},
};
pub use self::{acknowledged::LostWrites, error::Error};
use crate::{
    auth::{Access, Extent},
    metrics::Metrics,
    telemetry::TRACES,
};

/// The bounds of a ledger.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// How many commands wait on one lane; one more is refused at once.
    pub queue_commands_max: usize,
    /// How many commands share one commit.
    pub batch_commands_max: usize,
    /// How many accounts each lane remembers between commits.
    pub accounts_remembered_max: usize,
    /// How long a commit whose outcome is unknown is sent again before its callers are told so.
    pub outcome_timeout: Duration,
    /// The pause before a commit is sent again.
    pub resend_pause: Duration,
}

/// A command with who asked for it, and until when.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks, and what is there for them.
    pub access: Access,
    /// What for.
    pub command: Command,
    /// What the caller calls the request, so that it can be repeated.
    pub request_id: Option<RequestId>,
    /// Past this the caller does not wait any more.
    pub deadline: Instant,
}

/// One operation of a batch.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who asks, and what is there for them.
    pub access: Access,
    /// What for.
    pub command: Command,
    /// What the caller calls it, so that it can be repeated.
    pub request_id: Option<RequestId>,
}

/// Operations that are queued together.
#[derive(Clone, Debug)]
pub struct BatchRequest {
    /// In the order in which they take effect.
    pub operations: Vec<Operation>,
    /// Whether either all of them are carried out or none.
    pub atomic: bool,
    /// Past this the caller does not wait any more.
    pub deadline: Instant,
}

/// What became of a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// The entry on the account that the command names first. Everything that a reply says follows
    /// from the command and this entry.
    pub entry: Entry,
    /// Whether this is the outcome of an earlier call with the same request id.
    pub replayed: bool,
    /// How far the command reached.
    pub extent: Extent,
}

/// A handle to the ledger; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    lanes: Arc<[mpsc::Sender<Submission>]>,
    acknowledged: Acknowledged,
    stop: CancellationToken,
    failed: CancellationToken,
    sequencers: TaskTracker,
}

impl Ledger {
    /// Starts a sequencer for every lane of the store.
    pub fn start(store: Arc<dyn Store>, metrics: Arc<Metrics>, options: &LedgerOptions) -> Self {
        let sequencers = TaskTracker::new();
        let (stop, failed) = (CancellationToken::new(), CancellationToken::new());
        let remembered_max = options.accounts_remembered_max.saturating_mul(store.lanes());
        let acknowledged = Acknowledged::new(remembered_max, Arc::clone(&metrics));
        let sweeps = acknowledged.clone().sweep_each_epoch(Arc::clone(&store));
        sequencers.spawn(stop.clone().run_until_cancelled_owned(sweeps));
        let lanes = (0..store.lanes())
            .map(|_| {
                let (lane, commands) = mpsc::channel(options.queue_commands_max);
                let sequencer = Sequencer::new(
                    Arc::clone(&store),
                    Arc::clone(&metrics),
                    options.clone(),
                    commands,
                    acknowledged.clone(),
                    stop.clone(),
                );
                let failed = failed.clone();
                sequencers.spawn(async move {
                    // Dropped, and so set off, if the sequencer panics.
                    let guard = failed.drop_guard();
                    sequencer.run().await;
                    guard.disarm();
                });
                lane
            })
            .collect();
        sequencers.close();
        Self { store, metrics, lanes, acknowledged, stop, failed, sequencers }
    }

    /// Carries a command out, once for each request id.
    ///
    /// Dropping the future does not take the command back.
    ///
    /// # Errors
    /// [`Error`]: a refusal is an outcome too, and comes back for a repeated request.
    pub async fn execute(&self, request: Request) -> Result<Executed, Error> {
        let Request { access, command, request_id, deadline } = request;
        // A request that its caller did not name gets a name all the same: its commit may have to
        // be sent again.
        let named = request_id.is_some();
        let request_id = request_id.unwrap_or_else(fresh_request_id);
        let lane = &self.lanes[self.store.lane(command.account_id()) % self.lanes.len()];
        let caller = Caller::new(access.caller().subject().as_str());
        let key = RequestKey { caller, account_id: command.account_id().clone(), request_id };
        let request_id = key.request_id.clone();
        let (reply, outcome) = oneshot::channel();
        let span = Span::current();
        let waiting = tracing::info_span!(target: TRACES, parent: &span, "queue");
        let submission = Submission {
            access,
            command,
            key,
            named,
            queued_at: Instant::now(),
            deadline,
            extent: Extent::Unknown,
            reply,
            metrics: Arc::clone(&self.metrics),
            span,
            waiting,
        };
        lane.try_send(submission).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::QueueFull { commands_max: lane.max_capacity() },
            mpsc::error::TrySendError::Closed(_) => Error::ShuttingDown,
        })?;
        self.metrics.command_queued();
        match timeout_at(deadline, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                Err(Error::OutcomeUnknown { request_id, reason: "its sequencer is gone".to_owned() })
            }
            Err(_) => Err(Error::DeadlineExceeded { request_id }),
        }
    }

    /// What [`Ledger::execute`] would answer now. Writes nothing.
    ///
    /// # Errors
    /// [`Error`], as [`Ledger::execute`] would give it.
    pub async fn preview(&self, request: Request) -> Result<Executed, Error> {
        let Request { access, command, request_id, deadline } = request;
        let ids: Vec<_> = command.account_ids().cloned().collect();
        let load = timeout_at(deadline, self.store.load(&ids));
        let accounts = load.await.map_err(|_| Error::DeadlineExceeded {
            request_id: request_id.clone().unwrap_or_else(fresh_request_id),
        })??;
        let of = |id: &AccountId| accounts.iter().flatten().find(|account| account.id == *id);
        let extent = access.extent(&command, of(command.account_id()));
        let plan = decide(&access, of, &command, &Context { now: now(), request_id })
            .map_err(|refusal| Error::Refused { refusal, replayed: false, extent })?;
        Ok(Executed { entry: plan.primary.entry, replayed: false, extent })
    }

    /// Carries out a batch: one result for each operation, in their order.
    ///
    /// # Errors
    /// [`Error`], if nothing of it was queued.
    pub async fn execute_batch(&self, request: BatchRequest) -> Result<Vec<Result<Executed, Error>>, Error> {
        let BatchRequest { operations, deadline, .. } = request;
        let work = operations.into_iter().map(|Operation { access, command, request_id }| {
            self.execute(Request { access, command, request_id, deadline })
        });
        Ok(join_all(work).await)
    }

    /// What [`Ledger::execute_batch`] would answer now. Writes nothing.
    ///
    /// # Errors
    /// [`Error`], as [`Ledger::execute_batch`] would give it.
    pub async fn preview_batch(&self, request: BatchRequest) -> Result<Vec<Result<Executed, Error>>, Error> {
        let BatchRequest { operations, deadline, .. } = request;
        let work = operations.into_iter().map(|Operation { access, command, request_id }| {
            self.preview(Request { access, command, request_id, deadline })
        });
        Ok(join_all(work).await)
    }

    /// What is counted and measured.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The store, to read from. What is acknowledged can be read there.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What of that which this server has acknowledged it knows to be lost.
    pub fn lost_writes(&self) -> LostWrites {
        self.acknowledged.lost()
    }

    /// Waits until a sequencer has failed, which none should: its lane takes no commands any more.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Takes no more commands, and waits until those that were queued are finished.
    pub async fn drain(&self) {
        self.stop.cancel();
        self.sequencers.wait().await;
    }
}

/// Decides a command on the accounts as its caller may see them. What is concealed is refused by the
/// rule for what does not exist.
fn decide<'a>(
    access: &Access,
    account: impl Fn(&AccountId) -> Option<&'a Account>,
    command: &Command,
    context: &Context,
) -> Result<Plan, Refusal> {
    let seen = |id: &AccountId| {
        if id == command.account_id() {
            access.primary(account(id))
        } else {
            access.counterparty(account(id))
        }
    };
    bank_domain::decide(seen, command, context)
}

fn fresh_request_id() -> RequestId {
    Uuid::new_v4().to_string().parse().unwrap_or_else(|_| unreachable!("a UUID is visible ASCII"))
}

/// The time by this machine's clock, never before 1970.
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis())
        .ok()
        .and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
