//! Replies that come as a stream, up to a last one.

use std::time::Duration;

use futures::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt as _},
};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::{
    Error,
    wire::{FromWire, Malformed},
};

/// A reply of a stream.
pub(crate) trait News<W>: FromWire<W> + Send {
    /// What it is news of.
    const WHAT: &str;

    /// Whether nothing comes after it.
    fn is_last(&self) -> bool;
}

/// Where a stream stands.
enum Progress<W> {
    Asked(BoxFuture<'static, Result<Streaming<W>, Error>>),
    UnderWay(Box<Streaming<W>>),
    Done,
}

/// The replies to a call that is made once the stream is polled. Each may be late by `silence_max`.
pub(crate) fn news<W: Send + 'static, N: News<W> + 'static>(
    call: impl Future<Output = Result<Streaming<W>, Error>> + Send + 'static,
    silence_max: Duration,
) -> BoxStream<'static, Result<N, Error>> {
    let news = stream::try_unfold(Progress::Asked(Box::pin(call)), move |progress| async move {
        let next = async {
            let mut replies = match progress {
                Progress::Asked(call) => Box::new(call.await?),
                Progress::UnderWay(replies) => replies,
                Progress::Done => return Ok(None),
            };
            let reply = replies.message().await.map_err(|status: Status| Error::from_status(status, None))?;
            let reply = reply.ok_or_else(|| Malformed(format!("the {} ended without a summary", N::WHAT)));
            let news =
                reply.and_then(N::from_wire).map_err(|Malformed(problem)| Error::InvalidReply { problem })?;
            let progress = if news.is_last() { Progress::Done } else { Progress::UnderWay(replies) };
            Ok(Some((news, progress)))
        };
        timeout(silence_max, next).await.unwrap_or(Err(Error::DeadlineExceeded { request_id: None }))
    });
    news.boxed()
}
