//! A proxy that breaks connections to Redis in every way that a network can.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// Stands between the store and Redis.
pub(crate) struct Proxy {
    address: String,
    faults: Arc<Faults>,
    listener: AbortHandle,
}

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards {
    Redis,
    Store,
}

#[derive(Default)]
struct Faults {
    cut: Mutex<Option<Cut>>,
    /// How many connections have been made.
    connections: AtomicUsize,
    network: watch::Sender<Network>,
}

/// Breaks the connection that passes so many bytes in this direction.
#[derive(Clone, Copy)]
struct Cut {
    towards: Towards,
    bytes_left: usize,
}

/// The state of connections, by their number from 0.
#[derive(Clone, Copy, Default)]
struct Network {
    /// Connections below this number forward nothing any more.
    stalled: usize,
    /// Connections below this number are reset.
    reset: usize,
    /// No connection forwards anything for now.
    is_held: bool,
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
                let (store, _) = listener.accept().await.unwrap();
                // Redis may be down: then the connection is closed.
                let Ok(redis) = TcpStream::connect(&upstream).await else { continue };
                connections.spawn(forward(store, redis, Arc::clone(&shared)));
            }
        };
        let listener = tokio::spawn(serve).abort_handle();
        Self { address, faults, listener }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Existing connections stay open, and forward nothing any more.
    pub(crate) fn stall(&self) {
        let connections = self.faults.connections.load(Ordering::SeqCst);
        self.faults.network.send_modify(|network| network.stalled = connections);
    }

    /// Resets existing connections at both ends.
    pub(crate) fn reset(&self) {
        let connections = self.faults.connections.load(Ordering::SeqCst);
        self.faults.network.send_modify(|network| network.reset = connections);
    }

    /// Forwards nothing until [`Proxy::release`]; then everything, including what its sender has given up.
    pub(crate) fn hold(&self) {
        self.faults.network.send_modify(|network| network.is_held = true);
    }

    pub(crate) fn release(&self) {
        self.faults.network.send_modify(|network| network.is_held = false);
    }

    /// Forwards so many more bytes in a direction, over all connections, and then breaks the connection of the next byte.
    /// Towards Redis that is before the effect, towards the store after it.
    pub(crate) fn cut_after(&self, towards: Towards, bytes: usize) {
        *self.faults.cut.lock().unwrap() = Some(Cut { towards, bytes_left: bytes });
    }

    pub(crate) fn has_cut(&self) -> bool {
        self.faults.cut.lock().unwrap().is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn forward(mut store: TcpStream, mut redis: TcpStream, faults: Arc<Faults>) {
    let number = faults.connections.fetch_add(1, Ordering::SeqCst);
    let mut network = faults.network.subscribe();
    let (from_store, to_store) = store.split();
    let (from_redis, to_redis) = redis.split();
    let is_reset = tokio::select! {
        () = pass(from_store, to_redis, Towards::Redis, number, &faults) => false,
        () = pass(from_redis, to_store, Towards::Store, number, &faults) => false,
        _ = network.wait_for(|network| number < network.reset) => true,
    };
    if is_reset {
        for end in [&store, &redis] {
            // An error means that it is already closed.
            let _ = end.set_zero_linger();
        }
    }
}

/// Forwards bytes in one direction until the connection is to end.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    towards: Towards,
    number: usize,
    faults: &Faults,
) {
    let mut network = faults.network.subscribe();
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let Ok(state) = network.wait_for(|network| !network.is_held).await.map(|state| *state) else {
            return;
        };
        if number < state.stalled {
            return pending().await;
        }
        let passed = faults.let_pass(towards, length);
        if to.write_all(&bytes[..passed]).await.is_err() || passed < length {
            return;
        }
    }
}

impl Faults {
    /// How many of so many bytes are forwarded; fewer if the connection breaks here.
    fn let_pass(&self, towards: Towards, length: usize) -> usize {
        let mut armed = self.cut.lock().unwrap();
        match &mut *armed {
            Some(cut) if cut.towards == towards => match cut.bytes_left.checked_sub(length) {
                Some(left) => {
                    cut.bytes_left = left;
                    length
                }
                None => {
                    let passed = cut.bytes_left;
                    *armed = None;
                    passed
                }
            },
            _ => length,
        }
    }
}
