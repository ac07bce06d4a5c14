//! Calls, from their headers to the end of their replies.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bank_proto::v1::bank_service_server::SERVICE_NAME;
use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service as _;

use super::{
    activity::{Activity, CallInFlight, Held},
    bank::Bank,
    edge,
    options::ServerOptions,
    unread::Unread,
};
use crate::{
    auth::Method,
    grpc::{EndsWhenDraining, PacedByReader},
    metrics::Metrics,
    network::Peer,
    status::{Failure, Limit, LimitKind, error_response, explain_answer, explain_end},
};

/// How much of a reply is passed to HTTP/2 at a time: the size of a frame.
const CHUNK_BYTES: usize = 16 * 1024;
/// The largest last part of a reply. It is the only part that HTTP/2 may buffer without being asked for it.
pub(super) const LAST_CHUNK_BYTES: usize = 1024;

/// Probes of the server, which are answered under any load.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// How many health checks one connection may have in flight besides the permits of streams. A client that never sends
/// their messages gets no more than that.
const HEALTH_CHECKS_MAX: usize = 8;
/// The largest message to the health service: the name of a service.
pub(super) const HEALTH_MESSAGE_BYTES_MAX: usize = 256;
/// The same with its length before it.
const CHECK_BYTES_MAX: usize = 5 + HEALTH_MESSAGE_BYTES_MAX;

/// The services of the server.
pub(super) struct Services {
    pub(super) bank: Bank,
    pub(super) others: Routes,
    pub(super) options: ServerOptions,
    /// Reads the rest of messages whose calls have been answered.
    pub(super) unread: Unread,
    /// The calls to the bank in flight.
    pub(super) calls: TaskTracker,
    pub(super) metrics: Arc<Metrics>,
    /// Permits for open streams of the other services.
    pub(super) streams: Arc<Semaphore>,
}

/// The services as one connection calls them.
pub(super) struct OneConnection {
    services: Arc<Services>,
    peer: Peer,
    activity: Arc<Activity>,
    /// For health checks.
    checks: Arc<Semaphore>,
}

/// A reply on its way.
pub(super) struct Reply {
    inner: Body,
    rest: Bytes,
    call: Arc<CallInFlight>,
    /// The limit on its size.
    bound: Limit,
    counted: Option<CountedCall>,
}

/// A part of a reply. HTTP/2 drops it once it is sent or discarded. Until then its call is in flight, even if HTTP/2 has
/// all of the reply.
pub(super) struct Part {
    bytes: Bytes,
    call: Arc<CallInFlight>,
}

/// A call to the bank. Dropping this records the end of the call in the metrics.
struct CountedCall {
    /// None if shutdown need not wait for it.
    in_flight: Option<TaskTrackerToken>,
    metrics: Arc<Metrics>,
    /// None if the method does not exist.
    method: Option<Method>,
    began_at: Instant,
    /// How it ended; cancelled unless a status was seen.
    code: Code,
}

impl OneConnection {
    pub(super) fn new(services: Arc<Services>, peer: Peer, activity: Arc<Activity>) -> Self {
        let checks = Arc::new(Semaphore::new(HEALTH_CHECKS_MAX));
        Self { services, peer, activity, checks }
    }

    /// Admits a request by its headers: with a permit, if it is not to the bank, which has limits of its own.
    fn admit(
        &self,
        request: &Request<Body>,
        is_for_the_bank: bool,
    ) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let services = &self.services;
        edge::check(request, services.options.header_bytes_max).map_err(Failure::NotAccepted)?;
        if is_for_the_bank {
            return Ok(None);
        }
        let check = is_health_check(request).then(|| Arc::clone(&self.checks).try_acquire_owned().ok());
        let permit = check.flatten().or_else(|| Arc::clone(&services.streams).try_acquire_owned().ok());
        permit.map(Some).ok_or(Failure::limit(LimitKind::Streams, services.options.streams_max))
    }
}

impl hyper::service::Service<Request<Incoming>> for OneConnection {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let call = CallInFlight::begin(&self.activity);
        let services = Arc::clone(&self.services);
        let mut request = request.map(|message| Body::new(services.unread.message(message)));
        request.extensions_mut().insert(self.peer);
        let is_for_the_bank = is_for_the_bank(&request);
        let mut counted = is_for_the_bank.then(|| services.count(request.uri().path()));
        let admitted = self.admit(&request, is_for_the_bank);
        Box::pin(async move {
            let mut answer = match admitted {
                Ok(stream) => services.answer(request, stream, &call).await,
                Err(failure) => error_response(failure),
            };
            if let Some(counted) = &mut counted {
                counted.note_status(answer.headers());
                if answer.extensions().get::<EndsWhenDraining>().is_some() {
                    counted.in_flight = None;
                }
            }
            if let Some(paced) = answer.extensions_mut().remove::<PacedByReader>() {
                call.waits_for_reader(paced);
            }
            let bound = Limit::new(LimitKind::Reply, services.options.reply_bytes_max);
            Ok(answer.map(|inner| Reply { inner, rest: Bytes::new(), call, bound, counted }))
        })
    }
}

impl Services {
    /// Answers a call, which holds its permits until its reply has been sent.
    async fn answer(
        &self,
        request: Request<Body>,
        stream: Option<OwnedSemaphorePermit>,
        call: &CallInFlight,
    ) -> Response<Body> {
        let message = self.bank.message_limit(request.uri().path());
        // Each in a box of its own: the future of a call to the bank is the larger one, and `timeout` moves what it gets.
        let answer: BoxFuture<'_, Response<Body>> = if stream.is_none() {
            Box::pin(self.bank.answer(request))
        } else {
            let mut others = self.others.clone();
            Box::pin(async move {
                let request =
                    if is_health_check(&request) { read_health_check(request).await } else { request };
                let Ok(answer) = others.call(request).await;
                answer
            })
        };
        let answer = timeout(self.options.answer_timeout(), answer).await;
        let mut answer = answer.unwrap_or_else(|_| error_response(Failure::DeadlineExceeded));
        explain_answer(&mut answer, message);
        let extensions = answer.extensions_mut();
        call.hold(Held { _permits: extensions.remove(), _buffer: extensions.remove(), _stream: stream });
        answer
    }

    fn count(&self, path: &str) -> CountedCall {
        self.metrics.calls_in_flight.inc();
        CountedCall {
            in_flight: Some(self.calls.token()),
            metrics: Arc::clone(&self.metrics),
            method: Method::of_path(path),
            began_at: Instant::now(),
            code: Code::Cancelled,
        }
    }
}

fn is_for_the_bank(request: &Request<Body>) -> bool {
    let path = request.uri().path().strip_prefix('/');
    path.and_then(|path| path.strip_prefix(SERVICE_NAME)).is_some_and(|method| method.starts_with('/'))
}

fn is_health_check(request: &Request<Body>) -> bool {
    request.uri().path() == HEALTH_CHECK
}

/// Reads a whole health check, up to one byte more than it may have, so that an incomplete one holds little memory.
async fn read_health_check(request: Request<Body>) -> Request<Body> {
    let (head, mut body) = request.into_parts();
    let mut message = Vec::new();
    while message.len() <= CHECK_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        let data = frame.data_ref().map_or(&[][..], |data| data);
        message.extend_from_slice(&data[..data.len().min(CHECK_BYTES_MAX + 1)]);
    }
    Request::from_parts(head, Body::new(Full::from(message)))
}

impl CountedCall {
    /// Notes the status code if the headers or trailers have it.
    fn note_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(Status::GRPC_STATUS) {
            self.code = Code::from_bytes(status.as_bytes());
        }
    }
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        self.metrics.call_ended(self.method, self.code, self.began_at.elapsed());
    }
}

impl Reply {
    /// Splits off the next part. HTTP/2 asks for each part separately, so what it buffers without our knowledge is
    /// small.
    fn part(&mut self, mut data: Bytes) -> Part {
        let length = match data.len() {
            length if length <= LAST_CHUNK_BYTES => length,
            length => CHUNK_BYTES.min(length - LAST_CHUNK_BYTES),
        };
        self.rest = data.split_off(length);
        self.call.part_begins();
        Part { bytes: data, call: Arc::clone(&self.call) }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.call.part_ends();
    }
}

impl http_body::Body for Reply {
    type Data = Part;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, Status>>> {
        let this = &mut *self;
        let mut data = mem::take(&mut this.rest);
        if data.is_empty() {
            let frame = match std::task::ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            };
            data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    let mut trailers = frame.into_trailers().unwrap_or_default();
                    explain_end(&mut trailers, this.bound);
                    if let Some(counted) = &mut this.counted {
                        counted.note_status(&trailers);
                    }
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            };
        }
        Poll::Ready(Some(Ok(Frame::data(this.part(data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.inner.size_hint() } else { SizeHint::default() }
    }
}
