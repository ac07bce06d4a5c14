//! Accepts connections up to their limits.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{
    connections::{ConnectionLimits, Connections},
    limits::LimitScope,
    permit::Permit,
};
use crate::{network::Peer, telemetry::RateLimitedLog};

/// The pause after a connection could not be accepted because something is short, such as file descriptors.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, and resets those that exceed a limit.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    connections: Connections,
    /// What the log calls the port.
    name: &'static str,
    turned_away: RateLimitedLog,
    is_failing: bool,
}

/// A connection that was admitted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: Peer,
    /// Held for as long as the connection lasts.
    pub(crate) permit: Permit,
}

impl Listener {
    pub(crate) fn new(socket: TcpListener, limits: ConnectionLimits, name: &'static str) -> Self {
        let (connections, turned_away) = (Connections::new(limits), RateLimitedLog::default());
        Self { socket, connections, name, turned_away, is_failing: false }
    }

    /// The next connection within the limits. Cancel safe.
    pub(crate) async fn next(&mut self) -> Accepted {
        loop {
            let (stream, address) = self.accept().await;
            let peer = Peer(address);
            match self.connections.admit(peer) {
                Ok(permit) => match stream.set_nodelay(true) {
                    // Without it, small replies wait in the kernel for more.
                    Ok(()) => return Accepted { stream, peer, permit },
                    Err(error) => {
                        tracing::debug!(%peer, %error, "a connection was lost before it was served");
                    }
                },
                Err(scope) => self.turn_away(&stream, peer, scope),
            }
        }
    }

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    self.is_failing = false;
                    return accepted;
                }
                Err(error) if concerns_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was lost before it was accepted");
                }
                Err(error) => {
                    if !self.is_failing {
                        tracing::warn!(%error, port = self.name, "cannot accept connections for now");
                        self.is_failing = true;
                    }
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    fn turn_away(&self, stream: &TcpStream, peer: Peer, scope: LimitScope) {
        // A reset: nothing of the connection stays behind, in this process or in the kernel.
        let _ = stream.set_zero_linger();
        if let Some(connections) = self.turned_away.count() {
            let limit = match scope {
                LimitScope::Total => "connections_max",
                LimitScope::PerCaller => "connections_per_peer_max",
            };
            let port = self.name;
            tracing::warn!(connections, port, last_peer = %peer, last_limit = limit, "turned connections away");
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests;
