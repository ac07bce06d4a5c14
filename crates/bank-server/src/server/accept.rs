//! Connections as they come in.

use std::{io, time::Duration};

use futures::{Stream, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// The pause after a connection could not be accepted for want of something, such as file
/// descriptors: trying at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections, without end.
///
/// tonic would take a listener too, but tries again at once after every error, and leaves small
/// replies to wait for more in the kernel.
pub(super) fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    stream::unfold(listener, async |listener| Some((Ok(accept(&listener).await), listener)))
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((connection, peer)) => match connection.set_nodelay(true) {
                Ok(()) => return connection,
                Err(error) => tracing::debug!(%peer, %error, "a connection was gone before it was served"),
            },
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                if !told {
                    tracing::warn!(%error, "cannot accept connections for now");
                    told = true;
                }
                sleep(PAUSE).await;
            }
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
    use std::pin::pin;

    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn connections_send_small_replies_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = pin!(connections(listener));
        let _client = TcpStream::connect(address).await.unwrap();
        assert!(connections.next().await.unwrap().unwrap().nodelay().unwrap());
    }
}
