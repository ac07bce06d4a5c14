//! The watch: a stream of replies that never ends by itself.

use std::{pin::pin, sync::Arc};

use bank_domain::Entry;
use bank_proto::v1;
use bank_store::Store;
use tokio::time::timeout;

use super::{api::BankApi, call::ReplyTo, parse::WatchQuery, read, render, scans::Scans};
use crate::{
    admission::Resource,
    auth::{Access, Extent},
    notifier::Selection,
    status::{Failure, LimitKind},
    watch::{Watch, WatchOptions},
};

pub(super) async fn transactions(
    api: BankApi,
    access: Access,
    query: WatchQuery,
    reply_to: ReplyTo<v1::WatchTransactionsResponse>,
) -> Result<Extent, Failure> {
    let options = api.options.watch;
    let _permit = reply_to.caller().try_take(Resource::Watches, 1)?;
    let store: Arc<dyn Store> =
        Arc::new(Scans::new(Arc::clone(api.ledger.store()), reply_to.caller().clone()));
    let (selection, extent) = match query.account_id {
        Some(account_id) => {
            let account = read::visible(&*store, &access, account_id).await?;
            let extent = access.extent_of(&account.owner);
            (Selection::Account(account.id), extent)
        }
        None => {
            let (owner, extent) = access.listed(query.owner)?;
            (owner.map_or(Selection::Bank, Selection::Owner), extent)
        }
    };
    reply_to.reaches(extent);
    let mut watch = Watch::start(store, api.ledger.notifier(), options, selection, query.start).await?;
    let mut entries = Vec::new();
    loop {
        let token = watch.resume_token();
        send(&reply_to, entries, &token, options).await?;
        let mut next = pin!(watch.next());
        entries = loop {
            // A heartbeat, however long the store takes.
            match timeout(options.heartbeat_interval, &mut next).await {
                Ok(next) => break next?,
                Err(_) => send(&reply_to, Vec::new(), &token, options).await?,
            }
        };
    }
}

/// Sends a reply; fails if the caller does not take it in time.
async fn send(
    reply_to: &ReplyTo<v1::WatchTransactionsResponse>,
    entries: Vec<Entry>,
    token: &str,
    options: WatchOptions,
) -> Result<(), Failure> {
    let reply = v1::WatchTransactionsResponse {
        entries: entries.iter().map(render::entry).collect(),
        resume_token: token.to_owned(),
        heartbeat_interval: Some(render::duration(options.heartbeat_interval)),
    };
    // Only the reply is in memory while it waits.
    drop(entries);
    let sent = timeout(options.consumer_timeout, reply_to.send(reply)).await;
    sent.map_err(|_| Failure::limit(LimitKind::ConsumerTimeout, options.consumer_timeout.as_millis()))?
}
