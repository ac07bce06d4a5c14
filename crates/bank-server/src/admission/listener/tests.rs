use std::io::ErrorKind;

use tokio::io::AsyncReadExt as _;

use super::*;

#[tokio::test]
async fn connections_are_accepted_up_to_the_limit_and_send_small_replies_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = ConnectionLimits { total_max: 2, per_peer_max: 1 };
    let mut listener = Listener::new(listener, limits, "test");
    let _client = TcpStream::connect(address).await.unwrap();
    let accepted = listener.next().await;
    assert!(accepted.stream.nodelay().unwrap());
    let mut excess = TcpStream::connect(address).await.unwrap();
    let next = tokio::spawn(async move { listener.next().await });
    // It is closed and not kept waiting.
    let error = excess.read_u8().await.unwrap_err().kind();
    assert!(matches!(error, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error:?}");
    drop(accepted);
    let _client = TcpStream::connect(address).await.unwrap();
    next.await.unwrap();
}
