//! Who calls: asked before anything else of a call is looked at.

use std::{
    mem,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response, header::AUTHORIZATION};
use tonic::body::Body;
use tower::{Layer, Service};

use super::status::{Failure, refusal};
use crate::{
    audit,
    auth::{
        Authentication, Identity, Method,
        authentication::{Authenticator, Rejection},
    },
    server::Peer,
};

/// Puts who calls into the extensions of each request, or answers for the service that it is not
/// known.
#[derive(Clone, Debug)]
pub(crate) struct Authenticate(pub(crate) Authentication);

/// A service that knows who calls it.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated<S> {
    inner: S,
    authentication: Authentication,
}

impl<S> Layer<S> for Authenticate {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, authentication: self.0.clone() }
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
        match &self.authentication {
            Authentication::Disabled => {
                request.extensions_mut().insert(Identity::operator());
                Box::pin(self.inner.call(request))
            }
            Authentication::Tokens(authenticator) => {
                // The one that was found ready is the one to call.
                let another = self.inner.clone();
                let inner = mem::replace(&mut self.inner, another);
                Box::pin(identified(authenticator.clone(), inner, request))
            }
        }
    }
}

async fn identified<S, Message>(
    authenticator: Authenticator,
    mut inner: S,
    mut request: Request<Message>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Message>, Response = Response<Body>>,
{
    match authenticator.identify(request.headers()).await {
        Ok(identity) => {
            // Nothing past this needs the token, so nothing can let it slip.
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().insert(identity);
            inner.call(request).await
        }
        Err(rejection) => {
            write_down(&request, &rejection);
            Ok(refusal(Failure::Unauthenticated(rejection)))
        }
    }
}

fn write_down<Message>(request: &Request<Message>, rejection: &Rejection) {
    let method = Method::of_path(request.uri().path());
    audit::Event {
        kind: audit::Kind::Unauthenticated,
        subject: "",
        peer: request.extensions().get::<Peer>().map(|Peer(address)| *address),
        method: method.map_or("", Method::name),
        account: "",
        request_id: "",
        outcome: if *rejection == Rejection::KeysUnavailable { "Unavailable" } else { "Unauthenticated" },
        reason: &rejection.to_string(),
        times: 1,
    }
    .write();
}
