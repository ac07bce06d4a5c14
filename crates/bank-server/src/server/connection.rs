//! One connection: HTTP/2 and all calls on it, in one task.
//!
//! Calls that can make progress do so one after another, and their replies are written together. With a task for each,
//! every call would cost a wake-up and often a write to the socket. Long work happens in other tasks: the store is awaited,
//! and batches are spawned (`grpc/batch.rs`).

use std::{
    future::poll_fn,
    mem,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hyper::{rt::Executor, server::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop::has_budget_remaining,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    activity::{Activity, CallInFlight, Verdict},
    calls::{LAST_CHUNK_BYTES, OneConnection, Services},
    edge::HTTP2_HEADERS_FACTOR,
    gathered::Gathered,
    self_wake::SelfWake,
};
use crate::network::Peer;

/// The flow control window of a call: a whole message, within the initial window of HTTP/2 and hyper's default for a
/// whole connection.
const WINDOW_BYTES: std::ops::RangeInclusive<usize> = 65_535..=1_048_576;

/// The least flow control window of a connection: hyper's default.
const CONNECTION_WINDOW_BYTES_MIN: usize = 1_048_576;

/// How much of a reply h2 may buffer. It is not counted as memory, so it is only the last part of a reply, which is then
/// written together with the trailers.
const SEND_BUFFER_BYTES: usize = LAST_CHUNK_BYTES + 1;

/// How many calls one connection may have in flight. Beyond it clients wait, as HTTP/2 prescribes.
pub const CONCURRENT_STREAMS_MAX: u32 = 1_000;

/// How many calls of a connection may be reset before the server has looked at them. One more closes it: resetting as
/// fast as possible is an attack (CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 20;

/// How many calls of a connection the server may have to reset because its client broke the rules of HTTP/2. One more
/// closes it (CVE-2025-8671).
const RESETS_BY_SERVER_MAX: usize = 100;

/// After how much silence the server checks that a connection is alive. Firewalls commonly drop connections that are
/// silent for a minute or more.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long a connection may take to answer such a check.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How connections are served. They are told to close once `closing` is cancelled.
pub(super) struct Protocol {
    pub(super) services: Arc<Services>,
    pub(super) closing: CancellationToken,
}

/// The calls of a connection that have arrived and have not been polled yet.
#[derive(Clone)]
struct NewCalls {
    calls: Arc<Mutex<Vec<Call>>>,
    activity: Arc<Activity>,
}

/// A call, from its headers until HTTP/2 has its reply. Dropping it earlier resets it and discards what HTTP/2 has of the
/// reply.
struct Call {
    work: BoxFuture<'static, ()>,
    in_flight: Option<Arc<CallInFlight>>,
}

impl NewCalls {
    fn of(activity: Arc<Activity>) -> Self {
        Self { calls: Arc::default(), activity }
    }

    fn take(&self) -> Vec<Call> {
        // Nothing panics while it is locked.
        mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Call {
    fn is_stalled(&self, now: Instant) -> bool {
        self.in_flight.as_ref().is_some_and(|call| call.is_stalled(now))
    }
}

impl Future for Call {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.work.as_mut().poll(context)
    }
}

impl<Work: Future<Output = ()> + Send + 'static> Executor<Work> for NewCalls {
    fn execute(&self, work: Work) {
        // A call that panics is reset, as a task would be; the others continue.
        let work = Box::pin(AssertUnwindSafe(work).catch_unwind().map(drop));
        // hyper calls this right after it has called the service.
        let call = Call { work, in_flight: self.activity.take_newest() };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

/// A connection with its calls.
struct Busy<Http> {
    http: Http,
    new: NewCalls,
    calls: FuturesUnordered<Call>,
    self_wake: SelfWake,
}

impl<Http: Future> Busy<Pin<&mut Http>> {
    fn new(http: Pin<&mut Http>, new: NewCalls) -> Busy<Pin<&mut Http>> {
        Busy { http, new, calls: FuturesUnordered::new(), self_wake: SelfWake::default() }
    }

    /// Polls HTTP/2 and the calls until nothing makes progress. A task that has used its budget waits for its next turn.
    fn poll(&mut self, task: &Context<'_>) -> Poll<Http::Output> {
        let Self { http, new, calls, self_wake } = self;
        let round = |context: &mut Context<'_>| {
            // Receives new calls, and writes replies.
            if let Poll::Ready(ended) = http.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            calls.extend(new.take());
            while let Poll::Ready(Some(())) = calls.poll_next_unpin(context) {}
            Poll::Pending
        };
        self_wake.poll(task, round, has_budget_remaining)
    }

    /// Resets calls whose replies are not taken, and returns how many there were.
    fn reset_stalled(&mut self, now: Instant) -> usize {
        if !self.calls.iter().any(|call| call.is_stalled(now)) {
            return 0;
        }
        let before = self.calls.len();
        self.calls = mem::take(&mut self.calls).into_iter().filter(|call| !call.is_stalled(now)).collect();
        before - self.calls.len()
    }
}

impl Protocol {
    /// HTTP/2 for one connection.
    fn http(&self, calls: NewCalls) -> http2::Builder<NewCalls> {
        let options = &self.services.options;
        let window = options.message_bytes_max.clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end());
        // Streams of batches that are not being read must leave room for all other calls.
        let streams = options.callers.streams.per_caller.min(CONCURRENT_STREAMS_MAX as usize);
        let whole = window.saturating_mul(streams.saturating_add(1)).max(CONNECTION_WINDOW_BYTES_MIN);
        let whole = whole.min(i32::MAX as usize);
        let mut http = http2::Builder::new(calls);
        http.timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .max_header_list_size(options.header_bytes_max.saturating_mul(HTTP2_HEADERS_FACTOR))
            .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
            .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
            .max_local_error_reset_streams(RESETS_BY_SERVER_MAX)
            .initial_stream_window_size(u32::try_from(window).ok())
            .initial_connection_window_size(u32::try_from(whole).ok())
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .auto_date_header(false);
        http
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve<Io>(&self, io: Io, peer: Peer)
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new(self.services.options.timeouts));
        let service = OneConnection::new(Arc::clone(&self.services), peer, Arc::clone(&activity));
        let new = NewCalls::of(Arc::clone(&activity));
        let http = pin!(self.http(new.clone()).serve_connection(TokioIo::new(Gathered(io)), service));
        let mut connection = Busy::new(http, new);
        let (mut leaving, mut look_at) = (false, Instant::now());
        loop {
            let leave = tokio::select! {
                ended = poll_fn(|context| connection.poll(context)) => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection broke");
                    }
                    return;
                }
                () = self.closing.cancelled(), if !leaving => true,
                () = sleep_until(look_at) => {
                    let now = Instant::now();
                    if activity.period_ends(now) {
                        let calls = connection.reset_stalled(now);
                        if calls > 0 {
                            tracing::debug!(%peer, calls, "reset calls whose replies are not taken");
                        }
                    }
                    match activity.verdict(now) {
                        Verdict::Keep(then) => {
                            look_at = then;
                            false
                        }
                        Verdict::Close if !leaving => true,
                        Verdict::Close => {
                            tracing::debug!(%peer, "closed a connection");
                            return;
                        }
                    }
                }
            };
            if leave {
                leaving = true;
                connection.http.as_mut().graceful_shutdown();
                look_at = activity.leave();
            }
        }
    }
}

#[cfg(test)]
mod tests;
