//! One connection: HTTP/2 on whatever carries bytes.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc};

use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::{
    ServerOptions,
    activity::{Activity, Patience, Verdict},
    calls::{OneConnection, Services},
};

/// How much of what callers send is taken in before it is looked at: all of a message, within
/// what HTTP/2 begins with and what hyper takes on a whole connection.
const WINDOW_BYTES: std::ops::RangeInclusive<usize> = 65_535..=1_048_576;

/// What a whole connection takes in at the least: what hyper does unless told.
const CONNECTION_WINDOW_BYTES_MIN: usize = 1_048_576;

/// The least that HTTP/2 can keep of a stream's reply: a part, until it was written (see
/// `calls.rs`). What it keeps is not counted anywhere.
const SEND_BUFFER_BYTES: usize = 1;

/// How connections are served; cheap to clone.
#[derive(Clone)]
pub(super) struct Protocol {
    http: http2::Builder<TokioExecutor>,
    patience: Patience,
    closing: CancellationToken,
}

impl Protocol {
    /// Connections are told to close once `closing` is cancelled.
    pub(super) fn new(options: &ServerOptions, closing: CancellationToken) -> Self {
        let window = options.message_bytes_max.clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end());
        // Streams of batches that are not read from for now must leave room for all other calls.
        let streams = options.callers.calls.batch_streams_max.min(options.concurrent_streams_max as usize);
        let whole = window.saturating_mul(streams.saturating_add(1)).max(CONNECTION_WINDOW_BYTES_MIN);
        let whole = whole.min(i32::MAX as usize);
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(options.keepalive_timeout)
            .max_header_list_size(options.header_bytes_max)
            .max_concurrent_streams(options.concurrent_streams_max)
            .max_pending_accept_reset_streams(options.resets_pending_max)
            .max_local_error_reset_streams(options.resets_by_server_max)
            .initial_stream_window_size(u32::try_from(window).ok())
            .initial_connection_window_size(u32::try_from(whole).ok())
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .auto_date_header(false);
        Self { http, patience: options.patience, closing }
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve<Io, Bank>(self, io: Io, peer: SocketAddr, services: Services<Bank>)
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        Bank: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        Bank::Future: Send,
    {
        let activity = Arc::new(Activity::new(self.patience));
        let service = OneConnection::new(services, peer, Arc::clone(&activity));
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(io), service));
        let (mut leaving, mut look_at) = (false, Instant::now());
        loop {
            let leave = tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection broke");
                    }
                    return;
                }
                () = self.closing.cancelled(), if !leaving => true,
                () = sleep_until(look_at) => match activity.verdict(Instant::now()) {
                    Verdict::Keep(then) => {
                        look_at = then;
                        false
                    }
                    Verdict::Dismiss if !leaving => true,
                    verdict @ (Verdict::Dismiss | Verdict::CutOff) => {
                        tracing::debug!(%peer, ?verdict, "closed a connection");
                        return;
                    }
                },
            };
            if leave {
                leaving = true;
                connection.as_mut().graceful_shutdown();
                look_at = activity.leave();
            }
        }
    }
}
