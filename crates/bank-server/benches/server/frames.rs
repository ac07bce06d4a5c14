//! The subset of HTTP/2 for a client that repeats one call (RFC 9113, RFC 7541).

/// What a client sends first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The initial window of a connection and of each stream, in bytes.
pub(crate) const WINDOW_BYTES: u32 = 65_535;
/// The length of a frame header, in bytes.
pub(crate) const HEADER_BYTES: usize = 9;
/// The largest payload that may be sent unasked, in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16_384;

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;

/// Of [`SETTINGS`]: the window that streams begin with.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;

/// Of [`SETTINGS`] and [`PING`]: an answer to one.
pub(crate) const ACK: u8 = 0x1;
/// Of [`DATA`] and [`HEADERS`]: nothing follows on the stream.
pub(crate) const END_STREAM: u8 = 0x1;
/// Of [`HEADERS`]: no more headers follow.
pub(crate) const END_HEADERS: u8 = 0x4;

/// A header that is in the table, by its number there.
const INDEXED: u8 = 0x80;
/// A header that both sides are to remember, with the number of its name.
const REMEMBERED: u8 = 0x40;

/// A frame in the received bytes.
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of the received bytes, and the rest; `None` if it is incomplete.
    pub(crate) fn split_off(received: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = received.split_first_chunk::<HEADER_BYTES>()?;
        let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = header;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        Some((Self { kind, flags, stream, payload }, rest))
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How much may be sent on a stream before it is widened, if the [`SETTINGS`] say it.
    pub(crate) fn initial_window(&self) -> Option<u32> {
        let (settings, _) = self.payload.as_chunks::<6>();
        let values =
            settings.iter().filter(|&&[high, low, ..]| [high, low] == INITIAL_WINDOW_SIZE.to_be_bytes());
        values.map(|&[_, _, a, b, c, d]| u32::from_be_bytes([a, b, c, d])).next_back()
    }

    /// The payload of a [`WINDOW_UPDATE`].
    pub(crate) fn increment(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |&bytes| u32::from_be_bytes(bytes))
    }
}

/// Appends a frame header.
pub(crate) fn begin(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload_bytes: usize) {
    let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Appends a whole frame.
pub(crate) fn whole(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    begin(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// The headers of a call, compressed as clients do: in full the first time, and as references to
/// what both sides remember from then on.
pub(crate) struct CallHeaders {
    pub(crate) first: Vec<u8>,
    pub(crate) later: &'static [u8],
}

impl CallHeaders {
    pub(crate) fn new(path: &str, authority: &str) -> Self {
        // `:method: POST` and `:scheme: http` are in the table that everybody has. What is remembered
        // after them counts from 62, the latest first.
        let mut first = vec![INDEXED + 3, INDEXED + 6];
        remembered(&mut first, 4, path);
        remembered(&mut first, 1, authority);
        remembered(&mut first, 31, "application/grpc");
        first.push(REMEMBERED);
        text(&mut first, "te");
        text(&mut first, "trailers");
        let later = &[INDEXED + 3, INDEXED + 6, INDEXED + 65, INDEXED + 64, INDEXED + 63, INDEXED + 62];
        Self { first, later }
    }
}

/// A header whose name is in the table, with a value that both sides are to remember.
fn remembered(block: &mut Vec<u8>, name: u8, value: &str) {
    block.push(REMEMBERED + name);
    text(block, value);
}

/// Paths and addresses are shorter than the 127 bytes whose length takes one byte.
fn text(block: &mut Vec<u8>, text: &str) {
    block.push(u8::try_from(text.len()).unwrap_or(0) & 0x7f);
    block.extend_from_slice(text.as_bytes());
}
