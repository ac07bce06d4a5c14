//! Errors as callers see them: the one place where a status is made.
//!
//! Every status carries `google.rpc.ErrorInfo` with the domain `bank.v1`, a stable reason and the
//! values that the message names. What went wrong inside the server is logged here, once, and
//! callers are not told.

mod builder;
mod describe;
mod failure;
mod limit;
mod stack;

use bank_proto::v1;
use http::StatusCode;
use prost::Message as _;
use tonic::body::Body;

pub(crate) use self::{
    describe::status,
    failure::{Failure, NotAccepted, RESUME_TOKEN},
    limit::{Limit, LimitKind},
    stack::{explain_answer, explain_end},
};

/// The answer to a call that the bank itself never saw.
pub(crate) fn error_response(failure: Failure) -> http::Response<Body> {
    let http_status = http_status(&failure);
    let mut answer = status(failure).into_http();
    *answer.status_mut() = http_status;
    answer
}

/// The error of one operation of a batch: the status that a call of its own would have ended with.
pub(crate) fn operation_error(failure: Failure) -> v1::OperationError {
    let status = status(failure);
    // The details are a whole google.rpc.Status, and this is the same field by field.
    v1::OperationError::decode(status.details()).unwrap_or_else(|_| v1::OperationError {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// The HTTP status of an answer: not 200 only for what is not a gRPC call.
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
fn http_status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::NotAccepted(NotAccepted::Method(_)) => StatusCode::METHOD_NOT_ALLOWED,
        Failure::NotAccepted(NotAccepted::ContentType(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::OK,
    }
}
