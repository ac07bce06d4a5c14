//! Commits what was decided, until it is known what became of it.

use std::sync::Arc;

use bank_store::{Committed, Proposal, Store, StoreError};
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
    pub(super) began_at: Instant,
    pub(super) committed: Result<Committed, StoreError>,
}

impl Committer {
    pub(super) async fn commit(self: Arc<Self>, batch: Vec<Submission>, proposals: Vec<Proposal>) -> Ended {
        let _spans = commit_spans(&batch);
        let began_at = Instant::now();
        let committed = self.until_known(&proposals).await;
        self.metrics.commit_ended(proposals.len(), began_at.elapsed());
        Ended { batch, proposals, began_at, committed }
    }

    /// Sends the same again for as long as the outcome is unknown.
    async fn until_known(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
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

/// One span for each command of a commit, since each is in the trace of its call.
fn commit_spans(batch: &[Submission]) -> Vec<Span> {
    let span = |it: &Submission| tracing::info_span!(target: TRACES, parent: &it.span, "commit", commands = batch.len());
    batch.iter().filter(|it| !it.span.is_none()).map(span).collect()
}
