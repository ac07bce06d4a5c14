//! `bank audit`.

use std::collections::BTreeMap;

use bank_client::{AccountId, AuditNews, BankClient, Error, TryStreamExt as _, json::Json as _};
use futures::Stream;

use crate::{
    failure::{Exit, Failure},
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
    let bar = &progress::bar(None, "{spinner} {human_pos} accounts, {msg} entries, {elapsed}");
    let summary = progress::follow(bar, news.map_err(Failure::from), |news| {
        match news {
            AuditNews::Progress(progress) => {
                if let Some(total) = progress.accounts_total {
                    let template = "{wide_bar} {human_pos}/{human_len} accounts, {msg} entries, {elapsed}";
                    progress::set_style(bar, template);
                    bar.set_length(total.max(progress.accounts_checked));
                }
                bar.set_position(progress.accounts_checked);
                bar.set_message(progress.entries_checked.to_string());
            }
            AuditNews::Finding(finding) => bar.suspend(|| {
                output.result(BTreeMap::from([("finding", finding.json())]), table::finding(&finding));
                output.flush();
            }),
            AuditNews::Summary(summary) => return Ok(Some(summary)),
            // From a newer server.
            _ => {}
        }
        Ok(None)
    });
    let summary = summary.await?;
    output.result(BTreeMap::from([("summary", summary.json())]), table::audit(&summary));
    match summary.findings {
        0 => Ok(()),
        findings => {
            let message = format!("the audit has {findings} findings");
            Err(Failure::new(Exit::AuditFindings, "AUDIT_FINDINGS", message))
        }
    }
}
