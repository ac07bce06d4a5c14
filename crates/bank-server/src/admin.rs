//! The admin port: metrics, probes and the log level, over plain HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200 while it can serve; 503 while the store is away or the server drains |
//! | `GET /metrics` | what is counted and measured, for Prometheus |
//! | `GET /log` | the log directives in effect |
//! | `PUT /log` | sets them, to a level or to directives; from this machine only |
//!
//! It tells nothing of any account, and changes nothing but the log. Whoever reaches it can read how
//! busy the bank is, so it listens on loopback unless it is told otherwise.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    metrics::{self, Metrics},
    telemetry::LogControl,
};

/// Directives are a line of text.
const BODY_BYTES_MAX: usize = 4096;

/// The port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for admin.listen: {source}; choose another address, or none with \
     --admin-listen off"
)]
pub struct Error {
    address: SocketAddr,
    source: io::Error,
}

/// The admin port, open until it is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    serving: JoinHandle<io::Result<()>>,
}

#[derive(Clone)]
struct Context {
    metrics: Arc<Metrics>,
    ready: watch::Receiver<bool>,
    log: LogControl,
}

impl Admin {
    /// Opens the port.
    ///
    /// # Errors
    /// [`Error`], if the address is taken or not this machine's.
    pub async fn start(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        ready: watch::Receiver<bool>,
        log: LogControl,
    ) -> Result<Self, Error> {
        let explain = |source| Error { address, source };
        let listener = TcpListener::bind(address).await.map_err(explain)?;
        let address = listener.local_addr().map_err(explain)?;
        let routes = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readiness))
            .route("/metrics", get(metrics_text))
            .route("/log", get(log_directives).put(set_log_directives))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Context { metrics, ready, log })
            .into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn readiness(State(context): State<Context>) -> Response {
    if *context.ready.borrow() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store is away, or the server is stopping\n")
            .into_response()
    }
}

async fn metrics_text(State(context): State<Context>) -> Response {
    match context.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn log_directives(State(context): State<Context>) -> String {
    format!("{}\n", context.log.directives())
}

async fn set_log_directives(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    directives: String,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "the log can be changed from the server's own machine only\n")
            .into_response();
    }
    match context.log.set(directives.trim()) {
        Ok(()) => {
            tracing::warn!(%peer, directives = context.log.directives(), "the log level was changed");
            format!("{}\n", context.log.directives()).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
