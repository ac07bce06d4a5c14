//! `bank audit`.

use bank_client::{AccountId, AuditNews, AuditProgress, AuditSummary, BankClient, Error, TryStreamExt as _};
use futures::Stream;
use indicatif::ProgressBar;

use crate::{
    failure::{Exit, Failure},
    json::Json as _,
    output::Output,
    progress, table,
};

pub(crate) async fn run(
    client: &BankClient,
    account: Option<AccountId>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut call = client.audit_accounts();
    if let Some(account) = account {
        call = call.account(account);
    }
    report(call.stream(), output).await
}

/// Reports findings as they arrive and then the summary. Fails if there are findings.
pub(crate) async fn report(
    news: impl Stream<Item = Result<AuditNews, Error>> + Unpin,
    output: &mut Output,
) -> Result<(), Failure> {
    let bar = progress::bar(None, "{spinner} {human_pos} accounts, {msg} entries, {elapsed}");
    let summary = follow(news, &bar, output).await;
    bar.finish_and_clear();
    let summary = summary?;
    output.result(summary.json(), table::audit(&summary));
    match summary.findings {
        0 => Ok(()),
        findings => {
            let message = format!("the audit has {findings} findings");
            Err(Failure::new(Exit::AuditFindings, "AUDIT_FINDINGS", message))
        }
    }
}

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
                    output.result(finding.json(), table::finding(&finding));
                    output.flush();
                });
            }
            AuditNews::Summary(summary) => return Ok(summary),
            // From a newer server.
            _ => {}
        }
    }
    Err(Error::InvalidReply { problem: "the audit has no summary".to_owned() }.into())
}

fn show(bar: &ProgressBar, progress: AuditProgress) {
    if let Some(total) = progress.accounts_total {
        progress::set_style(bar, "{wide_bar} {human_pos}/{human_len} accounts, {msg} entries, {elapsed}");
        bar.set_length(total.max(progress.accounts_checked));
    }
    bar.set_position(progress.accounts_checked);
    bar.set_message(progress.entries_checked.to_string());
}
