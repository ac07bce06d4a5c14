//! A connection that can be made to lose answers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// Stands between the store and Redis.
pub(crate) struct Proxy {
    address: String,
    replies_to_lose: Arc<AtomicUsize>,
    listener: AbortHandle,
}

impl Proxy {
    pub(crate) async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let replies_to_lose = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&replies_to_lose);
        let serve = async move {
            // The connections end with the listener.
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let redis = TcpStream::connect(&upstream).await.unwrap();
                connections.spawn(forward(client, redis, Arc::clone(&counter)));
            }
        };
        let listener = tokio::spawn(serve).abort_handle();
        Self { address, replies_to_lose, listener }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The next answers do not arrive: the connection breaks instead.
    pub(crate) fn lose_replies(&self, count: usize) {
        self.replies_to_lose.store(count, Ordering::SeqCst);
    }

    pub(crate) fn has_lost_all(&self) -> bool {
        self.replies_to_lose.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn forward(mut client: TcpStream, mut redis: TcpStream, replies_to_lose: Arc<AtomicUsize>) {
    let (mut request, mut reply) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => match read {
                Ok(length) if length > 0 && redis.write_all(&request[..length]).await.is_ok() => {}
                _ => return,
            },
            read = redis.read(&mut reply) => match read {
                Ok(length) if length > 0 => {
                    let is_lost = replies_to_lose
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                        .is_ok();
                    if is_lost || client.write_all(&reply[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
