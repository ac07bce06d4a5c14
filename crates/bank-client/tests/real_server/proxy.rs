//! A proxy that breaks connections to the server on request.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Where a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// What the client sends next does not arrive.
    BeforeTheEffect,
    /// What the client sends next arrives, and the answer does not come back.
    AfterTheEffect,
}

/// Passes bytes on, and breaks connections on request.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    cuts: Arc<Mutex<Vec<Cut>>>,
}

impl Proxy {
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let cuts = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(listener, server.to_owned(), Arc::clone(&cuts)));
        Self { endpoint, cuts }
    }

    /// Breaks the connection that is used next, and those after it, one for each of these.
    pub(crate) fn cut(&self, cuts: impl IntoIterator<Item = Cut>) {
        self.cuts.lock().unwrap().extend(cuts);
    }
}

async fn serve(listener: TcpListener, server: String, cuts: Arc<Mutex<Vec<Cut>>>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(&server).await.unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let cuts = Arc::clone(&cuts);
        // When either direction ends, both are dropped, and so closed.
        tokio::spawn(async move {
            tokio::select! {
                () = pass(from_client, to_server, &cuts, Cut::BeforeTheEffect) => {}
                () = pass(from_server, to_client, &cuts, Cut::AfterTheEffect) => {}
            }
        });
    }
}

/// Passes bytes on until the end, or until the next cut is of this kind.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cuts: &Mutex<Vec<Cut>>, kind: Cut) {
    let mut bytes = vec![0; 64 * 1_024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let is_cut = {
            let mut cuts = cuts.lock().unwrap();
            let is_due = kind == Cut::BeforeTheEffect || has_reply(&bytes[..count]);
            let is_cut = is_due && cuts.first() == Some(&kind);
            if is_cut {
                cuts.remove(0);
            }
            is_cut
        };
        if is_cut || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// Whether the server sends a part of a reply: the call has had its effect. What it sends before only acknowledges
/// frames. It writes whole frames.
fn has_reply(mut frames: &[u8]) -> bool {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    while let [a, b, c, kind, ..] = *frames {
        if matches!(kind, DATA | HEADERS) {
            return true;
        }
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        frames = frames.get(9 + length..).unwrap_or_default();
    }
    false
}
