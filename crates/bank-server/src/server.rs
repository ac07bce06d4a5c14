//! The gRPC server: the socket, the services on it, and an orderly end.
//!
//! A connection that is open does not keep the server from ending, and neither does a caller that
//! watches the server's health: only calls to the bank itself are waited for. Of those, the ones with a
//! stream of replies end by themselves when it drains, and are not waited for.

mod activity;
mod bounded;
mod calls;
mod connection;
mod edge;
mod gate;
mod gathered;
mod health;
mod messages;
mod metered;
mod options;
mod signals;
mod unread;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bank_proto::v1::bank_service_server::BankServiceServer;
use http::{Request, Response};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{body::Body, service::Routes};
use tower::{Service, ServiceBuilder};

use self::{
    activity::GOODBYE,
    bounded::BoundCalls,
    calls::{HEALTH_MESSAGE_BYTES_MAX, Services},
    connection::Protocol,
    edge::RequestBounds,
    messages::ByMessages,
    options::DEADLINE_MARGIN,
    unread::Unread,
};
pub use self::{
    gate::{Gate, GateOptions},
    health::HealthOptions,
    options::{Patience, ServerOptions, UnreadBounds},
    signals::Signals,
};
use crate::{
    admission::{self, Accepted, Admission, ConnectionLimits, Listener},
    grpc::{Authenticate, BankApi},
    ledger::Ledger,
    metrics::Metrics,
    network::{ListenError, Socket},
    tls::Tls,
};

/// The largest message to reflection: the name of a file or symbol.
const REFLECTION_MESSAGE_BYTES_MAX: usize = 4096;

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The reflection service cannot read the description of the API.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// It stopped by itself.
    #[error("the server has stopped: {0}")]
    Stopped(String),
}

/// A server that is running.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    calls: TaskTracker,
    detached: TaskTracker,
    ready: watch::Receiver<bool>,
    draining: CancellationToken,
    closing: CancellationToken,
    health: JoinHandle<()>,
    serving: JoinHandle<()>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// How many calls to the bank were still in flight.
    pub calls_cut_off: usize,
}

impl Server {
    /// Starts to take calls: when this returns, clients can connect.
    ///
    /// # Errors
    /// [`Error`], if the address is taken after all.
    pub fn start(
        socket: Socket,
        api: BankApi,
        ledger: Ledger,
        metrics: Arc<Metrics>,
        gate: Gate,
        options: &ServerOptions,
    ) -> Result<Self, Error> {
        let calls = TaskTracker::new();
        calls.close();
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        let detached = TaskTracker::new();
        detached.close();
        let api = api.on(calls.clone(), detached.clone(), draining.clone());
        let bank = ByMessages {
            single: BankServiceServer::new(api.clone())
                .max_decoding_message_size(options.message_bytes_max)
                .max_encoding_message_size(options.reply_bytes_max),
            // A reply is as large as its batch makes it: once it was carried out, it must be told.
            batches: BankServiceServer::new(api).max_decoding_message_size(options.batch_bytes_max),
        };
        let (now_ready, ready) = watch::channel(false);
        let (health, watch_store) =
            health::service(ledger, Arc::clone(&metrics), now_ready, &options.health, &draining);
        let mut others = Routes::new(health.max_decoding_message_size(HEALTH_MESSAGE_BYTES_MAX));
        if options.reflection {
            let max = REFLECTION_MESSAGE_BYTES_MAX;
            // grpcurl and others still ask for the older of the two first, or only.
            others = others
                .add_service(reflection()?.build_v1()?.max_decoding_message_size(max))
                .add_service(reflection()?.build_v1alpha()?.max_decoding_message_size(max));
        }
        let (listener, address) = socket.listen()?;
        let mut bounds = options.connections;
        bounds.connections_max = admission::make_room(bounds.connections_max);
        let listener = Listener::new(listener, Admission::new(bounds), ConnectionLimits::OF_CALLERS);
        let services = Services {
            bank: ServiceBuilder::new()
                .layer(Authenticate::new(gate.authentication))
                .layer(BoundCalls::new(options))
                .service(bank),
            others: others.prepare(),
            bounds: RequestBounds::new(options),
            unread: Unread::new(options.unread),
            answer_timeout: options.request_timeout + DEADLINE_MARGIN,
            calls: calls.clone(),
            metrics,
            streams: Arc::new(Semaphore::new(options.streams_max)),
            streams_max: options.streams_max,
        };
        let protocol = Protocol::new(options, closing.clone());
        Ok(Self {
            address,
            calls,
            detached,
            ready,
            draining,
            closing: closing.clone(),
            health: tokio::spawn(watch_store),
            serving: tokio::spawn(serve(listener, gate.tls, protocol, services, closing)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it can serve now: the store answers, and it does not drain.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Waits until the server stops by itself, which it should not.
    ///
    /// Cancel safe.
    pub async fn stopped(&mut self) -> Error {
        match (&mut self.serving).await {
            Ok(()) => Error::Stopped("it takes no more connections".to_owned()),
            Err(error) => Error::Stopped(error.to_string()),
        }
    }

    /// Reports that it is not serving, takes no more calls, and waits for those in flight, but not
    /// longer than until `give_up_at`.
    pub async fn drain(mut self, give_up_at: Instant) -> Drained {
        self.draining.cancel();
        // It reports before it ends, so callers know before their connections go.
        let _ = timeout_at(give_up_at, self.health).await;
        self.closing.cancel();
        loop {
            if timeout_at(give_up_at, self.calls.wait()).await.is_err() {
                break;
            }
            // A call that arrived while its connection was told to close is still taken.
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
        // What it leaves undone, its call has been counted for, or nobody waits for it.
        let _ = timeout_at(give_up_at, self.detached.wait()).await;
        Drained { calls_cut_off: self.calls.len() }
    }
}

/// Lets connections in until `closing` is cancelled, and returns when all have ended.
async fn serve<Bank>(
    mut listener: Listener,
    tls: Option<Tls>,
    protocol: Protocol,
    services: Services<Bank>,
    closing: CancellationToken,
) where
    Bank: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    Bank::Future: Send,
{
    let connections = TaskTracker::new();
    while let Some(accepted) = closing.run_until_cancelled(listener.next()).await {
        let (tls, protocol, services) = (tls.clone(), protocol.clone(), services.clone());
        let closing = closing.clone();
        connections.spawn(async move {
            let Accepted { stream, peer, place } = accepted;
            match tls {
                None => protocol.serve(stream, peer, services).await,
                // A handshake takes a place, but nobody's time: each is in a task of its own.
                Some(tls) => {
                    let secured = closing.run_until_cancelled(tls.accept(stream, peer)).await;
                    if let Some(stream) = secured.flatten() {
                        protocol.serve(stream, peer, services).await;
                    }
                }
            }
            drop(place);
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

/// The types that the details of errors have: without them, grpcurl and others show details as base64.
fn error_details() -> Result<FileDescriptorSet, prost::DecodeError> {
    let mut described = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
    for file in described.file.iter_mut().filter(|file| file.package() == "google.rpc") {
        // They are compiled from another directory there than everywhere else.
        file.name = Some(format!("google/rpc/{}", file.name()));
    }
    Ok(described)
}
