//! The bank with a bound on messages for each kind of call.

use std::task::{Context, Poll};

use http::Request;
use tonic::body::Body;
use tower::Service;

use crate::admission::Kind;

/// Two services of one bank, which differ in how large a message they take. Only calls that hold batches
/// may have large ones, and there are fewer of those at once.
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
        match Kind::of_path(request.uri().path()) {
            Kind::Single => self.single.call(request),
            Kind::Batch | Kind::Stream => self.batches.call(request),
        }
    }
}
