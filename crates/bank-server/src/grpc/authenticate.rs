//! Authentication: before anything else of a call is looked at.

use std::future::pending;

use http::{Request, header::AUTHORIZATION};
use tokio::time::{Instant, sleep_until};
use tonic::{Code, body::Body};

use crate::{
    audit_trail,
    auth::{
        Authentication, Identity, Method,
        authentication::{Authenticator, TokenRejection, Verified},
    },
    network::Peer,
    status::Failure,
};

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

/// Puts the identity of the caller into the extensions of a request.
pub(crate) async fn authenticate(
    authentication: &Authentication,
    request: &mut Request<Body>,
) -> Result<(), Failure> {
    let Authentication::Tokens(authenticator) = authentication else {
        request.extensions_mut().insert(Identity::operator());
        return Ok(());
    };
    let verified = authenticator.identify(request.headers()).await.map_err(|rejection| {
        record(request, &rejection);
        Failure::Unauthenticated(rejection)
    })?;
    // Nothing after this needs the token, so nothing can leak it.
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(verified.identity.clone());
    request.extensions_mut().insert(Credentials { authenticator: authenticator.clone(), verified });
    Ok(())
}

fn record(request: &Request<Body>, rejection: &TokenRejection) {
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
