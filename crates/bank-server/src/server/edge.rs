//! Checks that a request is a gRPC call, before authentication.

use http::{Method, Request};
use tonic::body::Body;

use crate::{grpc::is_timeout, status::NotAccepted};

/// The size of a header besides its name and value:
/// <https://datatracker.ietf.org/doc/html/rfc9113#section-6.5.2>
const HEADER_OVERHEAD_BYTES: usize = 32;

/// HTTP/2 accepts headers up to this multiple of `server.header_bytes_max`. It answers larger ones with a bare HTTP status,
/// which many gRPC clients report as an unknown outcome; below, the caller gets an error that says what happened. Each
/// connection may buffer this much of incomplete headers.
pub(super) const HTTP2_HEADERS_FACTOR: u32 = 2;

/// Checks the headers of a request.
pub(super) fn check(request: &Request<Body>, header_bytes_max: u32) -> Result<(), NotAccepted> {
    let bytes_max = usize::try_from(header_bytes_max).unwrap_or(usize::MAX);
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
    if bytes > bytes_max {
        return Err(NotAccepted::HeadersTooLarge { bytes, bytes_max });
    }
    if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
        return Err(NotAccepted::Compressed(encoding.clone()));
    }
    if let Some(timeout) = timeout.filter(|timeout| !is_timeout(timeout)) {
        return Err(NotAccepted::Timeout(timeout.clone()));
    }
    Ok(())
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
