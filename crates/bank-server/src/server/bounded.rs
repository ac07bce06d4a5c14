//! The bounds on calls to the bank, between authentication and the bank.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{BoxFuture, ready};
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{
    CallerBounds,
    callers::{Caller, Callers, Excess, TurnedAway},
    calls::Peer,
};
use crate::{
    audit_trail,
    auth::{Identity, Method},
    grpc::{Failure, refusal},
    telemetry::Seldom,
};

/// Turns calls away that are too many, before anything is read of them but their headers.
#[derive(Clone, Debug)]
pub(super) struct BoundCalls {
    callers: Callers,
    bounds: CallerBounds,
    in_flight: Arc<Semaphore>,
    in_flight_max: usize,
    shed: Arc<Seldom>,
}

/// A service whose calls are bounded.
#[derive(Clone, Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    bounds: BoundCalls,
}

/// The places that a call takes up until its reply has been taken. It travels with the answer.
#[derive(Clone, Debug)]
pub(super) struct Places {
    _of_the_server: Arc<OwnedSemaphorePermit>,
    _of_the_caller: Arc<OwnedSemaphorePermit>,
}

impl BoundCalls {
    pub(super) fn new(in_flight_max: usize, bounds: CallerBounds) -> Self {
        Self {
            callers: Callers::new(bounds),
            bounds,
            in_flight: Arc::new(Semaphore::new(in_flight_max)),
            in_flight_max,
            shed: Arc::default(),
        }
    }

    fn admit(&self, request: &Request<Body>) -> Result<Places, Failure> {
        let identity = request.extensions().get::<Identity>();
        let peer = request.extensions().get::<Peer>().copied();
        // Without one of them a call has come by no way that there is.
        let caller = Caller::of(identity, peer.ok_or(Failure::Unidentified)?);
        let of_the_caller = self.callers.admit(caller).map_err(|TurnedAway { excess, times }| {
            if let Some(times) = times {
                write_down(request, identity, peer, times);
            }
            match excess {
                Excess::Rate { retry_after } => {
                    let calls_per_second_max = self.bounds.calls_per_second_max;
                    Failure::RateLimited { calls_per_second_max, retry_after }
                }
                Excess::InFlight => {
                    Failure::TooManyCalls { calls_in_flight_max: self.bounds.calls_in_flight_max }
                }
            }
        })?;
        let of_the_server = Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| {
            if let Some(calls) = self.shed.count() {
                tracing::warn!(calls, calls_in_flight_max = self.in_flight_max, "too many calls: shed some");
            }
            Failure::Overloaded { calls_in_flight_max: self.in_flight_max }
        })?;
        Ok(Places { _of_the_server: Arc::new(of_the_server), _of_the_caller: Arc::new(of_the_caller) })
    }
}

fn write_down(request: &Request<Body>, identity: Option<&Identity>, peer: Option<Peer>, times: u64) {
    audit_trail::Event {
        kind: audit_trail::Kind::RateLimited,
        subject: identity.map_or("", |identity| identity.subject().as_str()),
        peer: peer.map(|Peer(address)| address),
        method: Method::of_path(request.uri().path()).map_or("", Method::name),
        account: "",
        request_id: "",
        outcome: "ResourceExhausted",
        reason: "",
        times,
    }
    .write();
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
        let places = match self.bounds.admit(&request) {
            Ok(places) => places,
            Err(failure) => return Box::pin(ready(Ok(refusal(failure)))),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            answer.extensions_mut().insert(places);
            Ok(answer)
        })
    }
}
