//! A client of one bank: its connections, and how requests are sent.

use std::{fmt, sync::Arc, time::Duration};

use bank_domain::{RequestId, redacted};
use opentelemetry::propagation::Injector;
use tonic::{
    Request, Response, Status,
    metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    Error,
    method::{Method, Stub},
    renewal::renewing,
    retry::{Attempts, Budget, RetryPolicy},
    servers::{Server, Servers, route},
    token::TokenSource,
    wire::FromWire as _,
};

/// The longest time that is told to the server; what is longer has no bound for it.
const TIMEOUT_ON_WIRE_MAX: Duration = Duration::from_hours(365 * 24);

/// The longest token that is sent, in bytes. A server answers headers that are too large with an error; far beyond its
/// limit it closes the connection, and whether the calls on it were carried out is unknown.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Names the route of a call, so that a load balancer can send all calls of an account to one server, too.
const ROUTE_HEADER: &str = "bank-route";

/// The largest reply to a batch, in bytes: more than to the largest batch that a server can be set to take.
const BATCH_REPLY_BYTES_MAX: usize = 64 << 20;

/// A client of one bank. Cloning is cheap: clones share connections and the retry budget.
///
/// Each method makes a [`Call`](crate::Call), which is given its options and awaited.
///
/// See the [crate](crate) for an example.
#[derive(Clone)]
pub struct BankClient {
    shared: Arc<Shared>,
}

struct Shared {
    servers: Servers,
    timeout: Duration,
    retry: RetryPolicy,
    budget: Budget,
    token: Option<Arc<dyn TokenSource>>,
}

/// Where a message goes, and within which limits.
#[derive(Default)]
pub(crate) struct Target<'a> {
    /// The account that it names first.
    pub(crate) account_id: Option<&'a str>,
    /// No limit unless set.
    pub(crate) timeout: Option<Duration>,
    /// Of a call that changes something.
    pub(crate) request_id: Option<&'a RequestId>,
}

impl BankClient {
    pub(crate) fn new(
        servers: Servers,
        timeout: Duration,
        retry: RetryPolicy,
        token: Option<Arc<dyn TokenSource>>,
    ) -> Self {
        let shared = Shared { servers, timeout, budget: Budget::new(&retry), retry, token };
        Self { shared: Arc::new(shared) }
    }

    /// Checks by `grpc.health.v1` whether a server can serve now: its store is available and it is not shutting down. Each
    /// server is asked once, until one can, within the client's timeout.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if none can, and whatever keeps the last one from being asked.
    pub async fn health(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for server in self.shared.servers.all() {
            result = self.health_of(server).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn health_of(&self, server: &Server) -> Result<(), Error> {
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(self.shared.timeout.min(TIMEOUT_ON_WIRE_MAX));
        let answer = renewing(|| {
            let (mut health, request) = (HealthClient::new(server.channel()), copy(&request));
            async move { health.check(request).await }
        });
        let answer = answer.await;
        let status = answer.map_err(|status| Error::from_status(status, None))?.into_inner().status();
        if status == ServingStatus::Serving {
            return Ok(());
        }
        let message =
            "the server reports that its store is unavailable or that it is shutting down".to_owned();
        Err(Error::Unavailable { message, retry_after: None })
    }

    /// Makes a call with one reply, with retries.
    pub(crate) async fn call<M: Method>(
        &self,
        method: &M,
        timeout: Option<Duration>,
    ) -> Result<M::Reply, Error> {
        let request_id = method.changes_under();
        let request_id = request_id.as_ref();
        let attempts = Attempts { request_id, ..self.attempts(timeout) };
        let attempt = async |left| {
            let target = Target { account_id: method.account(), timeout: Some(left), request_id };
            let reply = self.send(method.clone(), target, M::send).await?;
            Ok(M::Reply::from_wire(reply)?)
        };
        attempts.run(attempt).await
    }

    /// The retries of a call with this timeout, or that of the client.
    pub(crate) fn attempts(&self, timeout: Option<Duration>) -> Attempts<'_> {
        let Shared { retry, budget, servers, .. } = &*self.shared;
        let timeout = timeout.unwrap_or(self.shared.timeout);
        Attempts { policy: retry, budget, servers, timeout, request_id: None }
    }

    /// The timeout of a call that sets none.
    pub(crate) fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.shared.retry
    }

    /// Sends a message to the server that its account is assigned to, again if the connection ends before the server
    /// processes it.
    pub(crate) async fn send<Message: Clone, Reply, Sending>(
        &self,
        message: Message,
        target: Target<'_>,
        send: impl Fn(Stub, Request<Message>) -> Sending,
    ) -> Result<Reply, Error>
    where
        Sending: Future<Output = Result<Response<Reply>, Status>>,
    {
        let Target { account_id, timeout, request_id } = target;
        let mut request = Request::new(message);
        if let Some(timeout) = timeout {
            request.set_timeout(timeout.min(TIMEOUT_ON_WIRE_MAX));
        }
        let route = account_id.and_then(route);
        let request = self.shared.prepared(request, route).await?;
        let attempt = self.shared.servers.choose(route).attempt(timeout);
        let reply = renewing(|| send(attempt.server().stub(), copy(&request))).await;
        attempt
            .ended(reply.map(Response::into_inner).map_err(|status| Error::from_status(status, request_id)))
    }

    /// Sends a stream of messages, once.
    pub(crate) async fn send_stream<Messages, Reply, Sending>(
        &self,
        messages: Messages,
        account_id: Option<&str>,
        send: impl FnOnce(Stub, Request<Messages>) -> Sending,
    ) -> Result<Reply, Error>
    where
        Sending: Future<Output = Result<Response<Reply>, Status>>,
    {
        let route = account_id.and_then(route);
        let request = self.shared.prepared(Request::new(messages), route).await?;
        let attempt = self.shared.servers.choose(route).attempt(None);
        let reply = send(attempt.server().stub(), request).await;
        attempt.ended(reply.map(Response::into_inner).map_err(|status| Error::from_status(status, None)))
    }
}

/// The stub for replies to batches.
pub(crate) fn large_replies(stub: Stub) -> Stub {
    stub.max_decoding_message_size(BATCH_REPLY_BYTES_MAX)
}

impl Shared {
    /// The request with its route, the trace that it is part of, and the token of its caller, if there are.
    async fn prepared<T>(&self, mut request: Request<T>, route: Option<&str>) -> Result<Request<T>, Error> {
        // The bank says what is wrong with an account id that is no header.
        if let Some(route) = route.and_then(|route| route.parse().ok()) {
            request.metadata_mut().insert(ROUTE_HEADER, route);
        }
        opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.inject(&mut TraceCarrier(request.metadata_mut()));
        });
        if let Some(source) = &self.token {
            let token = source.token().await.map_err(Error::Token)?;
            request.metadata_mut().insert("authorization", bearer(&token)?);
        }
        Ok(request)
    }
}

/// The same request once more.
fn copy<T: Clone>(request: &Request<T>) -> Request<T> {
    let mut copy = Request::new(request.get_ref().clone());
    *copy.metadata_mut() = request.metadata().clone();
    copy
}

/// Where the trace that a call is part of is named.
struct TraceCarrier<'a>(&'a mut MetadataMap);

impl Injector for TraceCarrier<'_> {
    fn set(&mut self, key: &str, value: String) {
        // A trace is no reason for a call to fail.
        if let (Ok(key), Ok(value)) = (AsciiMetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

fn bearer(token: &str) -> Result<AsciiMetadataValue, Error> {
    if token.len() > TOKEN_BYTES_MAX {
        let problem =
            format!("the token has {} bytes, and no more than {TOKEN_BYTES_MAX} are sent", token.len());
        return Err(Error::Token(problem.into()));
    }
    let mut value: AsciiMetadataValue = format!("Bearer {token}")
        .parse()
        .map_err(|_| Error::Token("the token has a character that is not visible ASCII".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for BankClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BankClient")
            .field(
                "endpoints",
                &self.shared.servers.all().iter().map(|it| redacted(it.url())).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
