//! What the lines of a file would come to.

use std::sync::Arc;

use bank_client::{BankClient, Error, StreamExt as _};
use futures::stream;

use super::{
    engine::{self, Bank as _, Outcome, Report, Stop},
    lines::Line,
    plan::{self, Action, BatchSize, Step},
    remote::{self, Remote},
};

/// Checks the lines that are not applied yet, all of them on one stream: so each is checked against the accounts as
/// the lines before it would leave them.
pub(super) async fn run(
    client: &BankClient,
    remote: &Remote<'_>,
    lines: &Arc<Vec<Line>>,
    steps: Vec<Step>,
    size: BatchSize,
    atomic: bool,
) -> Report {
    let mut report = Report::begin(&steps);
    if let Err(error) = check(client, remote, lines, steps, size, atomic, &mut report).await {
        report.stop = Some(Stop::Bank(error));
    }
    report
}

async fn check(
    client: &BankClient,
    remote: &Remote<'_>,
    lines: &Arc<Vec<Line>>,
    steps: Vec<Step>,
    size: BatchSize,
    atomic: bool,
    report: &mut Report,
) -> Result<(), Error> {
    let mut batches = plan::batches(lines, &steps, size, atomic);
    for batch in &mut batches {
        let mut open = Vec::with_capacity(batch.len());
        for &index in &*batch {
            if was_applied(remote, &lines[index], &steps[index]).await? {
                report.outcomes[index] = Outcome::AlreadyApplied;
            } else {
                report.outcomes[index] = Outcome::NotAttempted;
                open.push(index);
            }
        }
        *batch = open;
    }
    batches.retain(|batch| !batch.is_empty());
    let sent = {
        let (client, lines, batches) = (client.clone(), Arc::clone(lines), batches.clone());
        let batch = move |batch: Vec<usize>| {
            // Every id comes up once, so the bank need not keep them.
            let operation = |&index: &usize| {
                lines[index].instruction.operation(&client, &steps[index].request_id).without_request_id()
            };
            remote::batch(&client, batch.iter().map(operation), atomic).validate_only()
        };
        batches.into_iter().map(batch)
    };
    let mut answers = client.stream(stream::iter(sent));
    for batch in &batches {
        let Some(results) = answers.next().await else {
            return Err(Error::InvalidReply { problem: "the stream has ended early".to_owned() });
        };
        let results = results.map_err(|error| engine::by_line(error, lines, batch))?;
        for (&index, result) in batch.iter().zip(results) {
            match result {
                Ok(done) if done.replayed() => report.outcomes[index] = Outcome::AlreadyApplied,
                Ok(_) => report.outcomes[index] = Outcome::Applied,
                // What is not an answer about the line is none about those after it, either.
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    let rejection = engine::rejection(&error, lines, batch);
                    report.reject(index, rejection, Outcome::Rejected);
                }
            }
        }
        remote.progress(batch.len());
    }
    Ok(())
}

/// Whether an earlier run has sent the line, got no result, and it was applied.
async fn was_applied(remote: &Remote<'_>, line: &Line, step: &Step) -> Result<bool, Error> {
    let Action::Settle(pending) = &step.action else { return Ok(false) };
    match remote.look_up(&engine::wanted(line, &step.request_id, pending)).await {
        Err(Error::AccountNotFound { .. }) => Ok(false),
        found => Ok(found?.is_some()),
    }
}
