//! Calls that reply with a stream of messages, the last of which is a summary.

use std::time::Duration;

use futures::{
    future::BoxFuture,
    stream::{BoxStream, StreamExt as _, try_unfold},
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
pub(crate) fn stream<W: Send + 'static, N: News<W> + 'static>(
    call: impl Future<Output = Result<Streaming<W>, Error>> + Send + 'static,
    silence_max: Duration,
) -> BoxStream<'static, Result<N, Error>> {
    let news = try_unfold(Progress::NotSent(Box::pin(call)), move |progress| async move {
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

/// Defines the replies of such a call: an enum from a response message, with the variant `Summary` last.
macro_rules! news {
    ($(
        $(#[$attribute:meta])*
        pub enum $name:ident from $response:ident in $module:ident, $call:literal {
            $($(#[$doc:meta])* $variant:ident($type:ty),)+
        }
    )+) => {$(
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant($type),)+
        }

        impl $crate::wire::FromWire<bank_proto::v1::$response> for $name {
            fn from_wire(wire: bank_proto::v1::$response) -> Result<Self, $crate::wire::Malformed> {
                match wire.news {
                    $(Some(bank_proto::v1::$module::News::$variant(wire)) => {
                        $crate::wire::FromWire::from_wire(wire).map(Self::$variant)
                    })+
                    None => Err($crate::wire::Malformed("news is missing".to_owned())),
                }
            }
        }

        impl $crate::news::News<bank_proto::v1::$response> for $name {
            const CALL: &str = $call;

            fn is_summary(&self) -> bool {
                matches!(self, Self::Summary(_))
            }
        }
    )+};
}

pub(crate) use news;
