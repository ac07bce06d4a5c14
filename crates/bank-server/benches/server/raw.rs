//! The cheap generator: prepared frames in which only a few bytes change, and replies that are read
//! only as far as needed to see how each call ended. It takes a fraction of the time of a tonic
//! client, so the server is what is measured.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    frames::{
        self, ACK, CallHeaders, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
        PAYLOAD_BYTES_MAX, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_BYTES, WINDOW_UPDATE,
    },
    messages::Messages,
    meter::{Latencies, Meter},
};

/// Replies never wait for a window.
const RECEIVE_WINDOW_BYTES: u32 = 1 << 30;
/// How much is received before the window of the connection is widened again, in bytes.
const WIDEN_AFTER_BYTES: u32 = 1 << 24;
/// The prefix of a message: that it is not compressed, and its length.
const GRPC_PREFIX_BYTES: usize = 5;

/// A call in flight.
struct Sent {
    at: Instant,
    /// Whether there was a message in the reply. A call that fails is answered without.
    answered: bool,
    /// That message with its prefix, if it is checked.
    reply: Vec<u8>,
}

/// A message that does not fit into the windows yet.
struct Pending {
    stream: u32,
    sent_bytes: usize,
    window: i64,
}

struct Connection<M> {
    messages: M,
    headers: CallHeaders,
    /// The bytes to write.
    out: Vec<u8>,
    /// The message that was sent last, with its prefix.
    message: Vec<u8>,
    pending: Option<Pending>,
    next_stream: u32,
    in_flight: HashMap<u32, Sent>,
    /// How much more may be sent, and how much on a new stream.
    window: i64,
    stream_window: u32,
    received_since_widened: u32,
    exhausted: bool,
}

/// Keeps so many calls in flight on one connection, until the meter stops it or there are no more.
pub(crate) async fn drive(
    address: SocketAddr,
    messages: impl Messages,
    in_flight_max: usize,
    meter: Arc<Meter>,
) -> anyhow::Result<Latencies> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    let mut connection = Connection::new(address, messages);
    let mut latencies = Latencies::default();
    let mut received = Vec::with_capacity(1 << 16);
    loop {
        connection.fill(if meter.is_stopping() { 0 } else { in_flight_max });
        if connection.in_flight.is_empty() && (meter.is_stopping() || connection.exhausted) {
            return Ok(latencies);
        }
        tokio::select! {
            biased;
            written = writer.write(&connection.out), if !connection.out.is_empty() => {
                connection.out.drain(..written.context("the connection broke")?);
            }
            read = reader.read_buf(&mut received) => {
                ensure!(read.context("the connection broke")? > 0, "the server closed the connection");
                let used = connection.take_in(&received, &meter, &mut latencies)?;
                received.drain(..used);
            }
        }
    }
}

impl<M: Messages> Connection<M> {
    fn new(address: SocketAddr, messages: M) -> Self {
        let mut out = PREFACE.to_vec();
        let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        settings.extend_from_slice(&RECEIVE_WINDOW_BYTES.to_be_bytes());
        frames::whole(&mut out, SETTINGS, 0, 0, &settings);
        frames::whole(&mut out, WINDOW_UPDATE, 0, 0, &RECEIVE_WINDOW_BYTES.to_be_bytes());
        Self {
            headers: CallHeaders::new(messages.path(), &address.to_string()),
            messages,
            out,
            message: Vec::new(),
            pending: None,
            next_stream: 1,
            in_flight: HashMap::new(),
            window: WINDOW_BYTES.into(),
            stream_window: WINDOW_BYTES,
            received_since_widened: 0,
            exhausted: false,
        }
    }

    /// Sends calls, as long as there are some and the windows have room.
    fn fill(&mut self, in_flight_max: usize) {
        while self.send_pending() && self.in_flight.len() < in_flight_max && !self.exhausted {
            self.message.clear();
            self.message.extend_from_slice(&[0; GRPC_PREFIX_BYTES]);
            if !self.messages.append_next(&mut self.message) {
                self.exhausted = true;
                return;
            }
            let message_bytes = (self.message.len() - GRPC_PREFIX_BYTES) as u32;
            self.message[1..GRPC_PREFIX_BYTES].copy_from_slice(&message_bytes.to_be_bytes());
            let stream = self.next_stream;
            self.next_stream += 2;
            let block = if stream == 1 { &self.headers.first } else { self.headers.later };
            frames::whole(&mut self.out, HEADERS, END_HEADERS, stream, block);
            self.pending = Some(Pending { stream, sent_bytes: 0, window: self.stream_window.into() });
            self.in_flight.insert(stream, Sent { at: Instant::now(), answered: false, reply: Vec::new() });
        }
    }

    /// Sends what is left of the last message; whether all of it could go.
    fn send_pending(&mut self) -> bool {
        while let Some(pending) = &mut self.pending {
            let rest = &self.message[pending.sent_bytes..];
            let window = usize::try_from(self.window.min(pending.window)).unwrap_or(0);
            let bytes = rest.len().min(window).min(PAYLOAD_BYTES_MAX);
            if bytes == 0 {
                return false;
            }
            let is_last = bytes == rest.len();
            let flags = if is_last { END_STREAM } else { 0 };
            frames::whole(&mut self.out, DATA, flags, pending.stream, &rest[..bytes]);
            pending.sent_bytes += bytes;
            pending.window -= bytes as i64;
            self.window -= bytes as i64;
            if is_last {
                self.pending = None;
            }
        }
        true
    }

    /// Looks at all frames that are complete; how many bytes they are.
    fn take_in(
        &mut self,
        received: &[u8],
        meter: &Meter,
        latencies: &mut Latencies,
    ) -> anyhow::Result<usize> {
        let mut rest = received;
        let now = Instant::now();
        while let Some((frame, after)) = Frame::split_off(rest) {
            rest = after;
            match frame.kind {
                DATA => {
                    self.received_since_widened += frame.payload.len() as u32;
                    if let Some(sent) = self.in_flight.get_mut(&frame.stream) {
                        sent.answered |= !frame.payload.is_empty();
                        if self.messages.looks_at_replies() {
                            sent.reply.extend_from_slice(frame.payload);
                        }
                    }
                }
                SETTINGS if !frame.has(ACK) => {
                    self.stream_window = frame.initial_window().unwrap_or(self.stream_window);
                    frames::whole(&mut self.out, SETTINGS, ACK, 0, &[]);
                }
                PING if !frame.has(ACK) => frames::whole(&mut self.out, PING, ACK, 0, frame.payload),
                WINDOW_UPDATE if frame.stream == 0 => self.window += i64::from(frame.increment()),
                WINDOW_UPDATE => {
                    if let Some(pending) = self.pending.as_mut().filter(|it| it.stream == frame.stream) {
                        pending.window += i64::from(frame.increment());
                    }
                }
                GOAWAY => bail!("the server sent the connection away"),
                _ => {}
            }
            let ends = matches!(frame.kind, DATA | HEADERS) && frame.has(END_STREAM);
            if ends || frame.kind == RST_STREAM {
                let Some(sent) = self.in_flight.remove(&frame.stream) else { continue };
                let reply = sent.reply.get(GRPC_PREFIX_BYTES..).unwrap_or_default();
                if ends && sent.answered && self.messages.is_good(reply) {
                    meter.done(self.messages.operations(), now - sent.at, latencies);
                } else {
                    meter.failed();
                }
            }
        }
        if self.received_since_widened > WIDEN_AFTER_BYTES {
            let increment = self.received_since_widened.to_be_bytes();
            frames::whole(&mut self.out, WINDOW_UPDATE, 0, 0, &increment);
            self.received_since_widened = 0;
        }
        Ok(received.len() - rest.len())
    }
}
