//! The loop that gives the commands of one lane their order.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bank_domain::{Account, AccountId};
use bank_store::{Proposal, Store, StoreError};
use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, ready},
    poll,
    stream::FuturesOrdered,
};
use tokio::time::{Instant, sleep};

use super::{
    Error, LedgerOptions,
    acknowledged::Acknowledged,
    commit::{Committer, Ended},
    lane::Commands,
    propose::propose,
    remembered::Remembered,
    submission::{Submission, abort},
};
use crate::metrics::Metrics;

/// After so many commits in a row that only conflicted, the sequencer pauses before the next.
const FRUITLESS_COMMITS_MAX: u32 = 3;
/// How long it pauses then.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);

/// How many commits are under way at once.
const COMMITS_MAX: usize = 2;
/// How many commands there must be for a commit that is begun while another is under way: the fewer, the more each
/// pays for its commit.
const OVERLAPPING_COMMANDS_MIN: usize = 64;
/// How long after something went another way than it was decided no commit is begun while another is under way.
/// It takes those along that build on it, and where somebody else writes to the same accounts, more follows.
const CALM: Duration = Duration::from_secs(1);

/// What a sequencer does next.
enum Next {
    /// Commit what there is to be committed.
    Begin,
    /// Answer those whose commit is over.
    Ended(Ended),
}

/// Decides and commits the commands of one lane, batch by batch.
pub(super) struct Sequencer {
    committer: Arc<Committer>,
    commands: Commands,
    pub(super) acknowledged: Acknowledged,
    pub(super) remembered: Remembered,
    /// Commands that were decided on what is no longer so.
    again: VecDeque<Submission>,
    /// Commands that were taken out of the queue, and must not be decided before those of `again`.
    held: VecDeque<Submission>,
    commits: FuturesOrdered<BoxFuture<'static, Ended>>,
    /// Whether there is a rejection in the last of them, behind which nothing is sent then. It moves no head, so what
    /// comes after it could be carried out although it is not, and then it would be decided again after that.
    has_rejections: bool,
    /// When something last went another way than it was decided.
    disturbed_at: Option<Instant>,
    /// How many commits in a row have only conflicted.
    fruitless_commits: u32,
}

impl Sequencer {
    pub(super) fn new(committer: Committer, commands: Commands, acknowledged: Acknowledged) -> Self {
        let remembered = Remembered::new(committer.options.accounts_remembered_max);
        Self {
            committer: Arc::new(committer),
            commands,
            acknowledged,
            remembered,
            again: VecDeque::new(),
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
                Next::Begin => {
                    if self.fruitless_commits >= FRUITLESS_COMMITS_MAX {
                        // Somebody else is always faster, or what is stored never matches what is read.
                        sleep(CONFLICT_PAUSE).await;
                    }
                    self.begin().await;
                }
                Next::Ended(ended) => self.end(ended),
            }
        }
    }

    /// What is to be done next: begin a commit, if none is under way or one more is worth it, else wait for the end
    /// of the one that was begun first.
    async fn next(&mut self) -> Option<Next> {
        if self.commits.is_empty() {
            let is_more = !self.again.is_empty() || !self.held.is_empty() || self.commands.wait().await;
            return is_more.then_some(Next::Begin);
        }
        let is_calm = self.disturbed_at.is_none_or(|at| at.elapsed() >= CALM);
        if self.commits.len() == COMMITS_MAX || self.has_rejections || !self.again.is_empty() || !is_calm {
            return self.commits.next().await.map(Next::Ended);
        }
        let enough = OVERLAPPING_COMMANDS_MIN.min(self.committer.options.batch_commands_max);
        tokio::select! {
            biased;
            ended = self.commits.next() => ended.map(Next::Ended),
            () = self.commands.wait_for(enough) => Some(Next::Begin),
        }
    }

    /// Decides a batch, and begins to commit it.
    async fn begin(&mut self) {
        self.remembered.trim();
        let batch = self.compose();
        let batch = self.drop_late(batch);
        let mut batch = self.recall(batch).await;
        if batch.is_empty() {
            return;
        }
        let clock = self.committer.store.clock();
        let now = match clock.now() {
            Ok(now) => now,
            Err(off) => return self.reject(batch, &off.into()),
        };
        let proposals = propose(&mut batch, &mut self.remembered, now, clock.ahead_max());
        let is_rejected = |proposal: &Proposal| proposal.decision.is_err();
        self.has_rejections = proposals.iter().any(is_rejected);
        let mut commit = Arc::clone(&self.committer).commit(batch, proposals).boxed();
        // On its way before anything else is done.
        self.commits.push_back(match poll!(&mut commit) {
            Poll::Ready(ended) => ready(ended).boxed(),
            Poll::Pending => commit,
        });
    }

    /// Answers a batch, but for what has to be decided again.
    fn end(&mut self, ended: Ended) {
        let size = ended.batch.len();
        if !ended.is_as_decided() {
            self.disturbed_at = Some(Instant::now());
        }
        let conflicts = self.answer(ended);
        self.fruitless_commits = if conflicts.len() < size { 0 } else { self.fruitless_commits + 1 };
        self.again.extend(conflicts);
    }

    /// Answers a batch of which nothing is carried out.
    fn reject(&self, batch: Vec<Submission>, error: &Error) {
        let mut rest = VecDeque::from(batch);
        while !rest.is_empty() {
            let mut chain = Vec::new();
            take_chains(&mut chain, 1, || rest.pop_front());
            abort(chain, 0, error.clone(), self.metrics());
        }
    }

    /// Answers a batch, and returns what has to be decided again.
    fn answer(&mut self, ended: Ended) -> Vec<Submission> {
        let Ended { batch, proposals, asked_at, committed } = ended;
        match committed {
            Ok(committed) => self.settle(batch, proposals, committed, asked_at),
            Err(error) => {
                self.remembered.forget(&proposals);
                for submission in batch {
                    let error = if error.is_outcome_unknown() {
                        let request_id = submission.key.request_id.clone();
                        Error::OutcomeUnknown { request_id, reason: error.to_string() }
                    } else {
                        Error::Store(error.clone())
                    };
                    submission.answer(self.metrics(), Err(error));
                }
                Vec::new()
            }
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.committer.metrics
    }

    /// Makes a batch of commands that have to be decided again, and of new ones: at most half of it of
    /// the former, so that an account in dispute does not hold up all the others. A chain that begins
    /// within its bounds is taken whole.
    fn compose(&mut self) -> Vec<Submission> {
        let LedgerOptions { batch_commands_max: batch_max, queue_commands_max: queue_max, .. } =
            self.committer.options;
        let again = &mut self.again;
        let mut batch = Vec::with_capacity(batch_max.min(again.len() + self.commands.take(|it| it.len())));
        take_chains(&mut batch, batch_max.div_ceil(2), || again.pop_front());
        // What waits to be decided again counts against the bound of the queue.
        let room = queue_max.saturating_sub(again.len());
        let size_max = batch_max.min(batch.len() + room);
        take_chains(&mut batch, size_max, || self.held.pop_front());
        let before = batch.len();
        self.commands.take(|waiting| take_chains(&mut batch, size_max, || waiting.pop_front()));
        let now = Instant::now();
        for submission in &mut batch[before..] {
            submission.taken(&self.committer.metrics, now);
        }
        batch
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
            submission.answer(self.metrics(), Err(Error::DeadlineExceeded { request_id }));
        }
        batch
    }

    /// Reads the accounts of a batch that are not remembered, and answers the commands whose accounts cannot
    /// be read. Commits that end meanwhile are answered meanwhile. If something of them has to be decided again,
    /// that comes first: the batch is held, and nothing is returned.
    async fn recall(&mut self, mut batch: Vec<Submission>) -> Vec<Submission> {
        let again_before = self.again.len();
        loop {
            let ids = batch.iter().flat_map(|submission| submission.command.account_ids());
            let mut missing: Vec<_> = ids.filter(|id| !self.remembered.recall(id)).cloned().collect();
            if missing.is_empty() {
                return batch;
            }
            missing.sort_unstable();
            missing.dedup();
            let asked_at = Instant::now();
            let store = Arc::clone(&self.committer.store);
            let mut load = pin!(load(&*store, &missing));
            let (loaded, failures) = loop {
                tokio::select! {
                    biased;
                    Some(ended) = self.commits.next() => self.end(ended),
                    read = &mut load => break read,
                }
            };
            for (id, account) in loaded {
                self.acknowledged.compare(&id, account.as_ref(), asked_at);
                // A commit that ended meanwhile may have told of a later state.
                if !self.remembered.recall(&id) {
                    self.remembered.learn(id, account);
                }
            }
            if self.again.len() > again_before {
                batch.into_iter().rev().for_each(|submission| self.held.push_front(submission));
                return Vec::new();
            }
            if !failures.is_empty() {
                batch = self.without(batch, &failures);
            }
        }
    }

    /// Answers the commands whose accounts cannot be read, and returns the others.
    fn without(&self, batch: Vec<Submission>, failures: &HashMap<AccountId, StoreError>) -> Vec<Submission> {
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
                    abort(chain, place, failure.into(), self.metrics());
                }
            }
        }
        readable
    }

    /// An account was read by a call that began at `asked_at`.
    pub(super) fn learn(&mut self, id: AccountId, account: Option<Account>, asked_at: Instant) {
        self.acknowledged.compare(&id, account.as_ref(), asked_at);
        self.remembered.learn(id, account);
    }
}

/// Reads accounts: those that can be read, and why the others cannot.
async fn load(
    store: &dyn Store,
    ids: &[AccountId],
) -> (Vec<(AccountId, Option<Account>)>, HashMap<AccountId, StoreError>) {
    let mut failures = HashMap::new();
    let loaded = match store.load(ids).await {
        Ok(loaded) => ids.iter().cloned().zip(loaded).collect(),
        // One account that cannot be read must not stop the others.
        Err(StoreError::Corrupt(_)) => {
            let mut readable = Vec::with_capacity(ids.len());
            for id in ids {
                match store.load(std::slice::from_ref(id)).await {
                    Ok(mut loaded) => readable.push((id.clone(), loaded.pop().flatten())),
                    Err(error) => drop(failures.insert(id.clone(), error)),
                }
            }
            readable
        }
        Err(error) => {
            failures.extend(ids.iter().map(|id| (id.clone(), error.clone())));
            Vec::new()
        }
    };
    (loaded, failures)
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
