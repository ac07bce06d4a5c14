//! Who calls: asked before anything else of a call is looked at.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response, header::AUTHORIZATION};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Layer, Service};

use super::status::{Failure, refusal};
use crate::{
    audit_trail::{self, Strangers},
    auth::{
        Authentication, Identity, Method,
        authentication::{Authenticator, Rejection},
    },
    server::Peer,
};

/// Puts who calls into the extensions of each request, or answers for the service that it is not
/// known.
#[derive(Clone, Debug)]
pub(crate) struct Authenticate {
    authentication: Authentication,
    strangers: Arc<Strangers>,
}

/// When the token of a call ends, if it ever does. A stream of replies ends with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoodUntil(pub(super) Option<Instant>);

/// A service that knows who calls it.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated<S> {
    inner: S,
    how: Authenticate,
}

impl Authenticate {
    pub(crate) fn new(authentication: Authentication) -> Self {
        Self { authentication, strangers: Arc::default() }
    }
}

impl<S> Layer<S> for Authenticate {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, how: self.clone() }
    }
}

impl<S, Message> Service<Request<Message>> for Authenticated<S>
where
    S: Service<Request<Message>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    Message: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Message>) -> Self::Future {
        match &self.how.authentication {
            Authentication::Disabled => {
                request.extensions_mut().insert(Identity::operator());
                Box::pin(self.inner.call(request))
            }
            Authentication::Tokens(authenticator) => {
                // The one that was found ready is the one to call.
                let another = self.inner.clone();
                let inner = mem::replace(&mut self.inner, another);
                let strangers = Arc::clone(&self.how.strangers);
                Box::pin(identified(authenticator.clone(), strangers, inner, request))
            }
        }
    }
}

async fn identified<S, Message>(
    authenticator: Authenticator,
    strangers: Arc<Strangers>,
    mut inner: S,
    mut request: Request<Message>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Message>, Response = Response<Body>>,
{
    match authenticator.identify(request.headers()).await {
        Ok(verified) => {
            // Nothing past this needs the token, so nothing can let it slip.
            request.headers_mut().remove(AUTHORIZATION);
            request
                .extensions_mut()
                .insert(GoodUntil(Instant::now().checked_add(authenticator.time_left(&verified))));
            request.extensions_mut().insert(verified.identity);
            inner.call(request).await
        }
        Err(rejection) => {
            write_down(&request, &rejection, &strangers);
            Ok(refusal(Failure::Unauthenticated(rejection)))
        }
    }
}

fn write_down<Message>(request: &Request<Message>, rejection: &Rejection, strangers: &Strangers) {
    let peer = request.extensions().get::<Peer>();
    let Some(times) = peer.map_or(Some(1), |peer| strangers.count(peer.network())) else { return };
    audit_trail::Event {
        kind: audit_trail::Kind::Unauthenticated,
        subject: "",
        peer: peer.map(|Peer(address)| *address),
        method: Method::of_path(request.uri().path()).map_or("", Method::name),
        account: "",
        request_id: "",
        outcome: if *rejection == Rejection::KeysUnavailable { "Unavailable" } else { "Unauthenticated" },
        reason: &rejection.to_string(),
        times,
    }
    .write();
}
