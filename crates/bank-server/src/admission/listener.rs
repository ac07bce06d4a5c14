//! Connections as they come in.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::connections::{Admission, Full, Place};
use crate::telemetry::Seldom;

/// The pause after a connection could not be accepted for want of something, such as file
/// descriptors: trying at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that turns away what is beyond its bounds.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    admission: Admission,
    limits: ConnectionLimits,
    turned_away: Seldom,
    in_trouble: bool,
}

/// What the bounds on connections are called in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub(crate) of_all: &'static str,
    pub(crate) of_peer: &'static str,
}

impl ConnectionLimits {
    /// The settings for callers.
    pub(crate) const OF_CALLERS: Self =
        Self { of_all: "server.connections_max", of_peer: "server.connections_per_peer_max" };
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Kept for as long as the connection is.
    pub(crate) place: Place,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener, admission: Admission, limits: ConnectionLimits) -> Self {
        Self { listener, admission, limits, turned_away: Seldom::default(), in_trouble: false }
    }

    /// The next connection that there is room for. Cancel safe.
    pub(crate) async fn next(&mut self) -> Accepted {
        loop {
            let (stream, peer) = self.accept().await;
            match self.admission.admit(peer.ip()) {
                Ok(place) => match stream.set_nodelay(true) {
                    // Else small replies wait for more in the kernel.
                    Ok(()) => return Accepted { stream, peer, place },
                    Err(error) => {
                        tracing::debug!(%peer, %error, "a connection was gone before it was served");
                    }
                },
                Err(full) => self.turn_away(&stream, peer, full),
            }
        }
    }

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.in_trouble = false;
                    return accepted;
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => {
                    if !self.in_trouble {
                        tracing::warn!(%error, "cannot accept connections for now");
                        self.in_trouble = true;
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn turn_away(&self, stream: &TcpStream, peer: SocketAddr, full: Full) {
        // A reset: nothing of the connection stays behind, in this process or in the kernel.
        let _ = stream.set_zero_linger();
        if let Some(connections) = self.turned_away.count() {
            let bound = match full {
                Full::Server => self.limits.of_all,
                Full::Peer => self.limits.of_peer,
            };
            tracing::warn!(connections, last_peer = %peer, last_bound = bound, "turned connections away");
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::admission::ConnectionBounds;

    #[tokio::test]
    async fn connections_are_let_in_up_to_the_bound_and_send_small_replies_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = ConnectionBounds { connections_max: 2, connections_per_peer_max: 1 };
        let mut listener = Listener::new(listener, Admission::new(bounds), ConnectionLimits::OF_CALLERS);
        let _client = TcpStream::connect(address).await.unwrap();
        let accepted = listener.next().await;
        assert!(accepted.stream.nodelay().unwrap());
        let mut beyond = TcpStream::connect(address).await.unwrap();
        let next = tokio::spawn(async move { listener.next().await });
        assert!(beyond.read_u8().await.is_err(), "it is closed and not kept waiting");
        drop(accepted);
        let _client = TcpStream::connect(address).await.unwrap();
        next.await.unwrap();
    }
}
