//! What nobody reads of messages, because their calls are answered already.
//!
//! A call may be answered by its headers alone, or by the beginning of its message: when it is refused, or
//! its time is up. HTTP/2 would reset it then, while the rest of its message is on its way. What
//! arrives after HTTP/2 has forgotten the call, of which it remembers 50 for a second, it takes for a
//! violation by the client, and closes the connection after some of them, with all other calls on it
//! (100). So the rest is taken in and thrown away, and the call is over once
//! its client has said all. Only what goes beyond the bounds is reset.

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

/// Takes in what nobody reads; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    bounds: UnreadBounds,
    places: Arc<Semaphore>,
}

/// The message of a call. What is unread of it when this is dropped is taken in all the same.
#[derive(Debug)]
pub(super) struct Message {
    /// There until this is dropped.
    incoming: Option<Incoming>,
    unread: Unread,
}

impl Unread {
    pub(super) fn new(bounds: UnreadBounds) -> Self {
        Self { bounds, places: Arc::new(Semaphore::new(bounds.messages_max)) }
    }

    pub(super) fn message(&self, incoming: Incoming) -> Message {
        Message { incoming: Some(incoming), unread: self.clone() }
    }

    fn take_in(&self, mut rest: Incoming) {
        // Without a runtime, the server and its connections are at their end.
        let Ok(runtime) = Handle::try_current() else { return };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
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
            // What has not ended by then is reset.
            let _ = timeout(bound, all).await;
            drop(place);
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
            self.unread.take_in(rest);
        }
    }
}
