//! The bank with a limit on message size for each kind of call.

use std::task::{Context, Poll};

use http::Request;
use tonic::body::Body;
use tower::Service;

use crate::admission::CallKind;

/// Two services of the same bank with different limits on message size. Only batches may have large messages, and fewer of
/// them are admitted at once.
#[derive(Clone, Debug)]
pub(super) struct ByMessages<S> {
    pub(super) single: S,
    pub(super) batches: S,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for ByMessages<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Both are the same bank.
        self.single.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        match CallKind::of_path(request.uri().path()) {
            CallKind::Single => self.single.call(request),
            CallKind::Batch | CallKind::Stream => self.batches.call(request),
        }
    }
}
