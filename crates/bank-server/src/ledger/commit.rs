//! Commits proposals, and sends a commit again while its outcome is unknown.

use std::sync::Arc;

use bank_store::{Committed, Outcome, Proposal, Store, StoreError};
use tokio::time::{Instant, sleep};
use tracing::Span;

use super::{options::LedgerOptions, submission::Submission};
use crate::{metrics::Metrics, telemetry::TRACES};

/// Sends batches to the store.
pub(super) struct Committer {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) options: LedgerOptions,
}

/// A commit that has ended.
pub(super) struct Ended {
    pub(super) batch: Vec<Submission>,
    /// One for each command of the batch.
    pub(super) proposals: Vec<Proposal>,
    /// When the commit was sent for the last time.
    pub(super) sent_at: Instant,
    pub(super) committed: Result<Committed, StoreError>,
}

impl Ended {
    /// Whether every proposal applied, as later decisions assumed.
    pub(super) fn is_as_decided(&self) -> bool {
        let committed = self.committed.as_ref();
        committed.is_ok_and(|committed| committed.outcomes.iter().all(|it| *it == Outcome::Applied))
    }
}

impl Committer {
    pub(super) async fn commit(self: Arc<Self>, batch: Vec<Submission>, proposals: Vec<Proposal>) -> Ended {
        let _spans = commit_spans(&batch);
        let began_at = Instant::now();
        let (sent_at, committed) = self.commit_until_known(&proposals).await;
        self.metrics.commit_ended(proposals.len(), began_at.elapsed());
        Ended { batch, proposals, sent_at, committed }
    }

    /// Sends the same commit again while its outcome is unknown. Returns when it was sent for the last time, too.
    async fn commit_until_known(&self, proposals: &[Proposal]) -> (Instant, Result<Committed, StoreError>) {
        let give_up_at = Instant::now() + self.options.outcome_timeout;
        let mut unknown = false;
        loop {
            let sent_at = Instant::now();
            let error = match self.store.commit(proposals).await {
                Ok(committed) => return (sent_at, Ok(committed)),
                Err(error) => error,
            };
            unknown |= error.is_outcome_unknown();
            if !unknown {
                return (sent_at, Err(error));
            }
            if Instant::now() + self.options.resend_pause >= give_up_at {
                return (sent_at, Err(StoreError::OutcomeUnknown(error.to_string())));
            }
            tracing::warn!(%error, commands = proposals.len(), "outcome of a commit is unknown; sending it again");
            self.metrics.commit_resends.inc();
            sleep(self.options.resend_pause).await;
        }
    }
}

/// One span for each command, since each belongs to the trace of its call.
fn commit_spans(batch: &[Submission]) -> Vec<Span> {
    let span = |it: &Submission| tracing::info_span!(target: TRACES, parent: &it.span, "commit", commands = batch.len());
    batch.iter().filter(|it| !it.span.is_none()).map(span).collect()
}
