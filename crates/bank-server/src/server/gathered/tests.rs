use std::{
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use futures::future::join_all;
use h2::{client, server};
use tokio::io::{DuplexStream, duplex};

use super::*;

/// How many calls are in flight on one connection.
const CALLS: usize = 10;
/// The size of a reply: h2 copies it only where it cannot write several buffers at once.
const REPLY_BYTES: usize = 600;

/// The server's side of a connection: counts writes. It takes several buffers at once, as a socket does.
struct Counted {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, SeqCst);
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, SeqCst);
        Pin::new(&mut self.io).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// How many writes it takes to reply to all calls of a connection at once.
async fn writes_for_all_replies<Io>(carried: impl FnOnce(Counted) -> Io) -> usize
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (near, far) = duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let io = carried(Counted { io: far, writes: Arc::clone(&writes) });
    let count = Arc::clone(&writes);
    let serving = tokio::spawn(async move {
        let mut connection = server::handshake(io).await.unwrap();
        let mut waiting = Vec::new();
        while let Some(call) = connection.accept().await {
            waiting.push(call.unwrap().1);
            if waiting.len() < CALLS {
                continue;
            }
            count.store(0, SeqCst);
            for mut call in waiting.drain(..) {
                let reply = call.send_response(http::Response::new(()), false);
                let mut reply = reply.unwrap();
                let sent = reply.send_data(Bytes::from_static(&[0; REPLY_BYTES]), true);
                sent.unwrap();
            }
        }
    });
    let (requests, connection) = client::handshake(near).await.unwrap();
    let driving = tokio::spawn(connection);
    let calls = (0..CALLS).map(|_| {
        let ready = requests.clone().ready();
        async move {
            let request = http::Request::builder().uri("http://bank/").body(());
            let request = request.unwrap();
            let sent = ready.await.unwrap().send_request(request, true).unwrap();
            let mut body = sent.0.await.unwrap().into_body();
            let mut bytes = 0;
            while let Some(part) = body.data().await {
                bytes += part.unwrap().len();
            }
            assert_eq!(bytes, REPLY_BYTES);
        }
    });
    join_all(calls).await;
    let writes = writes.load(SeqCst);
    drop(requests);
    driving.abort();
    serving.abort();
    writes
}

#[tokio::test]
async fn small_replies_leave_in_one_write() {
    assert_eq!(writes_for_all_replies(Gathered).await, 1);
}

/// Why there is such a thing: where h2 may write several buffers at once, each reply is written by itself.
#[tokio::test]
async fn without_it_each_reply_is_written_by_itself() {
    assert!(writes_for_all_replies(|io| io).await >= CALLS);
}
