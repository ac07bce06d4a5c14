//! Reserves memory for each incoming message before the message is received.
//!
//! The length is in the first five bytes, so memory for the whole message is reserved at once, and no call waits with half
//! a message. If no memory is free, a call with one message is refused, and a stream is not read until some is.

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
    admission::{Allowance, BufferPermit},
    status::{Failure, status},
};

/// How messages are received.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageLimits {
    /// The largest message, in bytes. The decoder refuses larger ones.
    pub(super) bytes_max: usize,
    /// Whether there are many messages, which wait for memory.
    pub(super) is_stream: bool,
    /// How long a message may take to arrive after its memory was reserved.
    pub(super) timeout: Duration,
}

/// The messages of a call.
pub(super) struct Metered {
    inner: tonic::body::Body,
    caller: Allowance,
    limits: MessageLimits,
    framing: Framing,
    unfinished: Option<Unfinished>,
    waiting: Option<Box<Waiting>>,
}

/// A message of a stream that waits for its memory.
struct Waiting {
    permit: BoxFuture<'static, BufferPermit>,
    frame: Frame<Bytes>,
}

/// A message that has not arrived completely.
struct Unfinished {
    _permit: BufferPermit,
    /// Its number on the stream, from 1.
    number: u64,
    gives_up: Pin<Box<Sleep>>,
}

/// The position in the messages. Each is a byte, its length in four bytes, and its content.
#[derive(Default)]
struct Framing {
    header: [u8; 5],
    header_bytes: usize,
    /// Of the current message.
    length: usize,
    left: usize,
    /// How many messages have begun.
    number: u64,
}

impl Framing {
    /// Advances over `data`. Returns the length of the message that is incomplete after it, and where in `data` it begins.
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
    pub(super) fn new(inner: tonic::body::Body, caller: Allowance, limits: MessageLimits) -> Self {
        Self { inner, caller, limits, framing: Framing::default(), unfinished: None, waiting: None }
    }

    fn hold(&mut self, permit: BufferPermit) {
        let gives_up = Box::pin(sleep(self.limits.timeout));
        self.unfinished = Some(Unfinished { _permit: permit, number: self.framing.number, gives_up });
    }

    /// Whether the current message needs memory that was not reserved yet.
    fn needs_memory(&self, length: usize) -> bool {
        let has_memory =
            self.unfinished.as_ref().is_some_and(|message| message.number == self.framing.number);
        !has_memory && length <= self.limits.bytes_max
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
                let permit = ready!(waiting.permit.as_mut().poll(context));
                this.hold(permit);
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
                Some((length, begins_at)) if this.needs_memory(length) => {
                    this.unfinished = None;
                    if this.limits.is_stream {
                        let caller = this.caller.clone();
                        let mut whole = frame.into_data().unwrap_or_default();
                        let frame = Frame::data(whole.split_off(begins_at));
                        let permit = Box::pin(async move { caller.reserve(length).await });
                        this.waiting = Some(Box::new(Waiting { permit, frame }));
                        if whole.is_empty() {
                            continue;
                        }
                        // The previous message is passed on first. Its batch needs memory, too, and must not wait
                        // for what this stream reserves for the next message.
                        return Poll::Ready(Some(Ok(Frame::data(whole))));
                    }
                    match this.caller.try_reserve(length) {
                        Ok(permit) => this.hold(permit),
                        Err(limit) => {
                            return Poll::Ready(Some(Err(status(limit.into()))));
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
mod tests;
