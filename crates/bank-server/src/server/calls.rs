//! Calls, from their headers to the end of their replies.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bank_proto::v1::bank_service_server::SERVICE_NAME;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service;

use super::activity::{Activity, CallInFlight};
use crate::{
    grpc::{Failure, refusal},
    metrics::Metrics,
};

/// How much of a reply is handed on at a time: what HTTP/2 calls a frame.
const CHUNK_BYTES: usize = 16 * 1024;
/// The most that is left for the end. What a caller does not take of a reply counts until this is
/// all there is.
const LAST_CHUNK_BYTES: usize = 1024;

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The services of the server; cheap to clone.
#[derive(Clone)]
pub(super) struct Services<Bank> {
    /// With all that stands between a call and the bank.
    pub(super) bank: Bank,
    pub(super) others: Routes,
    /// How long a call to the bank may take to answer. The bank itself watches deadlines; this is
    /// for a message that never comes.
    pub(super) answer_timeout: Duration,
    /// The calls to the bank in flight.
    pub(super) calls: TaskTracker,
    pub(super) metrics: Arc<Metrics>,
}

/// The services as one connection calls them.
pub(super) struct OneConnection<Bank> {
    services: Services<Bank>,
    peer: Peer,
    activity: Arc<Activity>,
}

/// A reply on its way, whose call is in flight until the last of it was taken.
pub(super) struct Reply {
    inner: Body,
    rest: Bytes,
    call: CallInFlight,
    of_the_bank: Option<BankCall>,
}

/// A call to the bank that has not ended. It ends when this is dropped.
struct BankCall {
    _in_flight: TaskTrackerToken,
    metrics: Arc<Metrics>,
    path: http::Uri,
    began_at: Instant,
    /// How it ended. Whoever leaves before the end has cancelled it.
    code: Code,
}

impl<Bank> OneConnection<Bank> {
    pub(super) fn new(services: Services<Bank>, peer: SocketAddr, activity: Arc<Activity>) -> Self {
        Self { services, peer: Peer(peer), activity }
    }
}

impl<Bank> hyper::service::Service<Request<Incoming>> for OneConnection<Bank>
where
    Bank: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    Bank::Future: Send,
{
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let call = CallInFlight::begin(Arc::clone(&self.activity));
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer);
        // No service of this server makes anybody wait until it is ready.
        if is_for_the_bank(&request) {
            let mut of_the_bank = self.services.begin(request.uri().clone());
            let answer = timeout(self.services.answer_timeout, self.services.bank.clone().call(request));
            Box::pin(async move {
                let answer = match answer.await {
                    Ok(answer) => answer?,
                    Err(_) => refusal(Failure::DeadlineExceeded),
                };
                of_the_bank.look_at(answer.headers());
                Ok(answer.map(|inner| Reply::new(inner, call, Some(of_the_bank))))
            })
        } else {
            let answer = self.services.others.clone().call(request);
            Box::pin(async move { Ok(answer.await?.map(|inner| Reply::new(inner, call, None))) })
        }
    }
}

fn is_for_the_bank(request: &Request<Body>) -> bool {
    let path = request.uri().path().strip_prefix('/');
    path.and_then(|path| path.strip_prefix(SERVICE_NAME)).is_some_and(|method| method.starts_with('/'))
}

impl<Bank> Services<Bank> {
    fn begin(&self, path: http::Uri) -> BankCall {
        self.metrics.call_began();
        BankCall {
            _in_flight: self.calls.token(),
            metrics: Arc::clone(&self.metrics),
            path,
            began_at: Instant::now(),
            code: Code::Cancelled,
        }
    }
}

impl BankCall {
    /// Takes the code out of headers or trailers, if it is there.
    fn look_at(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(Status::GRPC_STATUS) {
            self.code = Code::from_bytes(status.as_bytes());
        }
    }
}

impl Drop for BankCall {
    fn drop(&mut self) {
        // The path has been matched to the service; a method that it does not have is one label.
        let method = self.path.path().rsplit('/').next().unwrap_or_default();
        let method = if self.code == Code::Unimplemented { "other" } else { method };
        self.metrics.call_ended(method, self.code, self.began_at.elapsed());
    }
}

impl Reply {
    fn new(inner: Body, call: CallInFlight, of_the_bank: Option<BankCall>) -> Self {
        Self { inner, rest: Bytes::new(), call, of_the_bank }
    }

    /// Hands on what was read, in parts that the caller has to take one by one: what lies in the
    /// buffers of the connection is out of sight.
    fn part(&mut self, mut data: Bytes) -> Frame<Bytes> {
        let length = match data.len() {
            length if length <= LAST_CHUNK_BYTES => length,
            length => CHUNK_BYTES.min(length - LAST_CHUNK_BYTES),
        };
        self.rest = data.split_off(length);
        Frame::data(data)
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        // Whoever asks for more has taken what there was before.
        this.call.taken();
        let frame = if this.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame.into_data().map_or_else(|frame| frame, |data| this.part(data)),
                other => return Poll::Ready(other),
            }
        } else {
            let rest = std::mem::take(&mut this.rest);
            this.part(rest)
        };
        if let Some((call, trailers)) = this.of_the_bank.as_mut().zip(frame.trailers_ref()) {
            call.look_at(trailers);
        }
        this.call.given();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.inner.size_hint() } else { SizeHint::default() }
    }
}
