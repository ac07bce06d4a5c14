//! Checks that a request is a gRPC call, before authentication.

use http::{Method, Request};
use tonic::body::Body;

use super::options::ServerOptions;
use crate::{
    admission::CallKind,
    grpc::is_timeout,
    status::{Limit, LimitKind, NotAccepted},
};

/// The size of a header besides its name and value:
/// <https://datatracker.ietf.org/doc/html/rfc9113#section-6.5.2>
const HEADER_OVERHEAD_BYTES: usize = 32;

/// HTTP/2 accepts headers up to this multiple of `server.header_bytes_max`. It answers larger ones with a bare HTTP status,
/// which many gRPC clients report as an unknown outcome; below, the caller gets an error that says what happened. Each
/// connection may buffer this much of incomplete headers.
pub(super) const HTTP2_HEADERS_FACTOR: u32 = 2;

/// The limits on a request and its reply.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "they are called as the settings are")]
pub(super) struct RequestBounds {
    pub(super) header_bytes_max: usize,
    pub(super) message_bytes_max: usize,
    pub(super) batch_bytes_max: usize,
    pub(super) reply_bytes_max: usize,
}

impl RequestBounds {
    pub(super) fn new(options: &ServerOptions) -> Self {
        let ServerOptions { message_bytes_max, batch_bytes_max, reply_bytes_max, .. } = *options;
        let header_bytes_max = usize::try_from(options.header_bytes_max).unwrap_or(usize::MAX);
        Self { header_bytes_max, message_bytes_max, batch_bytes_max, reply_bytes_max }
    }

    /// Checks the headers of a request.
    pub(super) fn check(&self, request: &Request<Body>) -> Result<(), NotAccepted> {
        if request.method() != Method::POST {
            return Err(NotAccepted::Method(request.method().clone()));
        }
        let (mut bytes, mut content_type) = (request.uri().path().len(), None);
        let (mut encoding, mut timeout) = (None, None);
        // One pass over all headers, because it runs for every call.
        for (name, value) in request.headers() {
            bytes += name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES;
            let kept = match name.as_str() {
                "content-type" => &mut content_type,
                "grpc-encoding" => &mut encoding,
                "grpc-timeout" => &mut timeout,
                _ => continue,
            };
            // The first of several counts, as it does for later readers.
            kept.get_or_insert(value);
        }
        if !content_type.is_some_and(|value| is_grpc(value.as_bytes())) {
            return Err(NotAccepted::ContentType(content_type.cloned()));
        }
        if bytes > self.header_bytes_max {
            return Err(NotAccepted::HeadersTooLarge { bytes, bytes_max: self.header_bytes_max });
        }
        if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
            return Err(NotAccepted::Compressed(encoding.clone()));
        }
        if let Some(timeout) = timeout.filter(|timeout| !is_timeout(timeout)) {
            return Err(NotAccepted::Timeout(timeout.clone()));
        }
        Ok(())
    }

    /// The limit on the messages of a method.
    pub(super) fn message(&self, path: &str) -> Limit {
        match CallKind::of_path(path) {
            CallKind::Single => Limit::new(LimitKind::Message, self.message_bytes_max),
            CallKind::Batch | CallKind::Stream => Limit::new(LimitKind::BatchMessage, self.batch_bytes_max),
        }
    }
}

/// `application/grpc`, with or without `+proto` and parameters. Other codecs and gRPC-Web encode messages differently.
fn is_grpc(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"application/grpc"[..], b"application/grpc+proto"]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests;
