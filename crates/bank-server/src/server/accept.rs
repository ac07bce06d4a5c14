//! Connections as they come in.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::admission::{Admission, Full, Place};
use crate::telemetry::Seldom;

/// The pause after a connection could not be accepted for want of something, such as file
/// descriptors: trying at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that turns away what is beyond its bounds.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    admission: Admission,
    turned_away: Seldom,
    in_trouble: bool,
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    /// Kept for as long as the connection is.
    pub(super) place: Place,
}

impl Door {
    pub(super) fn new(listener: TcpListener, admission: Admission) -> Self {
        Self { listener, admission, turned_away: Seldom::default(), in_trouble: false }
    }

    /// The next connection that there is room for. Cancel safe.
    pub(super) async fn next(&mut self) -> Accepted {
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
                Full::Server => "server.connections_max",
                Full::Peer => "server.connections_per_peer_max",
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
    use crate::server::ConnectionBounds;

    #[tokio::test]
    async fn connections_are_let_in_up_to_the_bound_and_send_small_replies_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = ConnectionBounds { connections_max: 2, connections_per_peer_max: 1 };
        let mut door = Door::new(listener, Admission::new(bounds));
        let _client = TcpStream::connect(address).await.unwrap();
        let accepted = door.next().await;
        assert!(accepted.stream.nodelay().unwrap());
        let mut beyond = TcpStream::connect(address).await.unwrap();
        let next = tokio::spawn(async move { door.next().await });
        assert!(beyond.read_u8().await.is_err(), "it is closed and not kept waiting");
        drop(accepted);
        let _client = TcpStream::connect(address).await.unwrap();
        next.await.unwrap();
    }
}
