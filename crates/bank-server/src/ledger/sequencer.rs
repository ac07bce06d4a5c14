//! The sequencer of one lane: takes commands from the queue, decides them, commits them, and answers them.
//!
//! What always holds:
//!
//! * **Order.** Commands on an account take effect in the order of the queue, but for those that conflict: they are
//!   decided again before anything newer (`conflicts` before `held` before the queue), and nothing newer is sent meanwhile.
//! * **Cached accounts** are as all commits leave them, those in flight included, if each applies as decided. A stale
//!   account costs a conflict and nothing else: the store compares heads.
//! * **In flight** are at most [`COMMITS_MAX`] commits. They are answered in the order in which they were sent. Nothing is
//!   sent behind a commit with a rejection: a rejection moves no head, so a later command could apply although the
//!   rejection conflicts, and would then have overtaken it. For [`CALM`] after a conflict or a failure commits do not overlap.
//! * **A conflict** evicts the accounts that the command was decided on, caches the current ones that the store
//!   returned, and puts the command into `conflicts`. Those fill at most half of a batch and count against the limit of
//!   the queue, so that an account in dispute does not hold up the others.
//! * **The commands of an atomic batch** stay together: they are taken, decided, committed and answered as one.
//! * **Every command is answered once.** If the sequencer panics, its commands are dropped, and their callers are told
//!   that the outcome is unknown.

use std::{
    collections::{HashMap, VecDeque},
    iter,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bank_domain::{AccountId, Plan};
use bank_store::{Outcome, StoreError};
use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, ready},
    poll,
    stream::FuturesOrdered,
};
use tokio::time::{Instant, sleep};

use super::{
    accounts::{AccountCache, load},
    acknowledged::Acknowledged,
    commit::{Committer, Ended},
    error::Error,
    lane::Commands,
    options::LedgerOptions,
    propose::propose,
    settle::settle,
    submission::{Submission, abort},
};

/// After this many consecutive commits of conflicts only, the sequencer pauses before the next.
const FRUITLESS_COMMITS_MAX: u32 = 3;
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);

/// How many commits are in flight at once.
const COMMITS_MAX: usize = 2;
/// How many commands must wait before a second commit is sent. Each command pays more for a smaller commit.
const OVERLAPPING_COMMANDS_MIN: usize = 64;
/// How long commits do not overlap after one did not go as decided. What builds on it conflicts too, and where another
/// server writes to the same accounts, more conflicts follow.
const CALM: Duration = Duration::from_secs(1);

enum Next {
    Commit,
    Answer(Ended),
}

pub(super) struct Sequencer {
    committer: Arc<Committer>,
    commands: Commands,
    acknowledged: Acknowledged,
    accounts: AccountCache,
    /// Commands to be decided again.
    conflicts: VecDeque<Submission>,
    /// Commands taken from the queue that must not overtake those in `conflicts`.
    held: VecDeque<Submission>,
    commits: FuturesOrdered<BoxFuture<'static, Ended>>,
    /// Whether the newest of `commits` contains a rejection.
    has_rejections: bool,
    /// When a commit last went otherwise than decided.
    disturbed_at: Option<Instant>,
    /// How many consecutive commits had conflicts only.
    fruitless_commits: u32,
}

impl Sequencer {
    pub(super) fn new(committer: Committer, commands: Commands, acknowledged: Acknowledged) -> Self {
        Self {
            accounts: AccountCache::new(committer.options.accounts_remembered_max),
            committer: Arc::new(committer),
            commands,
            acknowledged,
            conflicts: VecDeque::new(),
            held: VecDeque::new(),
            commits: FuturesOrdered::new(),
            has_rejections: false,
            disturbed_at: None,
            fruitless_commits: 0,
        }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        while let Some(next) = self.next().await {
            match next {
                Next::Commit => {
                    if self.fruitless_commits >= FRUITLESS_COMMITS_MAX {
                        // Another server is always faster, or what is stored never matches what is read.
                        sleep(CONFLICT_PAUSE).await;
                    }
                    self.commit_next().await;
                }
                Next::Answer(ended) => self.answer(ended),
            }
        }
    }

    /// Waits for what to do next: send a commit, or answer the oldest one.
    async fn next(&mut self) -> Option<Next> {
        if self.commits.is_empty() {
            let is_more = !self.conflicts.is_empty() || !self.held.is_empty() || self.commands.wait().await;
            return is_more.then_some(Next::Commit);
        }
        let is_calm = self.disturbed_at.is_none_or(|at| at.elapsed() >= CALM);
        let may_overlap = self.commits.len() < COMMITS_MAX && !self.has_rejections && is_calm;
        if !may_overlap || !self.conflicts.is_empty() {
            return self.commits.next().await.map(Next::Answer);
        }
        let enough = OVERLAPPING_COMMANDS_MIN.min(self.committer.options.batch_commands_max);
        tokio::select! {
            biased;
            ended = self.commits.next() => ended.map(Next::Answer),
            () = self.commands.wait_for(enough) => Some(Next::Commit),
        }
    }

    /// Decides a batch and sends its commit.
    async fn commit_next(&mut self) {
        self.accounts.trim();
        let batch = self.take_batch();
        let batch = self.without_late(batch);
        let batch = self.with_accounts(batch).await;
        if batch.is_empty() {
            return;
        }
        let clock = self.committer.store.clock();
        let now = match clock.now() {
            Ok(now) => now,
            Err(off) => {
                chains(batch).for_each(|chain| abort(chain, 0, off.into(), &self.committer.metrics));
                return;
            }
        };
        let proposals = propose(&batch, &mut self.accounts, now, clock.ahead_max());
        self.has_rejections = proposals.iter().any(|proposal| proposal.decision.is_err());
        let mut commit = Arc::clone(&self.committer).commit(batch, proposals).boxed();
        // Sent before anything else is done.
        self.commits.push_back(match poll!(&mut commit) {
            Poll::Ready(ended) => ready(ended).boxed(),
            Poll::Pending => commit,
        });
    }

    /// Takes the next batch: at most half of it conflicts, the rest from the queue. An atomic batch that begins within the limit
    /// is taken whole.
    fn take_batch(&mut self) -> Vec<Submission> {
        let LedgerOptions { batch_commands_max: batch_max, queue_commands_max: queue_max, .. } =
            self.committer.options;
        let conflicts = &mut self.conflicts;
        let waiting = conflicts.len() + self.commands.take(|queue| queue.len());
        let mut batch = Vec::with_capacity(batch_max.min(waiting));
        take_chains(&mut batch, batch_max.div_ceil(2), || conflicts.pop_front());
        let room = queue_max.saturating_sub(conflicts.len());
        let size_max = batch_max.min(batch.len() + room);
        take_chains(&mut batch, size_max, || self.held.pop_front());
        let first_new = batch.len();
        self.commands.take(|queue| take_chains(&mut batch, size_max, || queue.pop_front()));
        let now = Instant::now();
        for submission in &mut batch[first_new..] {
            submission.dequeued(&self.committer.metrics, now);
        }
        batch
    }

    /// Answers the commands whose deadline has passed, and returns the others. The commands of an atomic batch have one
    /// deadline.
    fn without_late(&self, batch: Vec<Submission>) -> Vec<Submission> {
        let now = Instant::now();
        if batch.iter().all(|submission| submission.deadline > now) {
            return batch;
        }
        let (late, batch): (Vec<_>, _) = batch.into_iter().partition(|it| it.deadline <= now);
        for submission in late {
            let request_id = submission.key.request_id.clone();
            submission.answer(&self.committer.metrics, Err(Error::DeadlineExceeded { request_id }));
        }
        batch
    }

    /// Reads the accounts of a batch that are not cached, and answers the commands whose accounts cannot be read. Commits
    /// that end meanwhile are answered meanwhile. If one of them conflicts, the batch is held and nothing is returned:
    /// the conflict comes first.
    async fn with_accounts(&mut self, mut batch: Vec<Submission>) -> Vec<Submission> {
        let conflicts_before = self.conflicts.len();
        loop {
            let ids = batch.iter().flat_map(|submission| submission.command.account_ids());
            let mut missing: Vec<_> = ids.filter(|id| !self.accounts.touch(id)).cloned().collect();
            if missing.is_empty() {
                return batch;
            }
            missing.sort_unstable();
            missing.dedup();
            let asked_at = Instant::now();
            let store = Arc::clone(&self.committer.store);
            let mut load = pin!(load(&*store, &missing));
            let loaded = loop {
                tokio::select! {
                    biased;
                    Some(ended) = self.commits.next() => self.answer(ended),
                    read = &mut load => break read,
                }
            };
            let mut failures = HashMap::new();
            for (id, account) in loaded {
                let account = match account {
                    Ok(account) => account,
                    Err(error) => {
                        failures.insert(id, error);
                        continue;
                    }
                };
                self.acknowledged.compare(&id, account.as_ref(), asked_at);
                // A commit that ended meanwhile may have returned a later state.
                if !self.accounts.touch(&id) {
                    self.accounts.put(&id, account.map(Arc::new));
                }
            }
            if self.conflicts.len() > conflicts_before {
                batch.into_iter().rev().for_each(|submission| self.held.push_front(submission));
                return Vec::new();
            }
            if !failures.is_empty() {
                batch = self.without_unreadable(batch, &failures);
            }
        }
    }

    /// Answers the commands whose accounts cannot be read, and returns the others.
    fn without_unreadable(
        &self,
        batch: Vec<Submission>,
        failures: &HashMap<AccountId, StoreError>,
    ) -> Vec<Submission> {
        let mut readable = Vec::with_capacity(batch.len());
        for chain in chains(batch) {
            let failure = chain.iter().enumerate().find_map(|(index, submission)| {
                Some((index, submission.command.account_ids().find_map(|id| failures.get(id))?))
            });
            let Some((index, failure)) = failure else {
                readable.extend(chain);
                continue;
            };
            let failure = match failure.clone() {
                // The command was not sent, whatever became of the read.
                StoreError::OutcomeUnknown(reason) => StoreError::Unavailable(reason),
                error => error,
            };
            abort(chain, index, failure.into(), &self.committer.metrics);
        }
        readable
    }

    /// Answers the commands of a commit that has ended, but for those that have to be decided again.
    fn answer(&mut self, ended: Ended) {
        if !ended.is_as_decided() {
            self.disturbed_at = Some(Instant::now());
        }
        let Ended { batch, proposals, sent_at, committed } = ended;
        let size = batch.len();
        let metrics = &self.committer.metrics;
        let conflicts = match committed {
            Ok(committed) => {
                let is_applied = |outcome: &Outcome| *outcome == Outcome::Applied;
                let decided = || proposals.iter().zip(&committed.outcomes);
                let plans = decided().filter(|(_, it)| is_applied(it)).flat_map(|(it, _)| &it.decision);
                self.acknowledged.note(plans.flat_map(Plan::changes).map(|change| &*change.account));
                for (proposal, _) in decided().filter(|(_, it)| !is_applied(it)) {
                    self.accounts.evict(proposal);
                }
                for (id, account) in committed.current {
                    self.acknowledged.compare(&id, account.as_ref(), sent_at);
                    self.accounts.put(&id, account.map(Arc::new));
                }
                settle(batch, proposals, committed.outcomes, metrics)
            }
            Err(error) => {
                for proposal in &proposals {
                    self.accounts.evict(proposal);
                }
                for submission in batch {
                    let error = if error.is_outcome_unknown() {
                        let request_id = submission.key.request_id.clone();
                        Error::OutcomeUnknown { request_id, reason: error.to_string() }
                    } else {
                        Error::Store(error.clone())
                    };
                    submission.answer(metrics, Err(error));
                }
                Vec::new()
            }
        };
        self.fruitless_commits = if conflicts.len() < size { 0 } else { self.fruitless_commits + 1 };
        self.conflicts.extend(conflicts);
    }
}

/// Takes commands until there are `size_max`, or no more; atomic batches whole.
fn take_chains(batch: &mut Vec<Submission>, size_max: usize, mut next: impl FnMut() -> Option<Submission>) {
    let mut linked = false;
    while linked || batch.len() < size_max {
        let Some(submission) = next() else { return };
        linked = submission.linked;
        batch.push(submission);
    }
}

/// The atomic batches of a batch, and each other command by itself.
fn chains(batch: Vec<Submission>) -> impl Iterator<Item = Vec<Submission>> {
    let mut rest = batch.into_iter();
    iter::from_fn(move || {
        let mut chain = Vec::new();
        take_chains(&mut chain, 1, || rest.next());
        (!chain.is_empty()).then_some(chain)
    })
}
