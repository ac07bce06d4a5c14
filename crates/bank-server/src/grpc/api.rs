//! The state of the API, and the shapes of its calls: those that change something, read, or stream.

use std::{panic::resume_unwind, pin::pin, sync::Arc};

use bank_domain::{Command, OpenAccount, RequestId, Timestamp};
use bank_store::Store;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{
    call::{Call, Replies, ReplyTo},
    message::{RequestFields, opened_account},
    options::ApiOptions,
    parse::{Defaults, Parse, ReplySize},
};
use crate::{
    admission::{Allowance, CallPermits},
    auth::{Access, Method},
    ledger::{self, Executed, Ledger, Operation},
    status::{Failure, LimitKind, status},
};

/// The service `bank.v1.BankService`; cheap to clone.
#[derive(Clone)]
pub struct BankApi {
    pub(super) ledger: Ledger,
    pub(super) options: Arc<ApiOptions>,
    pub(super) started_at: Timestamp,
    pub(super) started: Instant,
    /// One permit for each audit or export.
    audits: Arc<Semaphore>,
    /// Ends streams of replies.
    pub(super) draining: CancellationToken,
    /// The calls in flight.
    calls: TaskTracker,
    /// Work that continues when its caller has left, so that the audit trail has its outcome.
    detached: TaskTracker,
}

impl BankApi {
    /// The API of a ledger.
    pub fn new(ledger: Ledger, options: ApiOptions) -> Self {
        Self {
            started_at: ledger.clock().estimate(),
            started: Instant::now(),
            ledger,
            audits: Arc::new(Semaphore::new(options.concurrent_audits_max)),
            options: Arc::new(options),
            draining: CancellationToken::new(),
            calls: TaskTracker::new(),
            detached: TaskTracker::new(),
        }
    }

    /// The same API on a server, which counts calls in flight, ends streams when it drains, and waits for detached work.
    pub(crate) fn on(self, calls: TaskTracker, detached: TaskTracker, draining: CancellationToken) -> Self {
        Self { draining, calls, detached, ..self }
    }

    /// Starts work that continues when its caller has left. The work itself must end by its deadline.
    pub(super) fn detach<T, Work>(
        &self,
        work: Work,
    ) -> impl Future<Output = Result<T, Failure>> + Send + use<T, Work>
    where
        T: Send + 'static,
        Work: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let task = self.detached.spawn(work.in_current_span());
        async move {
            match task.await {
                Ok(outcome) => outcome,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The process ends.
                    Err(_) => Err(ledger::Error::ShuttingDown.into()),
                },
            }
        }
    }

    /// A permit to read everything.
    pub(super) fn audit_permit(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let audits_max = self.options.concurrent_audits_max;
        self.audits.try_acquire().map_err(|_| Failure::limit(LimitKind::Audits, audits_max))
    }

    pub(super) fn defaults<'a>(&self, access: &'a Access) -> Defaults<'a> {
        Defaults {
            currency: self.options.default_currency,
            owner: access.caller().subject(),
            amount_minor_units_max: self.options.amount_minor_units_max,
            message_bytes_max: self.options.facts.message_bytes_max,
        }
    }

    /// Handles a call that changes something. An administrative call is carried out, and recorded in the audit trail, even
    /// if its caller leaves.
    pub(super) async fn mutate<Message, Reply>(
        &self,
        method: Method,
        mut request: Request<Message>,
        render: fn(Option<&OpenAccount>, Executed, bool) -> Reply,
    ) -> Result<Response<Reply>, Status>
    where
        Message: RequestFields + Send + 'static,
        (Command, Option<RequestId>): Parse<Message>,
        Reply: Send + 'static,
    {
        // Only administrative calls have them.
        let Some(permits) = request.extensions_mut().remove::<CallPermits>() else {
            return self.mutate_here(method, request, render).await;
        };
        let api = self.clone();
        let work = async move {
            let reply = api.mutate_here(method, request, render).await;
            drop(permits);
            Ok(reply)
        };
        self.detach(work).await.unwrap_or_else(|failure| Err(status(failure)))
    }

    async fn mutate_here<Message, Reply>(
        &self,
        method: Method,
        request: Request<Message>,
        render: fn(Option<&OpenAccount>, Executed, bool) -> Reply,
    ) -> Result<Response<Reply>, Status>
    where
        Message: RequestFields,
        (Command, Option<RequestId>): Parse<Message>,
    {
        let mut call = Call::begin(method, &request, self.options.request_timeout);
        let (deadline, access) = (call.deadline(), call.access());
        let work = pin!(async {
            let access = access?;
            let validate_only = request.get_ref().fields().validate_only;
            let (command, request_id) = <(Command, _)>::parse(request.into_inner(), &self.defaults(&access))?;
            access.permit(&command)?;
            tracing::debug!(target: "bank::call", ?command, validate_only, "parsed");
            let opened = opened_account(&command).cloned();
            let operation = Operation { access, command, request_id };
            let executed = if validate_only {
                Box::pin(self.ledger.preview(operation, deadline)).await?
            } else {
                let inline = self.calls.len() <= 1;
                self.ledger.execute(operation, deadline, inline).await?
            };
            Ok(render(opened.as_ref(), executed, validate_only))
        });
        call.run(work).await.map(Response::new)
    }

    /// Handles a call that reads. The memory for a list is charged to the caller until the reply was sent.
    pub(super) async fn read<'a, Message, Query, Reply, Answering>(
        &'a self,
        method: Method,
        request: Request<Message>,
        answer: impl FnOnce(Reading<'a>, Query) -> Answering,
    ) -> Result<Response<Reply>, Status>
    where
        Message: RequestFields,
        Query: Parse<Message> + ReplySize,
        Reply: prost::Message,
        Answering: Future<Output = Result<Reply, Failure>>,
    {
        let mut call = Call::begin(method, &request, self.options.request_timeout);
        let (deadline, access) = (call.deadline(), call.access());
        let work = pin!(async {
            let access = access?;
            let caller = Allowance::of_call(request.extensions()).ok_or(Failure::Unidentified)?;
            let query = Query::parse(request.into_inner(), &self.defaults(&access))?;
            let bytes_max = query.bytes_max();
            let room = timeout_at(deadline, caller.reserve(bytes_max)).await;
            let mut room = room.map_err(|_| Failure::from(caller.buffer_limit(bytes_max)))?;
            let answer = pin!(answer(Reading { api: self, access, caller }, query));
            let reply = timeout_at(deadline, answer).await.unwrap_or(Err(Failure::DeadlineExceeded))?;
            if bytes_max > 0 {
                // The reply exists as a message and as bytes.
                room.shrink(2 * reply.encoded_len());
            }
            Ok((reply, room))
        });
        let (reply, room) = call.run(work).await?;
        let mut response = Response::new(reply);
        room.travel_with(response.extensions_mut());
        Ok(response)
    }

    /// Handles a call that reads and has a stream of replies. It ends when the server drains; callers can repeat it.
    pub(super) fn stream<Message, Query, Reply, Work>(
        &self,
        method: Method,
        request: Request<Message>,
        work: impl FnOnce(Self, Access, Query, ReplyTo<Reply>) -> Work + Send + 'static,
    ) -> Response<Replies<Reply>>
    where
        Message: RequestFields + Send + 'static,
        Query: Parse<Message> + Send,
        Reply: prost::Message + 'static,
        Work: Future<Output = Result<(), Failure>> + Send,
    {
        let draining = Some(self.draining.clone());
        self.stream_of(method, draining, request, |api, access, request, reply_to| async move {
            let query = Query::parse(request.into_inner(), &api.defaults(&access))?;
            work(api, access, query, reply_to).await
        })
    }

    /// Handles a call with a stream of replies.
    pub(super) fn stream_of<Message, Reply, Work>(
        &self,
        method: Method,
        draining: Option<CancellationToken>,
        request: Request<Message>,
        work: impl FnOnce(Self, Access, Request<Message>, ReplyTo<Reply>) -> Work + Send + 'static,
    ) -> Response<Replies<Reply>>
    where
        Message: RequestFields + Send + 'static,
        Reply: prost::Message + 'static,
        Work: Future<Output = Result<(), Failure>> + Send,
    {
        let call = Call::begin(method, &request, self.options.stream_timeout);
        let api = self.clone();
        let credentials = request.extensions().get().cloned();
        let caller = Allowance::of_call(request.extensions());
        let pause_max = self.options.reader_pause_max;
        call.run_stream(credentials, draining, caller, pause_max, |access, reply_to| {
            work(api, access, request, reply_to)
        })
    }
}

/// A call that reads.
pub(super) struct Reading<'a> {
    pub(super) api: &'a BankApi,
    pub(super) access: Access,
    pub(super) caller: Allowance,
}

impl<'a> Reading<'a> {
    pub(super) fn store(&self) -> &'a dyn Store {
        &**self.api.ledger.store()
    }
}
