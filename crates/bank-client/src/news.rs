//! Calls that reply with a stream of messages, the last of which is a summary.

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

/// A reply of such a call.
pub(crate) trait News<W>: FromWire<W> + Send {
    /// The call, for errors: `audit`.
    const CALL: &str;

    fn is_summary(&self) -> bool;
}

/// The state of such a call.
enum Progress<W> {
    NotSent(BoxFuture<'static, Result<Streaming<W>, Error>>),
    UnderWay(Box<Streaming<W>>),
    Done,
}

/// The replies to a call that is made when the stream is first polled. It fails if the next reply takes longer
/// than `silence_max`.
pub(crate) fn news<W: Send + 'static, N: News<W> + 'static>(
    call: impl Future<Output = Result<Streaming<W>, Error>> + Send + 'static,
    silence_max: Duration,
) -> BoxStream<'static, Result<N, Error>> {
    let news = stream::try_unfold(Progress::NotSent(Box::pin(call)), move |progress| async move {
        let next = async {
            let mut replies = match progress {
                Progress::NotSent(call) => Box::new(call.await?),
                Progress::UnderWay(replies) => replies,
                Progress::Done => return Ok(None),
            };
            let reply = replies.message().await.map_err(|status: Status| Error::from_status(status, None))?;
            let reply = reply.ok_or_else(|| Malformed(format!("the {} ended without a summary", N::CALL)))?;
            let news = N::from_wire(reply)?;
            let progress = if news.is_summary() { Progress::Done } else { Progress::UnderWay(replies) };
            Ok(Some((news, progress)))
        };
        timeout(silence_max, next).await.unwrap_or(Err(Error::DeadlineExceeded { request_id: None }))
    });
    news.boxed()
}

/// Implements [`News`] for enums with a variant `Summary`.
macro_rules! summarized {
    ($($news:ident of $response:ident: $call:literal;)+) => {$(
        impl $crate::news::News<v1::$response> for $news {
            const CALL: &str = $call;

            fn is_summary(&self) -> bool {
                matches!(self, Self::Summary(_))
            }
        }
    )+};
}

pub(crate) use summarized;
