//! Replaces the statuses that the gRPC stack makes by itself.
//!
//! tonic answers some requests without asking the bank: a message that is too large or cannot be decoded, a method
//! that does not exist. Its statuses have no details, and some blame the server.

use http::HeaderMap;
use tonic::{Code, Status, body::Body};

use super::{
    builder::new,
    describe::{internal, malformed, status, unreadable},
    failure::Failure,
    limit::Limit,
};

/// Replaces a status of the gRPC stack in an answer without a body: for a request that reached no service. The limit is
/// that on the size of the request's message.
pub(crate) fn explain_answer(answer: &mut http::Response<Body>, message: Limit) {
    if !is_unexplained(answer.headers()) {
        return;
    }
    let made = answer.extensions_mut().remove::<Status>();
    let Some(made) = made.or_else(|| Status::from_header_map(answer.headers())) else { return };
    let explained = match made.code() {
        Code::Unimplemented => {
            let message = "this server has no such service or method";
            new(Code::Unimplemented, "METHOD_NOT_FOUND", message).build()
        }
        Code::NotFound => not_found(&made),
        _ => unreadable(made, message),
    };
    replace(answer.headers_mut(), explained);
}

/// Replaces a status of the gRPC stack at the end of a reply. The limit is that on the size of the reply.
pub(crate) fn explain_end(trailers: &mut HeaderMap, reply: Limit) {
    if !is_unexplained(trailers) {
        return;
    }
    let Some(made) = Status::from_header_map(trailers) else { return };
    let explained = match made.code() {
        Code::OutOfRange => status(Failure::LimitReached(reply)),
        Code::NotFound => not_found(&made),
        Code::InvalidArgument => malformed(made.message()).build(),
        Code::Cancelled => status(Failure::CallerGone),
        code => {
            tracing::error!(?code, message = made.message(), "this is a bug: a reply ended early");
            internal().build()
        }
    };
    replace(trailers, explained);
}

/// Whether this is an error that the bank did not make: its own all have details.
fn is_unexplained(headers: &HeaderMap) -> bool {
    let failed = headers.get(Status::GRPC_STATUS).is_some_and(|code| code != "0");
    failed && !headers.contains_key(Status::GRPC_STATUS_DETAILS)
}

fn replace(headers: &mut HeaderMap, explained: Status) {
    // Fails only for text that cannot be in a header, and percent-encoding leaves none.
    let _ = explained.add_header(headers);
}

/// The health or reflection service does not know what was asked for.
fn not_found(made: &Status) -> Status {
    new(Code::NotFound, "NOT_FOUND", made.message()).build()
}
