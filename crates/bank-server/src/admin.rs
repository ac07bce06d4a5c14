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

mod store_counts;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bank_store::Store;
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
    counting: JoinHandle<()>,
}

/// What is told there.
#[derive(Clone)]
pub struct Sources {
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// Whether the server can serve.
    pub ready: watch::Receiver<bool>,
    /// The log, which can be changed there.
    pub log: LogControl,
    /// The store, of which some things are counted only for those who ask here.
    pub store: Arc<dyn Store>,
    /// The pause between two counts of its accounts.
    pub accounts_interval: Duration,
}

impl Admin {
    /// Opens the port.
    ///
    /// # Errors
    /// [`Error`], if the address is taken or not this machine's.
    pub async fn start(address: SocketAddr, sources: Sources) -> Result<Self, Error> {
        let explain = |source| Error { address, source };
        let listener = TcpListener::bind(address).await.map_err(explain)?;
        let address = listener.local_addr().map_err(explain)?;
        let counting = tokio::spawn(store_counts::keep(sources.clone()));
        let routes = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readiness))
            .route("/metrics", get(metrics_text))
            .route("/log", get(log_directives).put(set_log_directives))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(sources)
            .into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, serving, counting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.serving.abort();
        self.counting.abort();
    }
}

async fn readiness(State(sources): State<Sources>) -> Response {
    if *sources.ready.borrow() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store is away, or the server is stopping\n")
            .into_response()
    }
}

async fn metrics_text(State(sources): State<Sources>) -> Response {
    match sources.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn log_directives(State(sources): State<Sources>) -> String {
    format!("{}\n", sources.log.directives())
}

async fn set_log_directives(
    State(sources): State<Sources>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    directives: String,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "the log can be changed from the server's own machine only\n")
            .into_response();
    }
    match sources.log.set(directives.trim()) {
        Ok(()) => {
            tracing::warn!(%peer, directives = sources.log.directives(), "the log level was changed");
            format!("{}\n", sources.log.directives()).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
