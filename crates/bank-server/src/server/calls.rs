//! How many calls are in flight, how each ended, and how long it took.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::{grpc::EndsWhenDraining, metrics::Metrics};

/// Counts each call from its headers to the end of its reply, or until its caller is gone. A stream of
/// replies that ends when the server drains is waited for up to its beginning only.
#[derive(Clone, Debug)]
pub(super) struct CountCalls {
    calls: TaskTracker,
    metrics: Arc<Metrics>,
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    inner: S,
    count: CountCalls,
}

/// A reply whose call counts until it has been sent.
#[derive(Debug)]
pub(super) struct CountedBody<B> {
    inner: B,
    call: CountedCall,
}

/// A call that has not ended. It ends when this is dropped.
#[derive(Debug)]
struct CountedCall {
    /// None where nobody has to wait for its end.
    in_flight: Option<TaskTrackerToken>,
    metrics: Arc<Metrics>,
    path: http::Uri,
    began_at: Instant,
    /// How it ended. Whoever leaves before the end has cancelled it.
    code: Code,
}

impl CountCalls {
    pub(super) fn new(calls: TaskTracker, metrics: Arc<Metrics>) -> Self {
        Self { calls, metrics }
    }

    fn begin(&self, path: http::Uri) -> CountedCall {
        self.metrics.call_began();
        CountedCall {
            in_flight: Some(self.calls.token()),
            metrics: Arc::clone(&self.metrics),
            path,
            began_at: Instant::now(),
            code: Code::Cancelled,
        }
    }
}

impl CountedCall {
    /// Takes the code out of headers or trailers, if it is there.
    fn look_at(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(Status::GRPC_STATUS) {
            self.code = Code::from_bytes(status.as_bytes());
        }
    }
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        // The path has been matched to the service; a method that it does not have is one label.
        let method = self.path.path().rsplit('/').next().unwrap_or_default();
        let method = if self.code == Code::Unimplemented { "other" } else { method };
        self.metrics.call_ended(method, self.code, self.began_at.elapsed());
    }
}

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, count: self.clone() }
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
        let mut call = self.count.begin(request.uri().clone());
        let reply = self.inner.call(request);
        Box::pin(async move {
            let reply = reply.await?;
            call.look_at(reply.headers());
            if reply.extensions().get::<EndsWhenDraining>().is_some() {
                call.in_flight = None;
            }
            Ok(reply.map(|inner| CountedBody { inner, call }))
        })
    }
}

impl<B: Body + Unpin> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.look_at(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
