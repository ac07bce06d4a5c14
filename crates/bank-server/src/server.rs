//! The gRPC server: the listener, the services, and shutdown.
//!
//! Shutdown waits for calls to the bank only, not for open connections or streams that watch the server's health. Calls
//! with a stream of replies end by themselves when the server drains, and are not waited for.

mod activity;
mod bank;
mod calls;
mod connection;
mod edge;
mod gate;
mod gathered;
mod health;
mod metered;
mod options;
mod self_wake;
mod signals;
mod sync;
mod unread;

use std::{net::SocketAddr, sync::Arc};

use anyhow::anyhow;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use self::{
    activity::GOODBYE,
    bank::Bank,
    calls::{HEALTH_MESSAGE_BYTES_MAX, Services},
    connection::Protocol,
    unread::Unread,
};
pub use self::{
    connection::CONCURRENT_STREAMS_MAX,
    gate::Gate,
    health::HealthOptions,
    options::{ServerOptions, Timeouts, UnreadBounds},
    signals::Signals,
};
use crate::{
    admission::{self, Accepted, Listener},
    grpc::BankApi,
    ledger::Ledger,
    metrics::Metrics,
    network::Socket,
    tls::Tls,
};

/// The largest message to reflection: the name of a file or symbol.
const REFLECTION_MESSAGE_BYTES_MAX: usize = 4096;

/// A running server.
pub struct Server {
    ledger: Ledger,
    address: SocketAddr,
    calls: TaskTracker,
    detached: TaskTracker,
    ready: watch::Receiver<bool>,
    draining: CancellationToken,
    closing: CancellationToken,
    health: JoinHandle<()>,
    serving: JoinHandle<()>,
}

/// How the shutdown of a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// How many calls to the bank were still in flight.
    pub calls_cut_off: usize,
    /// Whether the ledger has finished all its work.
    pub ledger_drained: bool,
}

impl Server {
    /// Starts the server: when this returns, clients can connect.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn start(
        socket: Socket,
        api: BankApi,
        ledger: Ledger,
        metrics: Arc<Metrics>,
        gate: Gate,
        options: &ServerOptions,
    ) -> anyhow::Result<Self> {
        let calls = TaskTracker::new();
        calls.close();
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        let detached = TaskTracker::new();
        detached.close();
        let api = api.on(calls.clone(), detached.clone(), draining.clone());
        let (now_ready, ready) = watch::channel(false);
        let (health, watch_store) =
            health::service(ledger.clone(), Arc::clone(&metrics), now_ready, &options.health, &draining);
        let mut others = Routes::new(health.max_decoding_message_size(HEALTH_MESSAGE_BYTES_MAX));
        if options.reflection {
            let max = REFLECTION_MESSAGE_BYTES_MAX;
            // grpcurl and others still ask for the older of the two first, or only.
            others = others
                .add_service(reflection()?.build_v1()?.max_decoding_message_size(max))
                .add_service(reflection()?.build_v1alpha()?.max_decoding_message_size(max));
        }
        let (listener, address) = socket.listen()?;
        let mut limits = options.connections;
        limits.total_max = admission::connections_possible(limits.total_max);
        let listener = Listener::new(listener, limits, "server");
        let services = Services {
            bank: Bank::new(api, gate.authentication, options),
            others: others.prepare(),
            options: options.clone(),
            unread: Unread::new(options.unread),
            calls: calls.clone(),
            metrics,
            streams: Arc::new(Semaphore::new(options.streams_max)),
        };
        let protocol = Protocol { services: Arc::new(services), closing: closing.clone() };
        Ok(Self {
            ledger,
            address,
            calls,
            detached,
            ready,
            draining,
            closing,
            health: tokio::spawn(watch_store),
            serving: tokio::spawn(serve(listener, gate.tls, Arc::new(protocol))),
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is ready: the store answers and the server is not draining.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Waits until the server stops by itself, which is a failure. Cancel safe.
    pub async fn stopped(&mut self) -> anyhow::Error {
        match (&mut self.serving).await {
            Ok(()) => anyhow!("the server has stopped: it accepts no more connections"),
            Err(error) => anyhow!("the server has stopped: {error}"),
        }
    }

    /// Shuts down: reports that it is not serving, takes no more calls, finishes those in flight, drains the ledger and
    /// closes the store. It stops waiting at `give_up_at`.
    pub async fn drain(mut self, give_up_at: Instant) -> Drained {
        self.draining.cancel();
        // Health is reported first, so callers know before their connections close.
        let _ = timeout_at(give_up_at, self.health).await;
        self.closing.cancel();
        loop {
            if timeout_at(give_up_at, self.calls.wait()).await.is_err() {
                break;
            }
            // A call that arrived while its connection was told to close is still served.
            let goodbye = give_up_at.min(Instant::now() + GOODBYE);
            tokio::select! {
                _ = &mut self.serving => break,
                () = sleep_until(goodbye) => {
                    if self.calls.is_empty() {
                        break;
                    }
                }
            }
        }
        // Detached work that is cut off either belongs to a call that is counted, or nobody waits for it.
        let _ = timeout_at(give_up_at, self.detached.wait()).await;
        let calls_cut_off = self.calls.len();
        let ledger_drained = timeout_at(give_up_at, self.ledger.drain()).await.is_ok();
        // Acknowledged writes are safe even if closing takes too long.
        let _ = timeout_at(give_up_at, self.ledger.store().close()).await;
        Drained { calls_cut_off, ledger_drained }
    }
}

/// Accepts connections until the server closes, and returns when all have ended.
async fn serve(mut listener: Listener, tls: Option<Tls>, protocol: Arc<Protocol>) {
    let connections = TaskTracker::new();
    while let Some(accepted) = protocol.closing.run_until_cancelled(listener.next()).await {
        let (tls, protocol) = (tls.clone(), Arc::clone(&protocol));
        connections.spawn(async move {
            let Accepted { stream, peer, permit } = accepted;
            match tls {
                None => protocol.serve(stream, peer).await,
                // A handshake holds a permit, but each is in its own task, so nobody waits for it.
                Some(tls) => {
                    let secured = protocol.closing.run_until_cancelled(tls.accept(stream, peer)).await;
                    if let Some(stream) = secured.flatten() {
                        protocol.serve(stream, peer).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn reflection() -> Result<tonic_reflection::server::Builder<'static>, tonic_reflection::server::Error> {
    Ok(tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(bank_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_file_descriptor_set(error_details()?))
}

/// The types of error details: without them, grpcurl and others show details as base64.
fn error_details() -> Result<FileDescriptorSet, prost::DecodeError> {
    let mut described = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
    for file in described.file.iter_mut().filter(|file| file.package() == "google.rpc") {
        // tonic_types compiles them from another directory than everybody else.
        file.name = Some(format!("google/rpc/{}", file.name()));
    }
    Ok(described)
}
