//! The connections of the admin port: few, short, and with one request each.
//!
//! Whoever reads metrics and probes connects every few seconds. So no connection is kept, and all that happens on one
//! has one time limit: headers, body, reply and silence.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tower::ServiceExt as _;

use crate::admission::{
    ADMIN_CONNECTIONS_MAX, Accepted, Admission, ConnectionBounds, ConnectionLimits, Listener,
};

/// How many connections one peer may have, so that one cannot keep probes out.
const CONNECTIONS_PER_PEER_MAX: usize = ADMIN_CONNECTIONS_MAX / 4;
/// How long a connection may last. The largest reply, the metrics, takes milliseconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a request's headers is read; the least that hyper can be told.
const HEADERS_BYTES_MAX: usize = 8192;

/// Answers requests until it is dropped.
pub(super) async fn serve(listener: TcpListener, routes: Router) -> Infallible {
    let bounds = ConnectionBounds {
        connections_max: ADMIN_CONNECTIONS_MAX,
        connections_per_peer_max: CONNECTIONS_PER_PEER_MAX,
    };
    let limits = ConnectionLimits { of_all: "of the admin port", of_peer: "of one peer of the admin port" };
    let mut listener = Listener::new(listener, Admission::new(bounds), limits);
    let mut connections = JoinSet::new();
    loop {
        let Accepted { stream, peer, place } = listener.next().await;
        while connections.try_join_next().is_some() {}
        let routes = routes.clone();
        connections.spawn(async move {
            // An error is between the client and the network, and a client that is too slow has to come again.
            let _ = timeout(CONNECTION_TIMEOUT, answer(stream, peer, routes)).await;
            drop(place);
        });
    }
}

async fn answer(stream: TcpStream, peer: SocketAddr, routes: Router) -> Result<(), hyper::Error> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.clone().oneshot(request.map(Body::new))
    });
    http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
