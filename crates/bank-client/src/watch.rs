//! Watches: histories as they happen, which go on by themselves after whatever breaks them off.

use std::{fmt, sync::Arc, time::Duration};

use bank_proto::v1;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::{
    AccountName, BankClient, Call, Entry, Error,
    methods::WatchTransactions,
    wire::{FromWire, Malformed, all},
};

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchNews {
    /// What has happened since the news before: nothing, if nothing has for a while, and in the first
    /// news of a watch that begins now. The entries of one account are in the order of their sequences.
    pub entries: Vec<Entry>,
    /// Where a watch goes on after these entries. Keep it once they have been dealt with.
    pub resume_token: ResumeToken,
}

/// Where a watch goes on. Opaque; it is good for any server of the same bank, and does not expire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResumeToken(String);

impl ResumeToken {
    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ResumeToken {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for ResumeToken {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<ResumeToken> for String {
    fn from(token: ResumeToken) -> Self {
        token.0
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromWire<v1::WatchTransactionsResponse> for WatchNews {
    fn from_wire(wire: v1::WatchTransactionsResponse) -> Result<Self, Malformed> {
        if wire.resume_token.is_empty() {
            return Err(Malformed("resume_token is missing".to_owned()));
        }
        Ok(Self { entries: all(wire.entries)?, resume_token: ResumeToken(wire.resume_token) })
    }
}

/// What is told of interruptions.
pub(crate) type OnInterruption = Arc<dyn Fn(&Error) + Send + Sync>;

impl BankClient {
    /// Watches an account: tells of its entries as they are written, from now on unless told otherwise.
    /// The call has no single reply: see [`Call::<WatchTransactions>::stream`].
    pub fn watch(&self, account_id: impl AccountName) -> Call<WatchTransactions> {
        let account_id = account_id.into_text();
        self.watching(v1::WatchTransactionsRequest { account_id, ..Default::default() })
    }

    /// Watches every account that the caller may see, also those that are opened later; the bank bounds
    /// how many there may be. See [`watch`](Self::watch).
    pub fn watch_all(&self) -> Call<WatchTransactions> {
        self.watching(v1::WatchTransactionsRequest::default())
    }

    fn watching(&self, request: v1::WatchTransactionsRequest) -> Call<WatchTransactions> {
        Call::new(self.clone(), WatchTransactions { request, on_interruption: None })
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
                    // From here on it goes on after these.
                    news.resume_token.as_str().clone_into(&mut self.method.request.resume_token);
                    return Ok(news);
                }
                Err(error) => error,
            };
            let goes_on = self.goes_on_after(&error);
            self.replies = None;
            self.failures = self.failures.saturating_add(1);
            if !goes_on {
                return Err(error);
            }
            if let Some(hear) = &self.method.on_interruption {
                hear(&error);
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
                let begin = self.client.watch_transactions(self.method.request.clone());
                let stream = Box::new(timeout(self.silence_max, begin).await.map_err(late)??);
                self.replies.insert(Replies { stream, heartbeat_interval: None })
            }
        };
        let silence_max = self.silence_max.saturating_add(replies.heartbeat_interval.unwrap_or_default());
        let reply = timeout(silence_max, replies.stream.message()).await.map_err(late)?;
        let reply = reply.map_err(|status| Error::from_status(status, None))?;
        let reply = reply.ok_or_else(|| {
            let message = "the watch ended without saying why".to_owned();
            Error::ConnectionLost { message }
        })?;
        let heartbeat_interval = reply.heartbeat_interval.and_then(|interval| interval.try_into().ok());
        replies.heartbeat_interval = Some(heartbeat_interval.unwrap_or_default());
        WatchNews::from_wire(reply).map_err(|Malformed(problem)| Error::InvalidReply { problem })
    }

    /// Whether it is worth trying again. Until the bank has told it anything, no longer than with any
    /// other call.
    fn goes_on_after(&self, error: &Error) -> bool {
        let was_answered = self.replies.as_ref().is_some_and(|replies| replies.heartbeat_interval.is_some());
        match error {
            // The token has ended while it was used. There may be another by now.
            Error::Unauthenticated { .. } => was_answered,
            error if !error.is_retryable() => false,
            _ => self.has_begun || self.failures.saturating_add(1) < self.client.retry().attempts(),
        }
    }
}
