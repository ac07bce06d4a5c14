//! Checks what a file would do.

use std::sync::Arc;

use bank_client::{BankClient, Error, Rejection, StreamExt as _};
use futures::stream;

use super::{
    bank::{Bank as _, Wanted, by_line, rejection},
    journal::State,
    lines::Line,
    plan::{self, BatchSize, Step},
    remote::{self, Remote},
    report::{Outcome, Report, Stop},
};

pub(super) struct DryRun<'a> {
    pub(super) client: &'a BankClient,
    pub(super) remote: &'a Remote<'a>,
    pub(super) lines: &'a Arc<Vec<Line>>,
    pub(super) size: BatchSize,
    pub(super) atomic: bool,
}

impl DryRun<'_> {
    /// Checks the lines that are not applied yet, all of them on one stream, so that each is checked against the
    /// accounts as the lines before it would leave them.
    pub(super) async fn run(self, steps: Vec<Step>) -> Report {
        let mut report = Report::begin(&steps);
        report.stop = self.check(steps, &mut report).await.err().map(Stop::Bank);
        report
    }

    async fn check(&self, steps: Vec<Step>, report: &mut Report) -> Result<(), Error> {
        let Self { client, remote, lines, size, atomic } = *self;
        let mut batches = Vec::new();
        for batch in plan::batches(lines, &steps, size, atomic) {
            let mut open = Vec::with_capacity(batch.len());
            for index in batch {
                let is_applied = self.was_applied(&lines[index], &steps[index]).await?;
                report.outcomes[index] =
                    if is_applied { Outcome::AlreadyApplied } else { Outcome::NotAttempted };
                if !is_applied {
                    open.push(index);
                }
            }
            if !open.is_empty() {
                batches.push(open);
            }
        }
        let (sender, sent_lines) = (client.clone(), Arc::clone(lines));
        let sent = batches.clone().into_iter().map(move |batch| {
            // Every request is sent once, so the bank need not keep its id.
            let operation = |&index: &usize| {
                sent_lines[index]
                    .instruction
                    .operation(&sender, &steps[index].request_id)
                    .without_request_id()
            };
            remote::batch(&sender, batch.iter().map(operation), atomic).validate_only()
        });
        let mut answers = client.stream(stream::iter(sent)).results();
        for batch in &batches {
            let Some(results) = answers.next().await else {
                return Err(Error::InvalidReply("the stream ended early".to_owned()));
            };
            let results = results.map_err(|error| by_line(error, lines, batch))?;
            for (&index, result) in batch.iter().zip(results) {
                match result {
                    Ok(done) if done.brief().replayed => report.outcomes[index] = Outcome::AlreadyApplied,
                    Ok(_) => report.outcomes[index] = Outcome::Applied,
                    // This is no answer to the line, nor to those after it.
                    Err(error) if error.is_retryable() => return Err(error),
                    Err(error) => {
                        report.set(index, Outcome::Rejected, Some(&rejection(&error, lines, batch)));
                    }
                }
            }
            remote.progress(batch.len());
        }
        Ok(())
    }

    /// Whether an earlier run has sent the line without getting a result, and it was applied.
    async fn was_applied(&self, line: &Line, step: &Step) -> Result<bool, Error> {
        let State::Pending(pending) = &step.state else { return Ok(false) };
        match self.remote.look_up(&Wanted::of_line(line, &step.request_id, pending)).await {
            Err(Error::Rejected { rejection: Rejection::AccountNotFound { .. }, .. }) => Ok(false),
            found => Ok(found?.is_some()),
        }
    }
}
