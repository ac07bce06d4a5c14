//! Authentication: before anything else of a call is looked at.

use std::{
    future::pending,
    mem,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response, header::AUTHORIZATION};
use tokio::time::{Instant, sleep_until};
use tonic::{Code, body::Body};
use tower::{Layer, Service};

use crate::{
    audit_trail,
    auth::{
        Authentication, Identity, Method,
        authentication::{Authenticator, TokenRejection, Verified},
    },
    network::Peer,
    status::{Failure, error_response},
};

/// Puts the identity of the caller into the extensions of each request, or rejects the request.
#[derive(Clone, Debug)]
pub(crate) struct Authenticate {
    authentication: Authentication,
}

/// What the identity of a caller depends on. A stream ends when it becomes invalid.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    authenticator: Authenticator,
    verified: Verified,
}

impl Credentials {
    /// Waits until the token has expired, or the key that verified it was withdrawn.
    pub(super) async fn end(self) -> TokenRejection {
        let left = self.authenticator.time_left(&self.verified);
        let expiry = async {
            match Instant::now().checked_add(left) {
                Some(ends_at) => sleep_until(ends_at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = expiry => TokenRejection::Expired,
            rejection = self.authenticator.withdrawn(&self.verified) => rejection,
        }
    }
}

/// A service whose requests carry an identity.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated<S> {
    inner: S,
    how: Authenticate,
}

impl Authenticate {
    pub(crate) fn new(authentication: Authentication) -> Self {
        Self { authentication }
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
                // Only the instance that was polled may be called.
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
        Ok(verified) => {
            // Nothing after this needs the token, so nothing can leak it.
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().insert(verified.identity.clone());
            request.extensions_mut().insert(Credentials { authenticator, verified });
            inner.call(request).await
        }
        Err(rejection) => {
            write_down(&request, &rejection);
            Ok(error_response(Failure::Unauthenticated(rejection)))
        }
    }
}

fn write_down<Message>(request: &Request<Message>, rejection: &TokenRejection) {
    let method = Method::of_path(request.uri().path()).map_or("", Method::name);
    let unavailable = *rejection == TokenRejection::KeysUnavailable;
    let outcome = if unavailable { Code::Unavailable } else { Code::Unauthenticated };
    audit_trail::Event {
        peer: request.extensions().get::<Peer>().map(|Peer(address)| *address),
        reason: &rejection.to_string(),
        ..audit_trail::Event::new(audit_trail::Kind::Unauthenticated, method, outcome)
    }
    .record();
}
