//! Commits what was decided, until it is known what became of it.

use std::sync::Arc;

use bank_store::{Committed, Outcome, Proposal, Store, StoreError};
use tokio::time::{Instant, sleep};
use tracing::Span;

use super::{LedgerOptions, submission::Submission};
use crate::{metrics::Metrics, telemetry::TRACES};

/// Sends batches to the store.
pub(super) struct Committer {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) options: LedgerOptions,
}

/// A batch whose commit is over.
pub(super) struct Ended {
    pub(super) batch: Vec<Submission>,
    /// One for each.
    pub(super) proposals: Vec<Proposal>,
    /// When it was sent for the last time.
    pub(super) asked_at: Instant,
    pub(super) committed: Result<Committed, StoreError>,
}

impl Ended {
    /// Whether all of it was carried out, as was assumed by what was decided since.
    pub(super) fn is_as_decided(&self) -> bool {
        let committed = self.committed.as_ref();
        committed.is_ok_and(|committed| committed.outcomes.iter().all(|it| *it == Outcome::Applied))
    }
}

impl Committer {
    pub(super) async fn commit(self: Arc<Self>, batch: Vec<Submission>, proposals: Vec<Proposal>) -> Ended {
        let _spans = commit_spans(&batch);
        let began_at = Instant::now();
        let (asked_at, committed) = self.until_known(&proposals).await;
        self.metrics.commit_ended(proposals.len(), began_at.elapsed());
        Ended { batch, proposals, asked_at, committed }
    }

    /// Sends the same again for as long as the outcome is unknown. Returns when it was sent for the last time, too.
    async fn until_known(&self, proposals: &[Proposal]) -> (Instant, Result<Committed, StoreError>) {
        let give_up_at = Instant::now() + self.options.outcome_timeout;
        let mut unknown = false;
        loop {
            let asked_at = Instant::now();
            let error = match self.store.commit(proposals).await {
                Ok(committed) => return (asked_at, Ok(committed)),
                Err(error) => error,
            };
            unknown |= error.is_outcome_unknown();
            if !unknown {
                return (asked_at, Err(error));
            }
            if Instant::now() + self.options.resend_pause >= give_up_at {
                return (asked_at, Err(StoreError::OutcomeUnknown(error.to_string())));
            }
            tracing::warn!(%error, commands = proposals.len(), "outcome of a commit is unknown; sending it again");
            self.metrics.commit_resent();
            sleep(self.options.resend_pause).await;
        }
    }
}

/// One span for each command of a commit, since each is in the trace of its call.
fn commit_spans(batch: &[Submission]) -> Vec<Span> {
    let span = |it: &Submission| tracing::info_span!(target: TRACES, parent: &it.span, "commit", commands = batch.len());
    batch.iter().filter(|it| !it.span.is_none()).map(span).collect()
}
