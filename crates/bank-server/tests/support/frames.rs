//! HTTP/2 frame by frame, for what no client library would send, or not at that moment.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// How long the server may take for its next frame. Only a broken one needs that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection.
pub struct Frames(TcpStream);

/// What the server sends about a call or the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The reply to this call has ended.
    Ended(u32),
    /// This call is reset, with this code.
    Reset(u32, u32),
    /// The connection is closed, for this reason.
    GoAway(String),
}

impl Frames {
    pub async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut frames = Self(stream);
        frames.0.write_all(PREFACE).await.unwrap();
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// Begins a call. The message is to come.
    pub async fn call(&mut self, id: u32, path: &str, headers: &[(&str, &str)]) {
        // `:method: POST` and `:scheme: http` are in the static table, and so is the name `:path`.
        let mut block = vec![0x83, 0x86, 0x04];
        text(&mut block, path);
        let usual = [("te", "trailers"), ("content-type", "application/grpc")];
        for (name, value) in usual.iter().chain(headers) {
            block.push(0);
            text(&mut block, name);
            text(&mut block, value);
        }
        self.send(HEADERS, END_HEADERS, id, &block).await;
    }

    /// A part of a message.
    pub async fn data(&mut self, id: u32, data: &[u8]) {
        self.send(DATA, 0, id, data).await;
    }

    /// The end of a message, as other implementations of gRPC send it: in a separate frame.
    pub async fn end(&mut self, id: u32) {
        self.send(DATA, END_STREAM, id, &[]).await;
    }

    /// Makes room for so many bytes more of the reply.
    pub async fn make_room(&mut self, id: u32, bytes: u32) {
        self.send(WINDOW_UPDATE, 0, id, &bytes.to_be_bytes()).await;
    }

    /// The next thing that the server sends about a call or the connection.
    pub async fn next_event(&mut self) -> Event {
        loop {
            let mut head = [0; 9];
            timeout(PATIENCE, self.0.read_exact(&mut head))
                .await
                .expect("the server sends something")
                .unwrap();
            let [a, b, c, kind, flags, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            let id = u32::from_be_bytes(id);
            match kind {
                DATA | HEADERS if flags & END_STREAM != 0 => return Event::Ended(id),
                3 => return Event::Reset(id, u32::from_be_bytes(payload[..4].try_into().unwrap())),
                7 => return Event::GoAway(String::from_utf8_lossy(&payload[8..]).into_owned()),
                _ => {}
            }
        }
    }

    async fn send(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat();
        // The server may have closed the connection; then it has said why.
        let _ = self.0.write_all(&frame).await;
    }
}

/// A string of HPACK, as it is.
fn text(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap());
    }
    block.extend_from_slice(text.as_bytes());
}
