//! The loop that gives the commands of one lane their order.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use bank_domain::{Account, AccountId, Command, Context};
use bank_store::{Attempt, Committed, Outcome, Proposal, Recorded, RequestKey, Stamp, Store, StoreError};
use lru::LruCache;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{Level, Span};

use super::{Error, Executed, LedgerOptions, acknowledged::Acknowledged, decide, now};
use crate::{
    auth::{Access, Extent},
    metrics::{CommandOutcome, Metrics},
    telemetry::TRACES,
};

/// After so many commits in a row that only conflicted, the sequencer pauses before the next.
const FRUITLESS_COMMITS_MAX: u32 = 3;
/// How long it pauses then.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);

/// A command in the queue of its lane.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) access: Access,
    pub(super) command: Command,
    pub(super) key: RequestKey,
    /// Whether the caller chose the request id, and so can ask again.
    pub(super) named: bool,
    pub(super) queued_at: Instant,
    pub(super) deadline: Instant,
    /// How far it reaches, once its accounts are known.
    pub(super) extent: Extent,
    pub(super) reply: oneshot::Sender<Result<Executed, Error>>,
    pub(super) metrics: Arc<Metrics>,
    /// The call that it is of.
    pub(super) span: Span,
    /// That it waits. It ends when the command is taken.
    pub(super) waiting: Span,
}

/// Accounts as far as they are known; `None` for one that does not exist.
type Accounts = HashMap<AccountId, Option<Account>>;

/// Decides and commits the commands of one lane, batch by batch.
pub(super) struct Sequencer {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    options: LedgerOptions,
    commands: mpsc::Receiver<Submission>,
    acknowledged: Acknowledged,
    stop: CancellationToken,
    /// What the last commits left behind. It may be stale: a commit that was decided on stale
    /// state conflicts, and brings the current state with it.
    remembered: LruCache<AccountId, Option<Account>>,
}

impl Submission {
    /// It is out of the queue.
    fn taken(&mut self) {
        self.waiting = Span::none();
        self.metrics.command_taken(self.queued_at.elapsed());
    }

    fn answer(self, result: Result<Executed, Error>) {
        self.metrics.command_ended(CommandOutcome::of(&result));
        // An error means that the caller is gone. The outcome stands all the same.
        let _ = self.reply.send(result);
    }

    fn outcome_unknown(self, reason: &str) {
        let request_id = self.key.request_id.clone();
        self.answer(Err(Error::OutcomeUnknown { request_id, reason: reason.to_owned() }));
    }
}

impl Sequencer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        options: LedgerOptions,
        commands: mpsc::Receiver<Submission>,
        acknowledged: Acknowledged,
        stop: CancellationToken,
    ) -> Self {
        let capacity = NonZeroUsize::new(options.accounts_remembered_max).unwrap_or(NonZeroUsize::MIN);
        let remembered = LruCache::new(capacity);
        Self { store, metrics, options, commands, acknowledged, stop, remembered }
    }

    /// Runs until it is told to stop and the queue is empty.
    pub(super) async fn run(mut self) {
        // Commands that were decided on what is no longer so.
        let mut again = VecDeque::new();
        let mut fruitless_commits = 0;
        loop {
            if self.stop.is_cancelled() {
                self.commands.close();
            }
            let mut batch = Vec::new();
            if again.is_empty() {
                tokio::select! {
                    taken = self.commands.recv_many(&mut batch, self.options.batch_commands_max) => {
                        if taken == 0 {
                            return;
                        }
                        for submission in &mut batch {
                            submission.taken();
                        }
                    }
                    () = self.stop.cancelled(), if !self.commands.is_closed() => continue,
                }
            } else {
                self.compose(&mut batch, &mut again);
            }
            let size = batch.len();
            let conflicts = self.process(batch).await;
            fruitless_commits = if conflicts.len() < size { 0 } else { fruitless_commits + 1 };
            again.extend(conflicts);
            if fruitless_commits >= FRUITLESS_COMMITS_MAX {
                // Somebody else is always faster, or what is stored never matches what is read.
                sleep(CONFLICT_PAUSE).await;
            }
        }
    }

    /// Fills a batch with commands that have to be decided again, and with new ones: at most half
    /// of it with the former, so that an account in dispute does not hold up all the others.
    fn compose(&mut self, batch: &mut Vec<Submission>, again: &mut VecDeque<Submission>) {
        let retries = again.len().min(self.options.batch_commands_max.div_ceil(2));
        batch.extend(again.drain(..retries));
        // What waits here counts against the bound of the queue.
        let room = self.options.queue_commands_max.saturating_sub(again.len());
        let room = room.min(self.options.batch_commands_max - batch.len());
        for _ in 0..room {
            let Ok(mut submission) = self.commands.try_recv() else { return };
            submission.taken();
            batch.push(submission);
        }
    }

    /// Answers a batch, and returns what has to be decided again.
    async fn process(&mut self, batch: Vec<Submission>) -> Vec<Submission> {
        let (mut batch, accounts) = self.recall(drop_late(batch)).await;
        if batch.is_empty() {
            return batch;
        }
        let proposals = propose(&mut batch, accounts);
        let spans = commit_spans(&batch);
        let began_at = Instant::now();
        let committed = self.commit(&proposals).await;
        drop(spans);
        self.metrics.commit_ended(proposals.len(), began_at.elapsed());
        match committed {
            Ok(committed) => self.settle(batch, proposals, committed, began_at),
            Err(error) => {
                self.forget(&proposals);
                for submission in batch {
                    if error.is_outcome_unknown() {
                        submission.outcome_unknown(&error.to_string());
                    } else {
                        submission.answer(Err(Error::Store(error.clone())));
                    }
                }
                Vec::new()
            }
        }
    }

    /// Finds the accounts of a batch, in memory or in the store, and answers the commands whose
    /// accounts cannot be read.
    async fn recall(&mut self, batch: Vec<Submission>) -> (Vec<Submission>, Accounts) {
        let mut accounts = Accounts::new();
        let mut missing = Vec::new();
        for id in batch.iter().flat_map(|submission| submission.command.account_ids()) {
            if accounts.contains_key(id) {
                continue;
            }
            let known = self.remembered.get(id).cloned();
            if known.is_none() {
                missing.push(id.clone());
            }
            accounts.insert(id.clone(), known.flatten());
        }
        let mut failures = HashMap::new();
        let asked_at = Instant::now();
        match self.store.load(&missing).await {
            Ok(loaded) => {
                for (id, account) in missing.into_iter().zip(loaded) {
                    self.acknowledged.compare(&id, account.as_ref(), asked_at);
                    self.remembered.put(id.clone(), account.clone());
                    accounts.insert(id, account);
                }
            }
            // One account that cannot be read must not stop the others.
            Err(StoreError::Corrupt(_)) => {
                for id in missing {
                    match self.store.load(std::slice::from_ref(&id)).await {
                        Ok(mut loaded) => {
                            let account = loaded.pop().flatten();
                            self.acknowledged.compare(&id, account.as_ref(), asked_at);
                            accounts.insert(id, account);
                        }
                        Err(error) => {
                            failures.insert(id, error);
                        }
                    }
                }
            }
            Err(error) => failures.extend(missing.into_iter().map(|id| (id, error.clone()))),
        }
        if failures.is_empty() {
            return (batch, accounts);
        }
        let mut readable = Vec::with_capacity(batch.len());
        for submission in batch {
            let failure = submission.command.account_ids().find_map(|id| failures.get(id)).cloned();
            match failure {
                None => readable.push(submission),
                // Nothing was sent for this command, whatever became of the read.
                Some(StoreError::OutcomeUnknown(reason)) => {
                    submission.answer(Err(Error::Store(StoreError::Unavailable(reason))));
                }
                Some(error) => submission.answer(Err(Error::Store(error))),
            }
        }
        (readable, accounts)
    }

    /// Commits, and sends the same again for as long as the outcome is unknown.
    async fn commit(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        let give_up_at = Instant::now() + self.options.outcome_timeout;
        let mut unknown = false;
        loop {
            let error = match self.store.commit(proposals).await {
                Ok(committed) => return Ok(committed),
                Err(error) => error,
            };
            unknown |= error.is_outcome_unknown();
            if !unknown {
                return Err(error);
            }
            if Instant::now() + self.options.resend_pause >= give_up_at {
                return Err(StoreError::OutcomeUnknown(error.to_string()));
            }
            tracing::warn!(%error, commands = proposals.len(), "outcome of a commit is unknown; sending it again");
            self.metrics.commit_resent();
            sleep(self.options.resend_pause).await;
        }
    }

    /// Answers what has an outcome, and returns what has to be decided again.
    fn settle(
        &mut self,
        batch: Vec<Submission>,
        proposals: Vec<Proposal>,
        committed: Committed,
        asked_at: Instant,
    ) -> Vec<Submission> {
        let mut again = Vec::new();
        for ((submission, proposal), outcome) in batch.into_iter().zip(proposals).zip(committed.outcomes) {
            if outcome != Outcome::Applied {
                self.forget(std::slice::from_ref(&proposal));
            }
            let extent = submission.extent;
            match (outcome, proposal.decision) {
                (Outcome::Applied, Ok(plan)) => {
                    for account in plan.changes().map(|change| &change.account) {
                        self.acknowledged.note(account);
                        self.remembered.put(account.id.clone(), Some(account.clone()));
                    }
                    submission.answer(Ok(Executed { entry: plan.primary.entry, replayed: false, extent }));
                }
                (Outcome::Applied, Err(refusal)) => {
                    submission.answer(Err(Error::Refused { refusal, replayed: false, extent }));
                }
                (Outcome::Conflict, _) => {
                    self.metrics.command_ended(CommandOutcome::Conflict);
                    again.push(submission);
                }
                (Outcome::Replayed(Recorded::Entry(entry)), _) => {
                    submission.answer(Ok(Executed { entry: *entry, replayed: true, extent }));
                }
                (Outcome::Replayed(Recorded::Refused(refusal)), _) => {
                    submission.answer(Err(Error::Refused { refusal, replayed: true, extent }));
                }
                (Outcome::RequestIdReused, _) => {
                    let RequestKey { request_id, account_id, .. } = submission.key.clone();
                    submission.answer(Err(Error::RequestIdReused { request_id, account_id }));
                }
                (Outcome::Damaged(what), _) => submission.answer(Err(StoreError::Corrupt(what).into())),
            }
        }
        for (id, account) in committed.current {
            self.acknowledged.compare(&id, account.as_ref(), asked_at);
            self.remembered.put(id, account);
        }
        again
    }

    fn forget(&mut self, proposals: &[Proposal]) {
        for (id, _) in proposals.iter().flat_map(|proposal| &proposal.decided_on) {
            self.remembered.pop(id);
        }
    }
}

/// Answers the commands whose deadline has passed, and returns the others.
fn drop_late(batch: Vec<Submission>) -> Vec<Submission> {
    let now = Instant::now();
    let (late, batch): (Vec<_>, _) = batch.into_iter().partition(|submission| submission.deadline <= now);
    for submission in late {
        let request_id = submission.key.request_id.clone();
        submission.answer(Err(Error::DeadlineExceeded { request_id }));
    }
    batch
}

/// One span for each command of a commit, since each is in the trace of its call.
fn commit_spans(batch: &[Submission]) -> Vec<Span> {
    if !tracing::enabled!(target: TRACES, Level::INFO) {
        return Vec::new();
    }
    let span = |submission: &Submission| tracing::info_span!(target: TRACES, parent: &submission.span, "commit", commands = batch.len());
    batch.iter().map(span).collect()
}

/// Decides each command on the accounts as those before it leave them, as far as its caller may see
/// them. What it is compared with is what is there: a refusal for what is concealed is as checked as any.
fn propose(batch: &mut [Submission], mut accounts: Accounts) -> Vec<Proposal> {
    let now = now();
    batch
        .iter_mut()
        .map(|Submission { access, command, key, named, extent, span, .. }| {
            let _deciding = tracing::info_span!(target: TRACES, parent: &*span, "decide").entered();
            let account = |id: &AccountId| accounts.get(id).and_then(Option::as_ref);
            *extent = access.extent(command, account(command.account_id()));
            let decided_on =
                command.account_ids().map(|id| (id.clone(), account(id).map(Stamp::of))).collect();
            let context = Context { now, request_id: named.then(|| key.request_id.clone()) };
            let decision = decide(access, account, command, &context);
            if let Ok(plan) = &decision {
                for account in plan.changes().map(|change| &change.account) {
                    accounts.insert(account.id.clone(), Some(account.clone()));
                }
            }
            Proposal {
                key: key.clone(),
                fingerprint: command.fingerprint(),
                attempt: Attempt(rand::random()),
                refusal_recorded: *named,
                decided_on,
                decision,
            }
        })
        .collect()
}
