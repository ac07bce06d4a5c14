//! The message of a call to the bank as it comes, with room for it before it is taken in.
//!
//! Its length is in its first five bytes, so the room for all of it is taken at once, and nobody waits with half a
//! message for the other half. A call with one message is refused if there is none; a stream is not read from
//! until there is some.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use crate::{
    admission::{Buffers, Room},
    status::{Failure, status},
};

/// How messages are taken in.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageBounds {
    /// How large one may be. What is larger is refused by who reads it.
    pub(super) bytes_max: usize,
    /// Whether there is one after another, which wait for room.
    pub(super) is_stream: bool,
    /// How long one may take to come, for which room was taken.
    pub(super) timeout: Duration,
}

/// The messages of a call.
pub(super) struct Metered {
    inner: tonic::body::Body,
    buffers: Buffers,
    bounds: MessageBounds,
    framing: Framing,
    unfinished: Option<Unfinished>,
    waiting: Option<Box<Waiting>>,
}

/// A message of a stream that waits for its room.
struct Waiting {
    room: BoxFuture<'static, Room>,
    frame: Frame<Bytes>,
}

/// A message that has not come whole.
struct Unfinished {
    _room: Room,
    /// Which it is.
    number: u64,
    gives_up: Pin<Box<Sleep>>,
}

/// How far the messages have come: each is a byte, its length in four bytes, and so many bytes.
#[derive(Default)]
struct Framing {
    header: [u8; 5],
    header_bytes: usize,
    /// Of the message that is coming.
    length: usize,
    left: usize,
    /// How many have begun.
    number: u64,
}

impl Framing {
    /// Reads on. Returns the length of the message that is unfinished then, and where in `data` it begins.
    fn advance(&mut self, data: &[u8]) -> Option<(usize, usize)> {
        let (mut at, mut begins_at) = (0, 0);
        while let Some(byte) = data.get(at) {
            if self.left > 0 {
                let taken = self.left.min(data.len() - at);
                self.left -= taken;
                at += taken;
                continue;
            }
            if self.header_bytes == 0 {
                begins_at = at;
            }
            self.header[self.header_bytes] = *byte;
            self.header_bytes += 1;
            at += 1;
            if self.header_bytes == self.header.len() {
                let [_, length @ ..] = self.header;
                self.header_bytes = 0;
                self.length = u32::from_be_bytes(length) as usize;
                self.left = self.length;
                self.number += 1;
            }
        }
        (self.left > 0).then_some((self.length, begins_at))
    }
}

impl Metered {
    pub(super) fn new(inner: tonic::body::Body, buffers: Buffers, bounds: MessageBounds) -> Self {
        Self { inner, buffers, bounds, framing: Framing::default(), unfinished: None, waiting: None }
    }

    fn take(&mut self, room: Room) {
        let gives_up = Box::pin(sleep(self.bounds.timeout));
        self.unfinished = Some(Unfinished { _room: room, number: self.framing.number, gives_up });
    }

    /// Whether a message of this length needs room that it does not have.
    fn needs_room(&self, length: usize) -> bool {
        let has_room = self.unfinished.as_ref().is_some_and(|message| message.number == self.framing.number);
        !has_room && length <= self.bounds.bytes_max
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(waiting) = &mut this.waiting {
                let room = ready!(waiting.room.as_mut().poll(context));
                this.take(room);
                return Poll::Ready(this.waiting.take().map(|waiting| Ok(waiting.frame)));
            }
            let Poll::Ready(next) = Pin::new(&mut this.inner).poll_frame(context) else {
                if let Some(message) = &mut this.unfinished {
                    ready!(message.gives_up.as_mut().poll(context));
                    return Poll::Ready(Some(Err(status(Failure::DeadlineExceeded))));
                }
                return Poll::Pending;
            };
            let frame = match next {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            let Some(data) = frame.data_ref() else { return Poll::Ready(Some(Ok(frame))) };
            match this.framing.advance(data) {
                None => this.unfinished = None,
                Some((length, begins_at)) if this.needs_room(length) => {
                    this.unfinished = None;
                    if this.bounds.is_stream {
                        let buffers = this.buffers.clone();
                        let mut whole = frame.into_data().unwrap_or_default();
                        let frame = Frame::data(whole.split_off(begins_at));
                        let room = Box::pin(async move { buffers.take(length).await });
                        this.waiting = Some(Box::new(Waiting { room, frame }));
                        if whole.is_empty() {
                            continue;
                        }
                        // The message before is handed on first. Its batch needs room, too, and must not wait
                        // for what this stream holds for the next message.
                        return Poll::Ready(Some(Ok(Frame::data(whole))));
                    }
                    match this.buffers.try_take(length) {
                        Ok(room) => this.take(room),
                        Err(no_room) => {
                            return Poll::Ready(Some(Err(status(no_room.into()))));
                        }
                    }
                }
                Some(_) => {}
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.waiting.is_none() { self.inner.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_however_they_come() {
        let messages =
            [&[0, 0, 0, 0, 3, 1, 1, 1][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[2; 256]].concat();
        for step in 1..=messages.len() {
            let mut framing = Framing::default();
            let mut unfinished = None;
            for part in messages.chunks(step) {
                unfinished = framing.advance(part);
            }
            assert_eq!((unfinished, framing.number), (None, 3), "{step} bytes at a time");
            assert_eq!(framing.advance(&[0, 0, 0]), None);
            assert_eq!(framing.advance(&[1, 1, 7]), Some((257, 0)));
            assert_eq!(framing.advance(&[7; 255]), Some((257, 0)));
            assert_eq!(framing.advance(&[7]), None);
            assert_eq!(framing.advance(&[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 2, 7]), Some((2, 6)));
        }
    }
}
