//! The audit: a stream of progress, findings and a summary.

use std::sync::Arc;

use bank_domain::{
    AccountId, MoneySum,
    audit::{Extent, Fault, Sums},
};
use bank_proto::v1::{self, audit_accounts_response as response};
use futures::TryFutureExt as _;
use tokio::sync::mpsc;

use super::{api::BankApi, call::ReplyTo, render};
use crate::{
    audit::{self, Finding, News, Problem, Progress, Summary},
    auth::Access,
    status::Failure,
};

/// How many replies wait to be sent.
const NEWS_WAITING_MAX: usize = 1;

pub(super) async fn accounts(
    api: BankApi,
    _: Access,
    account_id: Option<AccountId>,
    reply_to: ReplyTo<v1::AuditAccountsResponse>,
) -> Result<(), Failure> {
    let _permit = api.audit_permit()?;
    let (sender, news) = mpsc::channel(NEWS_WAITING_MAX);
    let (store, now) = (Arc::clone(api.ledger.store()), api.ledger.clock().estimate());
    let audit = audit::run(store, account_id, now, sender).err_into();
    tokio::try_join!(audit, reply_to.pass_on(news, reply))?;
    Ok(())
}

fn reply(news: News) -> v1::AuditAccountsResponse {
    let news = match news {
        News::Progress(progress) => response::News::Progress(self::progress(progress)),
        News::Finding(finding) => response::News::Finding(self::finding(&finding)),
        News::Summary(summary) => response::News::Summary(self::summary(&summary)),
    };
    v1::AuditAccountsResponse { news: Some(news) }
}

fn progress(progress: Progress) -> v1::AuditProgress {
    v1::AuditProgress {
        accounts_checked: render::count(progress.accounts),
        accounts_total: render::count(progress.accounts_total.unwrap_or_default()),
        entries_checked: render::count(progress.entries),
    }
}

fn finding(finding: &Finding) -> v1::AuditFinding {
    v1::AuditFinding {
        kind: kind(&finding.problem).into(),
        account_id: finding.account_id.as_ref().map(AccountId::to_string).unwrap_or_default(),
        sequence: render::count(finding.sequence.unwrap_or_default()),
        message: finding.problem.to_string(),
    }
}

fn kind(problem: &Problem) -> v1::AuditFindingKind {
    match problem {
        Problem::History(Fault::Changed { .. }) => v1::AuditFindingKind::EntryChanged,
        Problem::History(Fault::Removed { .. }) => v1::AuditFindingKind::EntryRemoved,
        Problem::History(Fault::Inserted { .. }) => v1::AuditFindingKind::EntryInserted,
        Problem::History(Fault::Reordered { .. }) => v1::AuditFindingKind::EntryReordered,
        Problem::History(Fault::RuleBroken { .. }) => v1::AuditFindingKind::RuleBroken,
        Problem::History(Fault::AccountChanged { .. }) => v1::AuditFindingKind::AccountChanged,
        Problem::AheadOfClock { .. } => v1::AuditFindingKind::AheadOfClock,
        Problem::AccountRemoved => v1::AuditFindingKind::AccountRemoved,
        Problem::Unreadable(_) => v1::AuditFindingKind::Unreadable,
        Problem::Transfer { .. } | Problem::OtherSideUnreadable { .. } => {
            v1::AuditFindingKind::TransferUnmatched
        }
        Problem::Unbalanced(_) => v1::AuditFindingKind::MoneyUnbalanced,
    }
}

fn summary(summary: &Summary) -> v1::AuditSummary {
    v1::AuditSummary {
        accounts_checked: render::count(summary.accounts),
        entries_checked: render::count(summary.entries),
        findings: render::count(summary.findings),
        books: summary.books.iter().map(|sums| books(sums, summary.extent)).collect(),
    }
}

fn books(sums: &Sums, extent: Extent) -> v1::AuditBooks {
    let minor_units = |sum: MoneySum| sum.minor_units.to_string();
    v1::AuditBooks {
        currency_code: sums.held.currency.code().to_owned(),
        money_in: minor_units(sums.money_in),
        money_out: minor_units(sums.money_out),
        interest: minor_units(sums.interest),
        transferred: minor_units(sums.transferred),
        held: minor_units(sums.held),
        balanced: sums.are_balanced(extent),
    }
}
