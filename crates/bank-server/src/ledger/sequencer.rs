//! The loop that gives the commands of one lane their order.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use bank_domain::{Account, AccountId};
use bank_store::{Committed, Proposal, Store, StoreError};
use lru::LruCache;
use tokio::time::{Instant, sleep};
use tracing::Span;

use super::{
    Accounts, Error, LedgerOptions,
    acknowledged::Acknowledged,
    lane::Commands,
    propose::propose,
    submission::{Submission, abort},
};
use crate::{metrics::Metrics, telemetry::TRACES};

/// After so many commits in a row that only conflicted, the sequencer pauses before the next.
const FRUITLESS_COMMITS_MAX: u32 = 3;
/// How long it pauses then.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);

/// Decides and commits the commands of one lane, batch by batch.
pub(super) struct Sequencer {
    store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    options: LedgerOptions,
    commands: Commands,
    pub(super) acknowledged: Acknowledged,
    /// What the last commits left behind. It may be stale: a commit that was decided on stale
    /// state conflicts, and brings the current state with it.
    pub(super) remembered: LruCache<AccountId, Option<Account>>,
}

impl Sequencer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        options: LedgerOptions,
        commands: Commands,
        acknowledged: Acknowledged,
    ) -> Self {
        let capacity = NonZeroUsize::new(options.accounts_remembered_max).unwrap_or(NonZeroUsize::MIN);
        let remembered = LruCache::new(capacity);
        Self { store, metrics, options, commands, acknowledged, remembered }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        // Commands that were decided on what is no longer so.
        let mut again = VecDeque::new();
        let mut fruitless_commits = 0;
        while !again.is_empty() || self.commands.wait().await {
            let batch = self.compose(&mut again);
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

    /// Makes a batch of commands that have to be decided again, and of new ones: at most half of it of
    /// the former, so that an account in dispute does not hold up all the others. A chain that begins
    /// within its bounds is taken whole.
    fn compose(&mut self, again: &mut VecDeque<Submission>) -> Vec<Submission> {
        let batch_max = self.options.batch_commands_max;
        let mut batch = Vec::with_capacity(batch_max.min(again.len() + self.commands.take(|it| it.len())));
        take_chains(&mut batch, batch_max.div_ceil(2), || again.pop_front());
        // What waits to be decided again counts against the bound of the queue.
        let room = self.options.queue_commands_max.saturating_sub(again.len());
        let size_max = batch_max.min(batch.len() + room);
        let before = batch.len();
        self.commands.take(|waiting| take_chains(&mut batch, size_max, || waiting.pop_front()));
        let now = Instant::now();
        for submission in &mut batch[before..] {
            submission.taken(&self.metrics, now);
        }
        batch
    }

    /// Answers a batch, and returns what has to be decided again.
    async fn process(&mut self, batch: Vec<Submission>) -> Vec<Submission> {
        let (mut batch, accounts) = self.recall(self.drop_late(batch)).await;
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
                    let error = if error.is_outcome_unknown() {
                        let request_id = submission.key.request_id.clone();
                        Error::OutcomeUnknown { request_id, reason: error.to_string() }
                    } else {
                        Error::Store(error.clone())
                    };
                    submission.answer(&self.metrics, Err(error));
                }
                Vec::new()
            }
        }
    }

    /// Answers the commands whose deadline has passed, and returns the others. All of a chain have one.
    fn drop_late(&self, batch: Vec<Submission>) -> Vec<Submission> {
        let now = Instant::now();
        if batch.iter().all(|submission| submission.deadline > now) {
            return batch;
        }
        let (late, batch): (Vec<_>, _) = batch.into_iter().partition(|it| it.deadline <= now);
        for submission in late {
            let request_id = submission.key.request_id.clone();
            submission.answer(&self.metrics, Err(Error::DeadlineExceeded { request_id }));
        }
        batch
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
        let mut rest = VecDeque::from(batch);
        while !rest.is_empty() {
            let mut chain = Vec::new();
            take_chains(&mut chain, 1, || rest.pop_front());
            let failure = chain.iter().enumerate().find_map(|(place, submission)| {
                let failure = submission.command.account_ids().find_map(|id| failures.get(id))?;
                Some((place, failure.clone()))
            });
            match failure {
                None => readable.extend(chain),
                Some((place, failure)) => {
                    let failure = match failure {
                        // Nothing was sent for this command, whatever became of the read.
                        StoreError::OutcomeUnknown(reason) => StoreError::Unavailable(reason),
                        error => error,
                    };
                    abort(chain, place, failure.into(), &self.metrics);
                }
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
}

/// Takes chains, until there are so many commands or no more.
fn take_chains(batch: &mut Vec<Submission>, size_max: usize, mut next: impl FnMut() -> Option<Submission>) {
    let mut linked = false;
    while linked || batch.len() < size_max {
        let Some(submission) = next() else { return };
        linked = submission.linked;
        batch.push(submission);
    }
}

/// One span for each command of a commit, since each is in the trace of its call.
fn commit_spans(batch: &[Submission]) -> Vec<Span> {
    let span = |it: &Submission| tracing::info_span!(target: TRACES, parent: &it.span, "commit", commands = batch.len());
    batch.iter().filter(|it| !it.span.is_none()).map(span).collect()
}
