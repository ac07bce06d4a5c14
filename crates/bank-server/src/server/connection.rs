//! One connection: HTTP/2 on whatever carries bytes, and the calls on it.
//!
//! All of it is one task. Calls that can go on do so one after another, and what they reply is written at
//! once; as tasks of their own, each would be a wake-up and, often, a write to the socket of its own. What
//! takes long is given to others: the store is asked and waited for, and batches are tasks (see
//! `grpc/batch.rs`).

use std::{
    cell::Cell,
    convert::Infallible,
    future::poll_fn,
    mem,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::{
    FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered, task::AtomicWaker,
};
use http::{Request, Response};
use hyper::{rt::Executor, server::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop::has_budget_remaining,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::{
    activity::{Activity, CallInFlight, Verdict},
    calls::{LAST_CHUNK_BYTES, OneConnection, Services},
    edge::HTTP2_HEADERS_FACTOR,
    gathered::Gathered,
    options::ServerOptions,
};

/// How much of what callers send is taken in before it is looked at: all of a message, within
/// what HTTP/2 begins with and what hyper takes on a whole connection.
const WINDOW_BYTES: std::ops::RangeInclusive<usize> = 65_535..=1_048_576;

/// What a whole connection takes in at the least: what hyper does unless told.
const CONNECTION_WINDOW_BYTES_MIN: usize = 1_048_576;

/// How much HTTP/2 keeps of a stream's reply before it asks whether that was written. What it keeps is not counted
/// anywhere: no more than the end of a reply, which then goes out with the trailers in one write.
const SEND_BUFFER_BYTES: usize = LAST_CHUNK_BYTES + 1;

/// How connections are served; cheap to clone.
#[derive(Clone)]
pub(super) struct Protocol {
    options: ServerOptions,
    closing: CancellationToken,
}

/// Calls that have come in, and are not worked on yet. Every connection has its own.
#[derive(Clone)]
struct NewCalls {
    calls: Arc<Mutex<Vec<Call>>>,
    activity: Arc<Activity>,
}

/// A call, from its headers until its reply has been handed to HTTP/2. Dropping it earlier resets it, and
/// drops what HTTP/2 has of the reply.
struct Call {
    work: BoxFuture<'static, ()>,
    in_flight: Option<Arc<CallInFlight>>,
}

impl NewCalls {
    fn of(activity: Arc<Activity>) -> Self {
        Self { calls: Arc::default(), activity }
    }

    fn take(&self) -> Vec<Call> {
        // Nothing panics while it is held.
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
        // One that panics is gone, and reset, as a task would be; the others go on.
        let work = Box::pin(AssertUnwindSafe(work).catch_unwind().map(drop));
        // hyper hands a call over as soon as the service has been called with it.
        let call = Call { work, in_flight: self.activity.take_newest() };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

/// A connection with its calls.
struct Busy<Http> {
    http: Http,
    new: NewCalls,
    calls: FuturesUnordered<Call>,
    bell: Arc<Bell>,
}

/// Wakes a connection for what is on it. What rings while it is being worked on, in the course of that, is only
/// noted: to wake a task that runs wakes another thread, which finds nothing to do.
#[derive(Default)]
struct Bell {
    task: AtomicWaker,
    is_rung: AtomicBool,
}

thread_local! {
    /// The bell of the connection that this thread is working on.
    static AT_WORK: Cell<*const Bell> = const { Cell::new(ptr::null()) };
}

/// Says so while a thread works on a connection.
struct AtWork;

impl AtWork {
    fn on(bell: &Arc<Bell>) -> Self {
        AT_WORK.set(Arc::as_ptr(bell));
        Self
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.set(ptr::null());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if AT_WORK.get() == Arc::as_ptr(self) {
            self.is_rung.store(true, Relaxed);
        } else {
            self.task.wake();
        }
    }
}

impl<Http: Future> Busy<Pin<&mut Http>> {
    fn new(http: Pin<&mut Http>, new: NewCalls) -> Busy<Pin<&mut Http>> {
        Busy { http, new, calls: FuturesUnordered::new(), bell: Arc::default() }
    }

    /// Goes on with everything, until nothing can go on.
    fn poll(&mut self, context: &Context<'_>) -> Poll<Http::Output> {
        self.bell.task.register(context.waker());
        let waker = Waker::from(Arc::clone(&self.bell));
        let at_work = AtWork::on(&self.bell);
        let polled = self.go_on(&mut Context::from_waker(&waker));
        drop(at_work);
        if polled.is_pending() && self.bell.is_rung.load(Relaxed) {
            context.waker().wake_by_ref();
        }
        polled
    }

    /// Resets calls whose clients take nothing of their replies, and returns how many there were.
    fn reset_stalled(&mut self, now: Instant) -> usize {
        if !self.calls.iter().any(|call| call.is_stalled(now)) {
            return 0;
        }
        let before = self.calls.len();
        self.calls = mem::take(&mut self.calls).into_iter().filter(|call| !call.is_stalled(now)).collect();
        before - self.calls.len()
    }

    fn go_on(&mut self, context: &mut Context<'_>) -> Poll<Http::Output> {
        loop {
            self.bell.is_rung.store(false, Relaxed);
            // It takes in new calls, and writes what was replied.
            if let Poll::Ready(ended) = self.http.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            self.calls.extend(self.new.take());
            while let Poll::Ready(Some(())) = self.calls.poll_next_unpin(context) {}
            // A task that has had its turn gets nothing more done before the next.
            if !self.bell.is_rung.load(Relaxed) || !has_budget_remaining() {
                return Poll::Pending;
            }
        }
    }
}

impl Protocol {
    /// Connections are told to close once `closing` is cancelled.
    pub(super) fn new(options: &ServerOptions, closing: CancellationToken) -> Self {
        Self { options: options.clone(), closing }
    }

    /// HTTP/2 for one connection.
    fn http(&self, calls: NewCalls) -> http2::Builder<NewCalls> {
        let options = &self.options;
        let window = options.message_bytes_max.clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end());
        // Streams of batches that are not read from for now must leave room for all other calls.
        let streams = options.callers.calls.batch_streams_max.min(options.concurrent_streams_max as usize);
        let whole = window.saturating_mul(streams.saturating_add(1)).max(CONNECTION_WINDOW_BYTES_MIN);
        let whole = whole.min(i32::MAX as usize);
        let mut http = http2::Builder::new(calls);
        http.timer(TokioTimer::new())
            .keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(options.keepalive_timeout)
            .max_header_list_size(options.header_bytes_max.saturating_mul(HTTP2_HEADERS_FACTOR))
            .max_concurrent_streams(options.concurrent_streams_max)
            .max_pending_accept_reset_streams(options.resets_pending_max)
            .max_local_error_reset_streams(options.resets_by_server_max)
            .initial_stream_window_size(u32::try_from(window).ok())
            .initial_connection_window_size(u32::try_from(whole).ok())
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .auto_date_header(false);
        http
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve<Io, Bank>(self, io: Io, peer: SocketAddr, services: Services<Bank>)
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        Bank: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        Bank::Future: Send,
    {
        let activity = Arc::new(Activity::new(self.options.patience));
        let service = OneConnection::new(services, peer, Arc::clone(&activity));
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
                        Verdict::Dismiss if !leaving => true,
                        Verdict::Dismiss => {
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
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::server::Patience;

    fn new_calls() -> NewCalls {
        let long = Duration::from_mins(1);
        let patience = Patience { first_call_timeout: long, idle_timeout: long, reply_timeout: long };
        NewCalls::of(Arc::new(Activity::new(patience)))
    }

    /// Counts how often a task was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_call_that_panics_is_gone_and_the_others_go_on() {
        let (new, done) = (new_calls(), Arc::new(AtomicUsize::new(0)));
        new.execute(async { unreachable!("a bug") });
        let count = Arc::clone(&done);
        new.execute(async move {
            count.fetch_add(1, SeqCst);
        });
        let http = pin!(pending::<()>());
        let mut connection = Busy::new(http, new);
        assert!(connection.poll(&Context::from_waker(Waker::noop())).is_pending());
        assert_eq!((done.load(SeqCst), connection.calls.len()), (1, 0));
    }

    #[test]
    fn a_connection_is_woken_by_others_and_goes_on_by_itself_with_what_it_woke() {
        let woken = Arc::new(Woken::default());
        let task = Waker::from(Arc::clone(&woken));
        let (mut polls, mut kept) = (0, None);
        let http = pin!(poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                context.waker().wake_by_ref();
            }
            kept = Some(context.waker().clone());
            Poll::<()>::Pending
        }));
        let mut connection = Busy::new(http, new_calls());
        assert!(connection.poll(&Context::from_waker(&task)).is_pending());
        drop(connection);
        assert_eq!((polls, woken.0.load(SeqCst)), (2, 0));
        let kept = kept.unwrap_or_else(|| unreachable!("it was polled"));
        let other = kept.clone();
        thread::spawn(move || other.wake()).join().unwrap_or_else(|_| unreachable!("waking does not panic"));
        assert_eq!(woken.0.load(SeqCst), 1);
        assert!(!kept.will_wake(&task));
    }
}
