//! The admin port: metrics, probes and the log level, over plain HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200 while it is ready; 503 while the store is unavailable or the server drains |
//! | `GET /metrics` | metrics for Prometheus |
//! | `GET /log` | the log directives in effect |
//! | `PUT /log` | sets them, to a level or to directives; from this machine only |
//!
//! It reveals nothing about accounts, and changes nothing but the log. Anyone who reaches it can see how busy the bank is, so
//! it listens on loopback by default. It does not answer web pages (`hosts`), and its connections are few and short
//! (`connections`).

mod connections;
mod hosts;
mod store_counts;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::anyhow;
use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use bank_store::Store;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;

pub use self::hosts::HostNames;
use crate::{
    audit_trail,
    metrics::{self, Metrics},
    telemetry::LogControl,
};

/// Directives are a line of text.
const BODY_BYTES_MAX: usize = 4096;

/// The admin port. It is open until this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    _serving: AbortOnDropHandle<Infallible>,
    _counting: AbortOnDropHandle<()>,
}

/// What the admin port reports.
#[derive(Clone)]
pub struct Sources {
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// Whether the server is ready.
    pub ready: watch::Receiver<bool>,
    /// Changes the log level.
    pub log: LogControl,
    /// The store, whose accounts and reconnections are counted for the metrics.
    pub store: Arc<dyn Store>,
}

impl Admin {
    /// Opens the port.
    ///
    /// # Errors
    /// If the address is in use or unavailable.
    pub async fn start(address: SocketAddr, hosts: HostNames, sources: Sources) -> anyhow::Result<Self> {
        let explain = |error| {
            anyhow!(
                "cannot listen on {address} for admin.listen: {error}; choose another address, or none with \
                 --admin-listen off"
            )
        };
        let listener = TcpListener::bind(address).await.map_err(explain)?;
        let address = listener.local_addr().map_err(explain)?;
        let Sources { store, metrics, .. } = sources.clone();
        let counting = tokio::spawn(store_counts::update(store, metrics));
        let routes = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readiness))
            .route("/metrics", get(metrics_text))
            .route("/log", get(log_directives).put(set_log_directives))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn_with_state(Arc::new(hosts), refuse_web_pages))
            .with_state(sources);
        let serving = tokio::spawn(connections::serve(listener, routes));
        let (serving, counting) = (AbortOnDropHandle::new(serving), AbortOnDropHandle::new(counting));
        Ok(Self { address, _serving: serving, _counting: counting })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn refuse_web_pages(State(hosts): State<Arc<HostNames>>, request: Request, next: Next) -> Response {
    match hosts.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn readiness(State(sources): State<Sources>) -> Response {
    if *sources.ready.borrow() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store is unavailable, or the server is stopping\n")
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
    let record = |kind, outcome, reason: &str| {
        let event = audit_trail::Event::new(kind, "PUT /log", outcome);
        audit_trail::Event { peer: Some(peer), reason, ..event }.record();
    };
    if !peer.ip().to_canonical().is_loopback() {
        record(audit_trail::Kind::PermissionDenied, Code::PermissionDenied, "not from this machine");
        return (StatusCode::FORBIDDEN, "the log can be changed from the server's own machine only\n")
            .into_response();
    }
    match sources.log.set(directives.trim()) {
        Ok(()) => {
            let directives = sources.log.directives();
            tracing::warn!(%peer, directives, "the log level was changed");
            record(audit_trail::Kind::AdminPort, Code::Ok, &format!("the log is set to {directives}"));
            format!("{directives}\n").into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
