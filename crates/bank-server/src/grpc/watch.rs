//! The watch: a stream of replies that never ends by itself.

use std::{pin::pin, sync::Arc};

use bank_domain::Entry;
use bank_proto::v1;
use tokio::time::timeout;

use super::{api::BankApi, call::ReplyTo, parse::WatchQuery, read, render};
use crate::{
    admission::Resource,
    auth::Access,
    notifier::Selection,
    scans::Scans,
    status::{Failure, LimitKind},
    watch::{Watch, WatchOptions},
};

pub(super) async fn transactions(
    api: BankApi,
    access: Access,
    query: WatchQuery,
    reply_to: ReplyTo<v1::WatchTransactionsResponse>,
) -> Result<(), Failure> {
    let options = api.options.watch;
    let _permit = reply_to.caller().try_take(Resource::Watches, 1)?;
    let scans = Scans::new(Arc::clone(api.ledger.store()), reply_to.caller().clone());
    let selection = match query.account_id {
        Some(account_id) => Selection::Account(read::visible(scans.store(), &access, account_id).await?.id),
        None => access.listed(query.owner)?.map_or(Selection::Bank, Selection::Owner),
    };
    let mut watch = Watch::start(scans, api.ledger.notifier(), options, selection, query.start).await?;
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
