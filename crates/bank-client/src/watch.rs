//! Watches: streams of new entries, which continue by themselves after an interruption.

use std::time::Duration;

use bank_proto::v1;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::{
    Error,
    client::{BankClient, Target},
    method::{Stub, WatchTransactions},
    model::Entry,
    wire::{FromWire as _, from_wire},
};

from_wire! {
    /// A message from a watch.
    pub struct WatchNews from WatchTransactionsResponse {
        /// The entries since the previous message, those of one account in order. Empty in heartbeats, and in the
        /// first message of a watch that starts with new entries.
        entries: Vec<Entry> = all(entries),
        /// Where a watch continues after these entries; keep it once they are processed. Opaque, valid for every
        /// server of the bank, and without expiry.
        resume_token: String = text(resume_token),
    }
}

/// A watch under way.
struct Watch {
    client: BankClient,
    method: WatchTransactions,
    /// How late an answer may be.
    silence_max: Duration,
    /// None while it is broken off.
    replies: Option<Replies>,
    /// Whether the bank has ever told it anything.
    has_begun: bool,
    /// How often it failed since the bank told it something.
    failures: u32,
}

/// The replies on one connection.
struct Replies {
    stream: Box<Streaming<v1::WatchTransactionsResponse>>,
    /// How long the bank is silent at most, once it has said so.
    heartbeat_interval: Option<Duration>,
}

/// The news of a watch, without an end. The bank may be late by `silence_max`.
pub(crate) fn news(
    client: BankClient,
    method: WatchTransactions,
    silence_max: Duration,
) -> BoxStream<'static, Result<WatchNews, Error>> {
    let watch = Watch { client, method, silence_max, replies: None, has_begun: false, failures: 0 };
    stream::try_unfold(watch, |mut watch| async {
        let news = watch.next().await?;
        Ok(Some((news, watch)))
    })
    .boxed()
}

impl Watch {
    /// The next news, however often it takes to connect for them.
    async fn next(&mut self) -> Result<WatchNews, Error> {
        loop {
            let error = match self.receive().await {
                Ok(news) => {
                    (self.has_begun, self.failures) = (true, 0);
                    self.method.request.resume_token.clone_from(&news.resume_token);
                    return Ok(news);
                }
                Err(error) => error,
            };
            let reconnects = self.reconnects_after(&error);
            self.replies = None;
            self.failures = self.failures.saturating_add(1);
            if !reconnects {
                return Err(error);
            }
            if let Some(on_interruption) = &self.method.on_interruption {
                on_interruption(&error);
            }
            let pause = self.client.retry().jitter(self.failures);
            sleep(error.retry_after().unwrap_or_default().saturating_add(pause)).await;
        }
    }

    async fn receive(&mut self) -> Result<WatchNews, Error> {
        let late = |_| Error::DeadlineExceeded { request_id: None };
        let replies = match &mut self.replies {
            Some(replies) => replies,
            None => {
                let send = |mut stub: Stub, request| async move { stub.watch_transactions(request).await };
                let account_id = Some(self.method.request.account_id.as_str());
                let target = Target { account_id, ..Target::default() };
                let begin = self.client.send(self.method.request.clone(), target, send);
                let stream = Box::new(timeout(self.silence_max, begin).await.map_err(late)??);
                self.replies.insert(Replies { stream, heartbeat_interval: None })
            }
        };
        let silence_max = self.silence_max.saturating_add(replies.heartbeat_interval.unwrap_or_default());
        let reply = timeout(silence_max, replies.stream.message()).await.map_err(late)?;
        let reply = reply.map_err(|status| Error::from_status(status, None))?;
        let reply = reply.ok_or_else(|| {
            let message = "the watch ended without saying why".to_owned();
            Error::ConnectionLost(message)
        })?;
        let heartbeat_interval = reply.heartbeat_interval.and_then(|interval| interval.try_into().ok());
        replies.heartbeat_interval = Some(heartbeat_interval.unwrap_or_default());
        Ok(WatchNews::from_wire(reply)?)
    }

    /// Whether it is worth trying again. Until the bank has told it anything, no longer than with any
    /// other call.
    fn reconnects_after(&self, error: &Error) -> bool {
        let was_answered = self.replies.as_ref().is_some_and(|replies| replies.heartbeat_interval.is_some());
        match error {
            // The token has ended while it was used. There may be another by now.
            Error::Unauthenticated { .. } => was_answered,
            error if !error.is_retryable() => false,
            _ => self.has_begun || self.failures.saturating_add(1) < self.client.retry().attempts_max,
        }
    }
}
