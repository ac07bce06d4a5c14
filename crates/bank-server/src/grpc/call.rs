//! One call: its deadline, its replies, and its entries in log, trace and audit trail.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bank_proto::v1::bank_service_server::SERVICE_NAME;
use futures::{
    StreamExt as _,
    future::OptionFuture,
    stream::{self, BoxStream},
};
use http::HeaderValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};
use tracing::{Instrument as _, Level, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{
    authenticate::Credentials,
    message::{Fields, RequestFields},
};
use crate::{
    admission::{Allowance, BufferPermit},
    audit_trail,
    auth::{Access, Extent, Identity, Method, Scope},
    ledger,
    network::Peer,
    status::{Failure, LimitKind, status},
    telemetry::{TRACES, traced},
};

/// How much earlier than the caller the server gives up, so that its answer arrives in time.
pub(super) const DEADLINE_MARGIN_MAX: Duration = Duration::from_millis(10);

/// How many replies of one call wait for a caller who reads slowly.
const REPLIES_WAITING_MAX: usize = 1;

/// Names are logged up to this length; longer ones are invalid anyway.
const LOGGED_NAME_LENGTH_MAX: usize = 128;

/// The replies of a call that has many.
pub(super) type Replies<Reply> = BoxStream<'static, Result<Reply, Status>>;

/// Where the replies of a call go that has many.
pub(super) struct ReplyTo<Reply> {
    replies: mpsc::Sender<(Reply, BufferPermit)>,
    pause_max: Duration,
    caller: Allowance,
}

impl<Reply: prost::Message> ReplyTo<Reply> {
    /// Hands a reply over; waits while the caller does not read, but not for ever.
    pub(super) async fn send(&self, reply: Reply) -> Result<(), Failure> {
        self.in_time(async {
            // As a message, and as bytes.
            let room = self.caller.reserve(2 * reply.encoded_len()).await;
            self.replies.send((reply, room)).await
        })
        .await
    }

    /// The same of a reply for which room was taken when it was asked for.
    pub(super) async fn send_in(&self, reply: Reply, room: BufferPermit) -> Result<(), Failure> {
        self.in_time(self.replies.send((reply, room))).await
    }

    async fn in_time<E>(&self, sending: impl Future<Output = Result<(), E>>) -> Result<(), Failure> {
        let pause_max = self.pause_max;
        let sent = timeout(pause_max, sending).await;
        sent.map_err(|_| Failure::limit(LimitKind::ReaderPause, pause_max.as_millis()))?
            .map_err(|_| Failure::CallerGone)
    }

    /// Sends what arrives until there is no more.
    pub(super) async fn pass_on<News>(
        self,
        mut news: mpsc::Receiver<News>,
        render: fn(News) -> Reply,
    ) -> Result<(), Failure> {
        while let Some(news) = news.recv().await {
            self.send(render(news)).await?;
        }
        Ok(())
    }

    /// What the caller may ask of the server.
    pub(super) fn caller(&self) -> &Allowance {
        &self.caller
    }
}

/// Marks a reply that ends by itself when the server drains, so that nobody has to wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndsWhenDraining;

/// Marks a reply that waits for its reader: while it is not taken, little is held for it. Its work ends with a status
/// when that has lasted too long.
#[derive(Clone, Debug, Default)]
pub(crate) struct PacedByReader {
    ended_at: Arc<OnceLock<Instant>>,
}

impl PacedByReader {
    /// Its work has ended: no more than the rest of the reply and the status is to be read.
    pub(crate) fn end(&self, now: Instant) {
        self.ended_at.get_or_init(|| now);
    }

    /// When that was, if it was.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.ended_at.get().copied()
    }
}

/// A call in flight. It is logged and audited when it ends, however it ends.
pub(super) struct Call {
    /// None would be a bug: the call got past authentication.
    caller: Option<Identity>,
    access: Option<Access>,
    peer: Option<SocketAddr>,
    method: Method,
    account: String,
    request_id: String,
    validate_only: bool,
    /// For the log.
    span: Span,
    /// For an OpenTelemetry collector.
    trace: Span,
    started: Instant,
    deadline: Instant,
    ended: bool,
}

impl Call {
    pub(super) fn begin<Message: RequestFields>(
        method: Method,
        request: &Request<Message>,
        timeout_max: Duration,
    ) -> Self {
        let Fields { account, request_id, validate_only } = request.get_ref().fields();
        let caller = request.extensions().get::<Identity>().cloned();
        let trace = traced(|| trace(method.name(), request.metadata()));
        let started = Instant::now();
        let asked =
            request.metadata().get("grpc-timeout").and_then(|value| grpc_timeout(value.to_str().ok()?));
        let timeout = asked.map_or(timeout_max, |asked| {
            timeout_max.min(asked.saturating_sub(DEADLINE_MARGIN_MAX.min(asked / 10)))
        });
        let mut call = Self {
            caller,
            access: None,
            peer: request.extensions().get::<Peer>().map(|Peer(address)| *address),
            method,
            account: shortened(account).to_owned(),
            request_id: shortened(request_id).to_owned(),
            validate_only,
            span: Span::none(),
            trace,
            started,
            deadline: started + timeout,
            ended: false,
        };
        // Nothing is written of a call that goes well, unless all is: then the span need not be made.
        if tracing::enabled!(target: "bank::call", Level::DEBUG) {
            call.span = call.log_span();
        }
        call
    }

    fn log_span(&self) -> Span {
        tracing::info_span!(
            target: "bank::call",
            "call",
            method = self.method.name(),
            caller = self.caller.as_ref().map(|caller| caller.subject().as_str()),
            account = self.account,
            request_id = self.request_id,
            outcome = Empty,
            latency_us = Empty,
        )
    }

    /// When the work on it must be done.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Answers the call with the result of `work`, which enforces the deadline itself: the ledger watches the deadline of
    /// what it was given, and says more when it passes. The work is passed by reference: a future is large, and each move
    /// copies it.
    pub(super) async fn run<Reply>(
        mut self,
        work: Pin<&mut impl Future<Output = Result<Reply, Failure>>>,
    ) -> Result<Reply, Status> {
        // The inner one is what the ledger finds as the current span.
        let work = work.instrument(self.trace.clone()).instrument(self.span.clone());
        let result = work.await.map_err(status);
        self.end(result.as_ref().map_or_else(Status::code, |_| Code::Ok));
        result
    }

    /// Answers the call with the replies of `work`, if its caller may use the method, before the deadline and while their
    /// credentials are valid. The work waits for a caller who takes no replies, up to `pause_max`, and ends when the caller
    /// leaves. It also ends when the server drains, if that is given as `draining`; otherwise the server waits for it.
    pub(super) fn run_stream<Reply, Work>(
        mut self,
        credentials: Option<Credentials>,
        draining: Option<CancellationToken>,
        caller: Option<Allowance>,
        pause_max: Duration,
        work: impl FnOnce(Access, ReplyTo<Reply>) -> Work + Send + 'static,
    ) -> Response<Replies<Reply>>
    where
        Reply: prost::Message + 'static,
        Work: Future<Output = Result<(), Failure>> + Send,
    {
        // What is logged during the long life of a stream names it.
        if self.span.is_none() {
            self.span = self.log_span();
        }
        let ends_when_draining = draining.is_some();
        let (sender, replies) = mpsc::channel(REPLIES_WAITING_MAX);
        let (end, ended) = oneshot::channel();
        let reader = sender.clone();
        let access = self.access();
        let work = async move {
            // Every call that gets here has a caller, as it has an identity.
            let caller = caller.ok_or(Failure::Unidentified)?;
            work(access?, ReplyTo { replies: sender, pause_max, caller }).await
        };
        let work = work.instrument(self.trace.clone()).instrument(self.span.clone());
        let paced = PacedByReader::default();
        let pace = paced.clone();
        tokio::spawn(async move {
            let result = tokio::select! {
                result = work => result,
                () = reader.closed() => Err(Failure::CallerGone),
                () = sleep_until(self.deadline) => Err(Failure::DeadlineExceeded),
                Some(rejection) = OptionFuture::from(credentials.map(Credentials::end)) => {
                    Err(Failure::Unauthenticated(rejection))
                }
                Some(()) = OptionFuture::from(draining.map(CancellationToken::cancelled_owned)) => {
                    Err(ledger::Error::ShuttingDown.into())
                }
            };
            let result = result.map_err(status);
            self.end(result.as_ref().map_or_else(Status::code, |()| Code::Ok));
            pace.end(Instant::now());
            // An error means that the caller is gone.
            let _ = end.send(result);
        });
        let replies = stream::unfold((replies, None), |(mut replies, sent)| async move {
            // Whoever asks for the next one has sent the one before.
            drop(sent);
            let (reply, room) = replies.recv().await?;
            Some((Ok(reply), (replies, Some(room))))
        });
        // How it ended has a channel of its own: it must not wait for the replies before it to be read.
        let end = stream::once(ended).filter_map(async |ended| ended.ok()?.err().map(Err));
        let mut response = Response::new(replies.chain(end).boxed());
        response.extensions_mut().insert(paced);
        if ends_when_draining {
            response.extensions_mut().insert(EndsWhenDraining);
        }
        response
    }

    /// Authorizes the caller for the method.
    pub(super) fn access(&mut self) -> Result<Access, Failure> {
        let caller = self.caller.clone().ok_or(Failure::Unidentified)?;
        let access = Access::grant(caller, self.method)?;
        Ok(self.access.insert(access).clone())
    }

    fn end(&mut self, outcome: Code) {
        self.ended = true;
        let latency_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if outcome != Code::Ok && self.span.is_none() {
            self.span = self.log_span();
        }
        self.span.record("outcome", tracing::field::debug(outcome));
        self.span.record("latency_us", latency_us);
        self.trace.record("rpc.grpc.status_code", i32::from(outcome));
        if is_failure_of_server(outcome) {
            self.trace.record("otel.status_code", "ERROR");
        }
        self.span.in_scope(|| {
            if outcome == Code::Ok {
                tracing::debug!(target: "bank::call", "{} done", self.method.name());
            } else {
                tracing::info!(target: "bank::call", "{} ended with {outcome:?}", self.method.name());
            }
        });
        if let Some(caller) = &self.caller {
            let Self { peer, method, account, request_id, validate_only, .. } = &*self;
            let (peer, method, validate_only) = (*peer, *method, *validate_only);
            let extent = self.access.as_ref().map_or(Extent::Unknown, Access::extent);
            CallRecord { caller, peer, method, account, request_id, validate_only, outcome, extent }.audit();
        }
    }
}

/// A call that has ended, or an operation of a batch, for the audit trail.
pub(super) struct CallRecord<'a> {
    pub(super) caller: &'a Identity,
    pub(super) peer: Option<SocketAddr>,
    pub(super) method: Method,
    pub(super) account: &'a str,
    pub(super) request_id: &'a str,
    pub(super) validate_only: bool,
    pub(super) outcome: Code,
    pub(super) extent: Extent,
}

impl CallRecord<'_> {
    /// Writes it into the audit trail, if it belongs there.
    pub(super) fn audit(self) {
        let Some(kind) = self.kind() else { return };
        let Self { caller, peer, method, account, request_id, validate_only, outcome, .. } = self;
        audit_trail::Event {
            subject: caller.subject().as_str(),
            peer,
            account,
            request_id,
            validate_only,
            ..audit_trail::Event::new(kind, method.name(), outcome)
        }
        .record();
    }

    fn kind(&self) -> Option<audit_trail::Kind> {
        let administers = self.caller.scopes().contains(Scope::Admin);
        match (self.outcome, self.extent) {
            (Code::PermissionDenied, _) => Some(audit_trail::Kind::PermissionDenied),
            (_, Extent::Beyond) if administers => Some(audit_trail::Kind::Administrative),
            (_, Extent::Beyond) => Some(audit_trail::Kind::Concealed),
            _ if administers && self.method.rule().scope == Some(Scope::Admin) => {
                Some(audit_trail::Kind::Administrative)
            }
            // It may have been done, to an unknown account. Operations of batches have events of their own.
            (Code::Cancelled | Code::DeadlineExceeded | Code::Unknown, Extent::Unknown)
                if administers && !self.caller.is_operator() && self.method.rule().scope.is_some() =>
            {
                Some(audit_trail::Kind::Administrative)
            }
            _ => None,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Code::Cancelled);
        }
    }
}

/// The span of a call for a collector, in the trace that its caller names. The names of the fields:
/// <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>
fn trace(method: &'static str, metadata: &MetadataMap) -> Span {
    let span = tracing::info_span!(
        target: TRACES,
        "call",
        otel.name = format_args!("{SERVICE_NAME}/{method}"),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = SERVICE_NAME,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
    );
    if !span.is_disabled() && metadata.contains_key("traceparent") {
        // An error means that the span is not sent anywhere.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&TraceHeaders(metadata)));
    }
    span
}

/// Where a caller names its trace.
struct TraceHeaders<'a>(&'a MetadataMap);

impl Extractor for TraceHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The codes that say that a server has failed, and not its caller.
const fn is_failure_of_server(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(LOGGED_NAME_LENGTH_MAX)]
}

/// Whether a value can be a `grpc-timeout`.
pub(crate) fn is_timeout(value: &HeaderValue) -> bool {
    value.to_str().ok().and_then(grpc_timeout).is_some()
}

/// Reads a `grpc-timeout`: up to eight digits and a unit.
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 60 * 60)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
