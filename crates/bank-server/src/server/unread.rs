//! Reads and discards the rest of messages whose calls have already been answered.
//!
//! A call may be answered before its message has arrived: when it is refused, or its deadline has passed. h2 would then
//! reset the call while its client is still sending. h2 remembers 50 reset calls for a second; data for a call that it
//! has forgotten counts as a protocol violation, and after 100 of those it closes the
//! connection with all other calls on it. So the rest of the message is read and discarded, within limits. Only what
//! exceeds them is reset.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

use super::options::UnreadBounds;

/// Reads and discards messages; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    bounds: UnreadBounds,
    permits: Arc<Semaphore>,
}

/// The message of a call. When this is dropped, the rest of the message is read and discarded.
#[derive(Debug)]
pub(super) struct Message {
    /// `None` only while this is dropped.
    incoming: Option<Incoming>,
    unread: Unread,
}

impl Unread {
    pub(super) fn new(bounds: UnreadBounds) -> Self {
        Self { bounds, permits: Arc::new(Semaphore::new(bounds.messages_max)) }
    }

    pub(super) fn message(&self, incoming: Incoming) -> Message {
        Message { incoming: Some(incoming), unread: self.clone() }
    }

    fn discard(&self, mut rest: Incoming) {
        // Without a runtime the process is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
        let UnreadBounds { bytes_max, timeout: bound, .. } = self.bounds;
        runtime.spawn(async move {
            let mut bytes = 0;
            let all = async {
                while bytes < bytes_max
                    && let Some(Ok(frame)) = rest.frame().await
                {
                    bytes += frame.data_ref().map_or(0, Bytes::len);
                }
            };
            // A message that has not ended by then is reset.
            let _ = timeout(bound, all).await;
            drop(permit);
        });
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(rest) = self.incoming.take().filter(|incoming| !incoming.is_end_stream()) {
            self.unread.discard(rest);
        }
    }
}
