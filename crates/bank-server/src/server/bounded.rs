//! The limits on calls to the bank, between authentication and the bank.

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
    metered::{MessageLimits, Metered},
    options::{DEADLINE_MARGIN, ServerOptions},
};
use crate::{
    admission::{Allowance, CallKind, CallPermits, Callers, LimitScope},
    audit_trail,
    auth::{Identity, Method},
    network::Peer,
    status::{Failure, error_response},
    telemetry::RateLimitedLog,
};

/// Refuses calls that exceed a limit, before anything is read of them but their headers.
#[derive(Clone, Debug)]
pub(super) struct BoundCalls {
    callers: Callers,
    message_bytes_max: usize,
    batch_bytes_max: usize,
    message_timeout: Duration,
    overload_log: Arc<RateLimitedLog>,
}

/// A service whose calls are limited.
#[derive(Clone, Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    limits: BoundCalls,
}

impl BoundCalls {
    pub(super) fn new(options: &ServerOptions) -> Self {
        Self {
            callers: Callers::new(options.callers),
            message_bytes_max: options.message_bytes_max,
            batch_bytes_max: options.batch_bytes_max,
            message_timeout: options.request_timeout + DEADLINE_MARGIN,
            overload_log: Arc::default(),
        }
    }

    /// How the messages of a call are received.
    fn of_messages(&self, kind: CallKind) -> MessageLimits {
        MessageLimits {
            bytes_max: if kind == CallKind::Single { self.message_bytes_max } else { self.batch_bytes_max },
            is_stream: kind == CallKind::Stream,
            timeout: self.message_timeout,
        }
    }

    fn admit(&self, request: &Request<Body>, kind: CallKind) -> Result<(Allowance, CallPermits), Failure> {
        let identity = request.extensions().get::<Identity>();
        // The server adds it to every request.
        let peer = *request.extensions().get::<Peer>().ok_or(Failure::Unidentified)?;
        let caller = self.callers.allowance(identity, peer);
        caller.count(1).inspect_err(|_| record_excess(request, identity, peer))?;
        let permits = CallPermits::try_take(&caller, kind).inspect_err(|limit| match limit.scope {
            LimitScope::PerCaller => record_excess(request, identity, peer),
            LimitScope::Total => {
                if let Some(calls) = self.overload_log.count() {
                    tracing::warn!(calls, limit = ?limit.resource, max = limit.max, "refused calls: overloaded");
                }
            }
        })?;
        Ok((caller, permits))
    }
}

/// Whether the work of a call goes on when its caller has left, so that the audit trail has its outcome.
fn outlives_its_caller(request: &Request<Body>, kind: CallKind) -> bool {
    kind != CallKind::Single
        || request.extensions().get::<Identity>().is_some_and(|caller| {
            Method::of_path(request.uri().path())
                .is_some_and(|method| audit_trail::is_for_administration(caller, method))
        })
}

fn record_excess(request: &Request<Body>, identity: Option<&Identity>, Peer(address): Peer) {
    let method = Method::of_path(request.uri().path()).map_or("", Method::name);
    audit_trail::Event {
        subject: identity.map_or("", |identity| identity.subject().as_str()),
        peer: Some(address),
        ..audit_trail::Event::new(audit_trail::Kind::RateLimited, method, Code::ResourceExhausted)
    }
    .record();
}

impl<S> Layer<S> for BoundCalls {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, limits: self.clone() }
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
        let kind = CallKind::of_path(request.uri().path());
        let (caller, permits) = match self.limits.admit(&request, kind) {
            Ok(admitted) => admitted,
            Err(failure) => return Box::pin(ready(Ok(error_response(failure)))),
        };
        let messages = self.limits.of_messages(kind);
        let mut request = request.map(|body| Body::new(Metered::new(body, caller.clone(), messages)));
        request.extensions_mut().insert(caller);
        if outlives_its_caller(&request, kind) {
            request.extensions_mut().insert(permits.clone());
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            answer.extensions_mut().insert(permits);
            Ok(answer)
        })
    }
}
