//! How many calls are in flight.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tower::{Layer, Service};

/// Counts each call from its headers to the end of its reply, or until its caller is gone.
#[derive(Clone, Debug)]
pub(super) struct CountCalls {
    calls: TaskTracker,
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    inner: S,
    calls: TaskTracker,
}

/// A reply whose call counts until it has been sent.
#[derive(Debug)]
pub(super) struct CountedBody<B> {
    inner: B,
    _in_flight: TaskTrackerToken,
}

impl CountCalls {
    pub(super) fn new(calls: TaskTracker) -> Self {
        Self { calls }
    }
}

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, calls: self.calls.clone() }
    }
}

impl<S, RequestBody, B> Service<Request<RequestBody>> for Counted<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let in_flight = self.calls.token();
        let reply = self.inner.call(request);
        Box::pin(async move { Ok(reply.await?.map(|inner| CountedBody { inner, _in_flight: in_flight })) })
    }
}

impl<B: Body + Unpin> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
