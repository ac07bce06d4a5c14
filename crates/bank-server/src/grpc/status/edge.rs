//! Errors of requests that reach no service, and those that the gRPC stack makes by itself.
//!
//! tonic answers some requests without asking the bank: a message that is too large or that cannot be decoded,
//! a method that does not exist. Its statuses have no details, and some blame the server. [`explain_answer`] and
//! [`explain_end`] replace each of them before it leaves the server.

use std::error::Error as _;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header::ALLOW};
use tonic::{Code, Status, body::Body, metadata::MetadataValue};

use super::{Answer, Failure, RETRY_DELAY, status};
use crate::auth::{InvalidSubject, authentication::TokenRejection};

/// How much of what a caller sent is repeated in a message.
const QUOTED_LENGTH_MAX: usize = 128;

/// A request that is not accepted, whatever it asks for.
#[derive(Debug)]
pub(crate) enum NotAccepted {
    /// It is not a POST.
    Method(Method),
    /// Its content type is not that of gRPC.
    ContentType(Option<HeaderValue>),
    /// Its headers are too large.
    HeadersTooLarge { bytes: usize, bytes_max: usize },
    /// Its messages are compressed.
    Compressed(HeaderValue),
    /// Its `grpc-timeout` is malformed.
    Timeout(HeaderValue),
}

/// How large a message may be, and which setting says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageBound {
    pub(crate) setting: &'static str,
    pub(crate) bytes_max: usize,
}

impl MessageBound {
    /// The bound on messages with batches.
    pub(crate) fn of_batches(bytes_max: usize) -> Self {
        Self { setting: "server.batch_bytes_max", bytes_max }
    }

    /// The bound on all other messages.
    pub(crate) fn of_single_calls(bytes_max: usize) -> Self {
        Self { setting: "server.message_bytes_max", bytes_max }
    }

    /// The bound on replies.
    pub(crate) fn of_replies(bytes_max: usize) -> Self {
        Self { setting: "server.reply_bytes_max", bytes_max }
    }
}

/// Replaces the status of an answer without a body that the gRPC stack made by itself: what it answers to a request
/// that it could not hand to a service.
pub(crate) fn explain_answer(answer: &mut http::Response<Body>, bound: MessageBound) {
    if !is_unexplained(answer.headers()) {
        return;
    }
    let made = answer.extensions_mut().remove::<Status>();
    let Some(made) = made.or_else(|| Status::from_header_map(answer.headers())) else { return };
    let explained = match made.code() {
        Code::Unimplemented => method_not_found(),
        Code::NotFound => not_found(&made),
        _ => unreadable(made, bound),
    };
    replace(answer.headers_mut(), explained);
}

/// Replaces the status at the end of a reply that the gRPC stack made by itself.
pub(crate) fn explain_end(trailers: &mut HeaderMap, bound: MessageBound) {
    if !is_unexplained(trailers) {
        return;
    }
    let Some(made) = Status::from_header_map(trailers) else { return };
    let explained = match made.code() {
        Code::OutOfRange => reply_too_large(bound),
        Code::NotFound => not_found(&made),
        Code::InvalidArgument => malformed(made.message()),
        Code::Cancelled => status(Failure::CallerGone),
        code => {
            tracing::error!(?code, message = made.message(), "this is a bug: a reply broke off");
            super::internal()
        }
    };
    replace(trailers, explained);
}

/// Whether an error is not one of the bank's: those all have details.
fn is_unexplained(headers: &HeaderMap) -> bool {
    let failed = headers.get(Status::GRPC_STATUS).is_some_and(|code| code != "0");
    failed && !headers.contains_key(Status::GRPC_STATUS_DETAILS)
}

fn replace(headers: &mut HeaderMap, explained: Status) {
    // An error means text that cannot be in a header, and percent-encoding leaves none.
    let _ = explained.add_header(headers);
}

/// Of a request that is not accepted. Nobody has looked at what it asks for.
pub(super) fn not_accepted(problem: NotAccepted) -> Status {
    let not_grpc = |message| Answer::new(Code::InvalidArgument, "NOT_GRPC", message);
    match problem {
        NotAccepted::Method(method) => {
            let message = format!(
                "the HTTP method {} is not accepted: a gRPC call is a POST",
                quoted(method.as_str().as_bytes())
            );
            let mut status = not_grpc(message).status();
            status.metadata_mut().insert(ALLOW.as_str(), MetadataValue::from_static("POST"));
            status
        }
        NotAccepted::ContentType(found) => {
            let found = found.map_or_else(
                || "no content-type".to_owned(),
                |found| format!("content-type {}", quoted(found.as_bytes())),
            );
            not_grpc(format!(
                "{found} is not accepted: a gRPC call has application/grpc or application/grpc+proto"
            ))
            .status()
        }
        NotAccepted::HeadersTooLarge { bytes, bytes_max } => {
            let message = format!(
                "the request headers take {bytes} bytes; server.header_bytes_max allows {bytes_max}; nothing was done"
            );
            Answer::new(Code::ResourceExhausted, "HEADERS_TOO_LARGE", message)
                .with("header_bytes_max", bytes_max)
                .limit("server.header_bytes_max")
                .status()
        }
        NotAccepted::Compressed(encoding) => {
            let message = format!(
                "messages compressed with {} are not accepted: send them uncompressed",
                quoted(encoding.as_bytes())
            );
            let mut status = Answer::new(Code::Unimplemented, "COMPRESSION_NOT_SUPPORTED", message).status();
            status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
            status
        }
        NotAccepted::Timeout(value) => {
            let description = format!(
                "is {}; it must be a number of at most 8 digits and a unit: H, M, S, m, u or n",
                quoted(value.as_bytes())
            );
            status(Failure::Invalid(vec![tonic_types::FieldViolation::new("grpc-timeout", description)]))
        }
    }
}

/// Which token would do better is said only where it helps nobody who has none.
pub(super) fn unauthenticated(rejection: &TokenRejection) -> Status {
    let refused = |reason, message: &str, challenge: &'static str| {
        let mut status = Answer::new(Code::Unauthenticated, reason, message).status();
        // <https://datatracker.ietf.org/doc/html/rfc6750#section-3>
        status.metadata_mut().insert("www-authenticate", MetadataValue::from_static(challenge));
        status
    };
    let invalid = "Bearer error=\"invalid_token\"";
    match rejection {
        TokenRejection::Missing => {
            let message = "this call needs a token: send it as `authorization: Bearer <token>`";
            refused("CREDENTIALS_MISSING", message, "Bearer")
        }
        TokenRejection::Expired => {
            refused("CREDENTIALS_EXPIRED", "the token has expired: get a new one", invalid)
        }
        TokenRejection::TooLong { bytes_max } => {
            let message =
                format!("the token is longer than auth.jwt.token_bytes_max allows: {bytes_max} bytes");
            refused("CREDENTIALS_INVALID", &message, invalid)
        }
        TokenRejection::KeyWithdrawn => {
            let message = "the key that the token was signed with is no longer accepted: get a new token";
            refused("CREDENTIALS_INVALID", message, invalid)
        }
        TokenRejection::UnfitSubject => {
            let message = format!("the subject of the token {InvalidSubject}");
            refused("CREDENTIALS_INVALID", &message, invalid)
        }
        TokenRejection::UnknownKey { .. } | TokenRejection::Invalid(_) => {
            refused("CREDENTIALS_INVALID", "the token is not valid here", invalid)
        }
        TokenRejection::KeysUnavailable => {
            let message = "tokens cannot be verified for now; nothing was done";
            Answer::new(Code::Unavailable, "KEYS_UNAVAILABLE", message).retry_after(RETRY_DELAY).status()
        }
    }
}

/// The HTTP status of an answer: not 200 only for what is not a gRPC call.
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
pub(super) fn http_status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::NotAccepted(NotAccepted::Method(_)) => StatusCode::METHOD_NOT_ALLOWED,
        Failure::NotAccepted(NotAccepted::ContentType(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::OK,
    }
}

/// Of a request whose message tonic could not read.
pub(super) fn unreadable(made: Status, bound: MessageBound) -> Status {
    // The server itself gave up on the message, and says why.
    if !made.details().is_empty() {
        return made;
    }
    // The stream of the call ended in an error of HTTP/2: its caller has left.
    if made.source().is_some() || made.code() == Code::Cancelled {
        return status(Failure::CallerGone);
    }
    match made.code() {
        Code::OutOfRange => {
            let MessageBound { setting, bytes_max } = bound;
            let message =
                format!("the message is larger than {setting} allows: {bytes_max} bytes; it was not read");
            Answer::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message)
                .with("message_bytes_max", bytes_max)
                .limit(setting)
                .status()
        }
        _ => malformed(made.message()),
    }
}

fn malformed(problem: &str) -> Status {
    let message = format!("the message cannot be read: {}", quoted(problem.as_bytes()));
    Answer::new(Code::InvalidArgument, "MALFORMED_MESSAGE", message).status()
}

fn method_not_found() -> Status {
    Answer::new(Code::Unimplemented, "METHOD_NOT_FOUND", "this server has no such service or method").status()
}

/// What health or reflection was asked for is not there.
fn not_found(made: &Status) -> Status {
    Answer::new(Code::NotFound, "NOT_FOUND", made.message()).status()
}

fn reply_too_large(bound: MessageBound) -> Status {
    let MessageBound { setting, bytes_max } = bound;
    let message =
        format!("the reply is larger than {setting} allows: {bytes_max} bytes; ask for less at once");
    Answer::new(Code::OutOfRange, "REPLY_TOO_LARGE", message)
        .with("reply_bytes_max", bytes_max)
        .limit(setting)
        .status()
}

/// The beginning of what somebody else wrote, on one line.
fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown = &text[..text.floor_char_boundary(QUOTED_LENGTH_MAX)];
    shown.escape_debug().to_string()
}
