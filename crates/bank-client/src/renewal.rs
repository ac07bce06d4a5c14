//! Connections that the other side ends in order, as proxies do after so many requests.
//!
//! The peer says with GOAWAY which was the last request that it takes up. Calls that were made meanwhile, and are beyond
//! that one, were not seen by anybody: they are made again on the next connection, at once and whatever they are. gRPC
//! calls that a transparent retry (proposal A6); it is neither an attempt nor a failure for the retry policy and its budget.
//! tonic has none, and ends such calls with CANCELLED or UNKNOWN.

use std::future::Future;

use tonic::Status;

use crate::error::chain;

/// How many connections may end in order before a call is given up, or left to the retry policy. A proxy that renews its
/// connections after ten requests, for sixteen callers at once, ends two or three on a call.
const RENEWALS_MAX: usize = 32;

/// Makes a call, again while it was not taken up.
pub(crate) async fn renewing<T, F>(mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    for _ in 0..RENEWALS_MAX {
        match call().await {
            Err(status) if was_not_processed(&status) => {}
            result => return result,
        }
    }
    call().await
}

/// Whether nobody can have seen the call, since its connection had ended in order before.
pub(crate) fn was_not_processed(status: &Status) -> bool {
    chain(status).any(|error| {
        // It was not sent any more.
        let unsent = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        // It is beyond the last that the peer takes up, or is named by itself as not taken up.
        let beyond = error.downcast_ref::<h2::Error>().is_some_and(|error| {
            let ended = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (ended || refused)
        });
        unsent || beyond
    })
}
