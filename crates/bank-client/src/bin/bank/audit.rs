//! `bank audit`: findings as they come, a summary, and a bar while it runs.

use std::time::Duration;

use bank_client::{AuditNews, AuditProgress, AuditSummary, BankClient, Error, TryStreamExt as _};
use futures::Stream;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{args, failure::Failure, output::Output, table};

/// How often the bar moves while nothing is told.
const TICK: Duration = Duration::from_millis(100);

pub(crate) async fn run(client: &BankClient, args: args::Audit, output: &mut Output) -> Result<(), Failure> {
    let mut call = client.audit_accounts();
    if let Some(account) = args.account {
        call = call.account(account);
    }
    tell(call.stream(), output).await
}

/// Tells the news of an audit, and fails if there are findings.
pub(crate) async fn tell(
    news: impl Stream<Item = Result<AuditNews, Error>> + Unpin,
    output: &mut Output,
) -> Result<(), Failure> {
    // It is drawn on a terminal only.
    let bar = ProgressBar::no_length();
    bar.enable_steady_tick(TICK);
    let summary = follow(news, &bar, output).await;
    bar.finish_and_clear();
    let summary = summary?;
    output.result(&summary, table::audit(&summary));
    match summary.findings {
        0 => Ok(()),
        findings => Err(Failure::Findings(findings)),
    }
}

/// Tells the news up to the last.
async fn follow(
    mut news: impl Stream<Item = Result<AuditNews, Error>> + Unpin,
    bar: &ProgressBar,
    output: &mut Output,
) -> Result<AuditSummary, Failure> {
    while let Some(news) = news.try_next().await? {
        match news {
            AuditNews::Progress(progress) => show(bar, progress),
            AuditNews::Finding(finding) => {
                bar.suspend(|| {
                    output.result(&finding, table::finding(&finding));
                    output.flush();
                });
            }
            AuditNews::Summary(summary) => return Ok(summary),
            // From a newer server.
            _ => {}
        }
    }
    Err(Failure::Bank(Error::InvalidReply { problem: "the audit has no summary".to_owned() }))
}

fn show(bar: &ProgressBar, progress: AuditProgress) {
    let template = match progress.accounts_total {
        Some(_) => "{wide_bar} {human_pos}/{human_len} accounts, {msg} entries, {elapsed}",
        None => "{spinner} {human_pos} accounts, {msg} entries, {elapsed}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if let Some(total) = progress.accounts_total {
        bar.set_length(total.max(progress.accounts_checked));
    }
    bar.set_position(progress.accounts_checked);
    bar.set_message(progress.entries_checked.to_string());
}
