//! The connections of the admin port: few, short, and with one request each.
//!
//! Probes and scrapers connect every few seconds, so no connection is kept alive. One timeout covers the whole connection:
//! headers, body and reply.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tower::ServiceExt as _;

use crate::{
    admission::{ADMIN_CONNECTIONS_MAX, Accepted, ConnectionLimits, Listener},
    network::Peer,
};

/// How many connections one peer may have, so that one cannot keep probes out.
const CONNECTIONS_PER_PEER_MAX: usize = ADMIN_CONNECTIONS_MAX / 4;
/// How long a connection may last. The largest reply, the metrics, takes milliseconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request headers; the least that hyper can be configured for.
const HEADERS_BYTES_MAX: usize = 8192;

/// Answers requests until it is dropped.
pub(super) async fn serve(listener: TcpListener, routes: Router) -> Infallible {
    let limits =
        ConnectionLimits { total_max: ADMIN_CONNECTIONS_MAX, per_peer_max: CONNECTIONS_PER_PEER_MAX };
    let mut listener = Listener::new(listener, limits, "admin");
    let mut connections = JoinSet::new();
    loop {
        let Accepted { stream, peer, permit } = listener.next().await;
        while connections.try_join_next().is_some() {}
        let routes = routes.clone();
        connections.spawn(async move {
            // Errors concern the client only, and a client that is too slow has to retry.
            let _ = timeout(CONNECTION_TIMEOUT, answer(stream, peer, routes)).await;
            drop(permit);
        });
    }
}

async fn answer(stream: TcpStream, Peer(address): Peer, routes: Router) -> Result<(), hyper::Error> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        routes.clone().oneshot(request.map(Body::new))
    });
    http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
