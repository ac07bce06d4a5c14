//! The bounds on calls to the bank, between authentication and the bank.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{BoxFuture, ready};
use http::{Request, Response};
use tonic::{Code, body::Body};
use tower::{Layer, Service};

use super::{
    metered::{MessageBounds, Metered},
    options::{DEADLINE_MARGIN, ServerOptions},
};
use crate::{
    admission::{Allowance, CallPlaces, CallRoom, Caller, CallerBounds, Callers, Excess, Kind, NoPlace},
    audit_trail,
    auth::{Identity, Method},
    network::Peer,
    status::{Failure, Limit, LimitKind, error_response},
    telemetry::Seldom,
};

/// Turns calls away that are too many, before anything is read of them but their headers.
#[derive(Clone, Debug)]
pub(super) struct BoundCalls {
    callers: Callers,
    bounds: CallerBounds,
    message_bytes_max: usize,
    batch_bytes_max: usize,
    message_timeout: Duration,
    room: Arc<CallRoom>,
    shed: Arc<Seldom>,
}

/// A service whose calls are bounded.
#[derive(Clone, Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    bounds: BoundCalls,
}

impl BoundCalls {
    pub(super) fn new(options: &ServerOptions) -> Self {
        Self {
            callers: Callers::new(options.callers),
            bounds: options.callers,
            message_bytes_max: options.message_bytes_max,
            batch_bytes_max: options.batch_bytes_max,
            message_timeout: options.request_timeout + DEADLINE_MARGIN,
            room: Arc::new(CallRoom::new(options.calls)),
            shed: Arc::default(),
        }
    }

    /// How the messages of a call are taken in.
    fn of_messages(&self, path: &str) -> MessageBounds {
        let kind = Kind::of_path(path);
        MessageBounds {
            bytes_max: if kind == Kind::Single { self.message_bytes_max } else { self.batch_bytes_max },
            is_stream: kind == Kind::Stream,
            timeout: self.message_timeout,
        }
    }

    fn admit(&self, request: &Request<Body>) -> Result<(CallPlaces, Allowance), Failure> {
        let identity = request.extensions().get::<Identity>();
        let peer = request.extensions().get::<Peer>().copied();
        // Without one of them a call has come by no way that there is.
        let caller = Caller::of(identity, peer.ok_or(Failure::Unidentified)?);
        let kind = Kind::of_path(request.uri().path());
        let admitted = self.callers.admit(caller, kind).map_err(|excess| {
            write_down(request, identity, peer);
            match excess {
                Excess::Rate { retry_after } => {
                    let limit = Limit::new(LimitKind::CallerRate, self.bounds.calls_per_second_max.get());
                    Failure::LimitReached(limit.retry_after(retry_after))
                }
                Excess::InFlight(full) => too_many_of_the_caller(full),
            }
        })?;
        let (of_the_caller, allowance) = admitted;
        let of_the_server = self.room.take(kind).map_err(|full| {
            if let Some(calls) = self.shed.count() {
                tracing::warn!(calls, kind = ?full.kind, max = full.max, "too many calls: shed some");
            }
            too_many_of_all(full)
        })?;
        let places =
            CallPlaces { _of_the_server: Arc::new(of_the_server), _of_the_caller: Arc::new(of_the_caller) };
        Ok((places, allowance))
    }
}

/// Whether the work of a call goes on when its caller has left, so that the audit trail has its outcome.
fn outlives_its_caller(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    Kind::of_path(path) != Kind::Single
        || request.extensions().get::<Identity>().is_some_and(|caller| {
            Method::of_path(path).is_some_and(|method| audit_trail::is_for_administration(caller, method))
        })
}

fn too_many_of_the_caller(NoPlace { kind, max }: NoPlace) -> Failure {
    let limit = match kind {
        Kind::Single => LimitKind::CallerCalls,
        Kind::Batch => LimitKind::CallerBatches,
        Kind::Stream => LimitKind::CallerBatchStreams,
    };
    Failure::limit(limit, max)
}

fn too_many_of_all(NoPlace { kind, max }: NoPlace) -> Failure {
    let limit = match kind {
        Kind::Single => LimitKind::Calls,
        Kind::Batch => LimitKind::Batches,
        Kind::Stream => LimitKind::BatchStreams,
    };
    Failure::limit(limit, max)
}

fn write_down(request: &Request<Body>, identity: Option<&Identity>, peer: Option<Peer>) {
    let method = Method::of_path(request.uri().path()).map_or("", Method::name);
    audit_trail::Event {
        subject: identity.map_or("", |identity| identity.subject().as_str()),
        peer: peer.map(|Peer(address)| address),
        ..audit_trail::Event::new(audit_trail::Kind::RateLimited, method, Code::ResourceExhausted)
    }
    .record();
}

impl<S> Layer<S> for BoundCalls {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, bounds: self.clone() }
    }
}

impl<S> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (places, allowance) = match self.bounds.admit(&request) {
            Ok(admitted) => admitted,
            Err(failure) => return Box::pin(ready(Ok(error_response(failure)))),
        };
        let messages = self.bounds.of_messages(request.uri().path());
        let mut request =
            request.map(|body| Body::new(Metered::new(body, allowance.buffers().clone(), messages)));
        request.extensions_mut().insert(allowance);
        if outlives_its_caller(&request) {
            request.extensions_mut().insert(places.clone());
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            answer.extensions_mut().insert(places);
            Ok(answer)
        })
    }
}
