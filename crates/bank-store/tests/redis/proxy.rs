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
    faults: Arc<Faults>,
    listener: AbortHandle,
}

#[derive(Default)]
struct Faults {
    replies_to_lose: AtomicUsize,
    /// So many connections there have been.
    connections: AtomicUsize,
    /// So many of them pass nothing on any more.
    stalled: AtomicUsize,
}

impl Proxy {
    pub(crate) async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let faults = Arc::new(Faults::default());
        let shared = Arc::clone(&faults);
        let serve = async move {
            // The connections end with the listener.
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let redis = TcpStream::connect(&upstream).await.unwrap();
                connections.spawn(forward(client, redis, Arc::clone(&shared)));
            }
        };
        let listener = tokio::spawn(serve).abort_handle();
        Self { address, faults, listener }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The next answers do not arrive: the connection breaks instead.
    pub(crate) fn lose_replies(&self, count: usize) {
        self.faults.replies_to_lose.store(count, Ordering::SeqCst);
    }

    /// The connections that there are stay open, and pass nothing on any more.
    pub(crate) fn stall(&self) {
        self.faults.stalled.store(self.faults.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    pub(crate) fn has_lost_all(&self) -> bool {
        self.faults.replies_to_lose.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn forward(mut client: TcpStream, mut redis: TcpStream, faults: Arc<Faults>) {
    let number = faults.connections.fetch_add(1, Ordering::SeqCst);
    let is_stalled = || number < faults.stalled.load(Ordering::SeqCst);
    let (mut request, mut reply) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let (from_client, length) = tokio::select! {
            read = client.read(&mut request) => (true, read.unwrap_or(0)),
            read = redis.read(&mut reply) => (false, read.unwrap_or(0)),
        };
        if length == 0 {
            return;
        }
        if is_stalled() {
            continue;
        }
        let passed_on = if from_client {
            redis.write_all(&request[..length]).await
        } else {
            let lose = |left: usize| left.checked_sub(1);
            if faults.replies_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
                return;
            }
            client.write_all(&reply[..length]).await
        };
        if passed_on.is_err() {
            return;
        }
    }
}
