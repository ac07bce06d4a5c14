//! Calls to the bank: authentication and limits come first.

use bank_proto::v1::bank_service_server::BankServiceServer;
use http::{Request, Response};
use tonic::{Code, body::Body};
use tower::Service as _;

use super::{
    metered::{MessageLimits, Metered},
    options::ServerOptions,
};
use crate::{
    admission::{Allowance, CallKind, CallPermits, Callers, LimitScope},
    audit_trail,
    auth::{Authentication, Identity, Method},
    grpc::{BankApi, authenticate},
    network::Peer,
    status::{Failure, Limit, LimitKind, error_response},
    telemetry::RateLimitedLog,
};

/// The bank behind authentication and limits.
pub(super) struct Bank {
    api: BankServiceServer<BankApi>,
    authentication: Authentication,
    callers: Callers,
    options: ServerOptions,
    overload_log: RateLimitedLog,
}

impl Bank {
    pub(super) fn new(api: BankApi, authentication: Authentication, options: &ServerOptions) -> Self {
        Self {
            api: BankServiceServer::new(api),
            authentication,
            callers: Callers::new(options.callers),
            options: options.clone(),
            overload_log: RateLimitedLog::default(),
        }
    }

    /// The limit on the messages of a method. Only batches may have large ones, and fewer of them are admitted at once.
    pub(super) fn message_limit(&self, path: &str) -> Limit {
        match CallKind::of_path(path) {
            CallKind::Single => Limit::new(LimitKind::Message, self.options.message_bytes_max),
            CallKind::Batch | CallKind::Stream => {
                Limit::new(LimitKind::BatchMessage, self.options.batch_bytes_max)
            }
        }
    }

    /// Answers a call. Nothing is read of one that exceeds a limit but its headers.
    pub(super) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.try_answer(request).await.unwrap_or_else(error_response)
    }

    async fn try_answer(&self, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        authenticate(&self.authentication, &mut request).await?;
        let kind = CallKind::of_path(request.uri().path());
        let (caller, permits) = self.admit(&request, kind)?;
        let mut api = self.api.clone();
        let bytes_max = if kind == CallKind::Single {
            api = api.max_encoding_message_size(self.options.reply_bytes_max);
            self.options.message_bytes_max
        } else {
            // There is no limit on the reply: the results of a batch that was carried out must reach the caller.
            self.options.batch_bytes_max
        };
        let timeout = self.options.answer_timeout();
        let messages = MessageLimits { bytes_max, is_stream: kind == CallKind::Stream, timeout };
        let mut request = request.map(|body| Body::new(Metered::new(body, caller.clone(), messages)));
        request.extensions_mut().insert(caller);
        if outlives_its_caller(&request, kind) {
            request.extensions_mut().insert(permits.clone());
        }
        let Ok(mut answer) = api.max_decoding_message_size(bytes_max).call(request).await;
        answer.extensions_mut().insert(permits);
        Ok(answer)
    }

    fn admit(&self, request: &Request<Body>, kind: CallKind) -> Result<(Allowance, CallPermits), Failure> {
        let identity = request.extensions().get::<Identity>();
        // The server adds it to every request.
        let peer = *request.extensions().get::<Peer>().ok_or(Failure::Unidentified)?;
        let caller = self.callers.allowance(identity, peer);
        caller.count(1).inspect_err(|_| record_excess(request, identity, peer))?;
        let permits = CallPermits::try_take(&caller, kind).inspect_err(|limit| match limit.scope {
            LimitScope::PerCaller => record_excess(request, identity, peer),
            LimitScope::Total => {
                if let Some(calls) = self.overload_log.count() {
                    tracing::warn!(calls, limit = ?limit.resource, max = limit.max, "refused calls: overloaded");
                }
            }
        })?;
        Ok((caller, permits))
    }
}

/// Whether the work of a call goes on when its caller has left, so that the audit trail has its outcome.
fn outlives_its_caller(request: &Request<Body>, kind: CallKind) -> bool {
    kind != CallKind::Single
        || request.extensions().get::<Identity>().is_some_and(|caller| {
            Method::of_path(request.uri().path())
                .is_some_and(|method| audit_trail::is_for_administration(caller, method))
        })
}

fn record_excess(request: &Request<Body>, identity: Option<&Identity>, Peer(address): Peer) {
    let method = Method::of_path(request.uri().path()).map_or("", Method::name);
    audit_trail::Event {
        subject: identity.map_or("", |identity| identity.subject().as_str()),
        peer: Some(address),
        ..audit_trail::Event::new(audit_trail::Kind::RateLimited, method, Code::ResourceExhausted)
    }
    .record();
}
