//! Exports and imports: streams of file contents and progress.

use std::sync::Arc;

use bank_proto::v1::{self, export_bank_response, import_bank_response};
use futures::{TryFutureExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

use super::{
    api::BankApi,
    call::ReplyTo,
    parse::{NoFields, Upload},
    render,
};
use crate::{
    auth::Access,
    backup::{self, Counts, ExportNews, ExportSummary, ImportNews},
    status::Failure,
};

/// How many replies, or parts of a file, wait to be passed on.
const WAITING_MAX: usize = 1;

pub(super) async fn export(
    api: BankApi,
    _: Access,
    _: NoFields,
    reply_to: ReplyTo<v1::ExportBankResponse>,
) -> Result<(), Failure> {
    let _permit = api.audit_permit()?;
    let (news, reported) = mpsc::channel(WAITING_MAX);
    let export = backup::export(Arc::clone(api.ledger.store()), news);
    tokio::try_join!(export.err_into(), reply_to.pass_on(reported, exported))?;
    Ok(())
}

pub(super) async fn import(
    api: BankApi,
    _: Access,
    Upload(mut file): Upload,
    reply_to: ReplyTo<v1::ImportBankResponse>,
) -> Result<(), Failure> {
    let (news, reported) = mpsc::channel(WAITING_MAX);
    let (sender, data) = mpsc::channel(WAITING_MAX);
    let import = backup::import(Arc::clone(api.ledger.store()), data, news);
    // Fails if the caller leaves in the middle, which is not the end of the file.
    let receive = async move {
        while let Some(data) = file.try_next().await? {
            if sender.send(data).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::try_join!(import.err_into(), receive, reply_to.pass_on(reported, imported))?;
    Ok(())
}

fn exported(news: ExportNews) -> v1::ExportBankResponse {
    use export_bank_response::News;
    let news = match news {
        ExportNews::Data(data) => News::Data(data),
        ExportNews::Progress(Counts { accounts, entries, requests }, accounts_total) => {
            News::Progress(v1::ExportProgress {
                accounts: render::count(accounts),
                accounts_total: render::count(accounts_total.unwrap_or_default()),
                entries: render::count(entries),
                requests: render::count(requests),
            })
        }
        ExportNews::Summary(ExportSummary { counts, of_one_instant }) => News::Summary(v1::ExportSummary {
            accounts: render::count(counts.accounts),
            entries: render::count(counts.entries),
            requests: render::count(counts.requests),
            of_one_instant,
        }),
    };
    v1::ExportBankResponse { news: Some(news) }
}

fn imported(news: ImportNews) -> v1::ImportBankResponse {
    use import_bank_response::News;
    let news = match news {
        ImportNews::Progress(bytes, Counts { accounts, entries, requests }) => {
            News::Progress(v1::ImportProgress {
                bytes: render::count(bytes),
                accounts: render::count(accounts),
                entries: render::count(entries),
                requests: render::count(requests),
            })
        }
        ImportNews::Summary(Counts { accounts, entries, requests }) => News::Summary(v1::ImportSummary {
            accounts: render::count(accounts),
            entries: render::count(entries),
            requests: render::count(requests),
        }),
    };
    v1::ImportBankResponse { news: Some(news) }
}
