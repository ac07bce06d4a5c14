//! Batches of operations, and streams of batches.
//!
//! Every operation is read, authorized, carried out, answered and audited like a call of its own. The limits on the number and
//! the size of batches apply before a message is read. A stream reads the next batch only when there is room for its result,
//! so a caller who does not read replies cannot send more.

mod result;

use std::{net::SocketAddr, pin::pin, sync::Arc, task::Poll};

use bank_proto::v1;
use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::{BoxFuture, ready},
    poll, stream,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};
use tonic::{Code, Request, Response, Status, Streaming};

use self::result::{AuditContext, BatchItem, Results};
use super::{
    api::BankApi,
    call::{Call, DEADLINE_MARGIN_MAX, Replies},
    message::opened_account,
    options::BatchBounds,
    parse::{Batch, BatchOperation},
};
use crate::{
    admission::{Allowance, BufferPermit, CallPermits, Permit, RateLimited, Resource},
    audit_trail,
    auth::{Access, Method},
    ledger::{self, BatchResults, DryRun, Operation},
    network::Peer,
    status::{Failure, Limit, LimitKind, operation_error},
};

/// What an operation takes in memory besides its part of the message.
const OPERATION_BYTES: usize = 512;

/// About how much memory a batch takes while it is in progress: the message, its commands and the reply, which shows most
/// of the message again.
fn bytes_in_work(message: &impl prost::Message, operations: usize) -> usize {
    3 * message.encoded_len() + OPERATION_BYTES * operations
}

/// A caller who sends batches.
struct BatchCaller {
    access: Access,
    peer: Option<SocketAddr>,
    method: Method,
    allowance: Allowance,
    /// Held while a batch is in progress, even when its caller has left.
    _permits: Option<CallPermits>,
}

/// The dry run of a stream: what its dry-run batches have left so far.
#[derive(Default)]
struct StreamDryRun {
    run: DryRun,
    /// The permits for the memory that it keeps, each with its bytes.
    permits: Vec<(usize, Permit)>,
}

/// The reply to a batch of a stream that is in progress.
type PendingReply = BoxFuture<'static, Result<(v1::ExecuteStreamResponse, BufferPermit), Failure>>;

/// Carries out one batch.
pub(super) async fn one(
    api: &BankApi,
    request: Request<v1::ExecuteBatchRequest>,
) -> Result<Response<v1::ExecuteBatchResponse>, Status> {
    let mut call = Call::begin(Method::ExecuteBatch, &request, api.options.request_timeout);
    let (deadline, access) = (call.deadline(), call.access());
    let (detaching, api) = (api, api.clone());
    let work = pin!(async {
        let (caller, message) = BatchCaller::of(access?, Method::ExecuteBatch, request)?;
        let bytes = bytes_in_work(&message, message.operations.len());
        let room = caller.allowance.try_reserve(bytes)?;
        let work = async move {
            let bounds = api.options.batches;
            let batch = Batch::parse(message, &api.defaults(&caller.access), bounds.operations_max)?;
            // The call itself has been counted.
            caller.count(batch.operations.len() - 1)?;
            let results = api.carry_out(&caller, batch, deadline, None).await?;
            Ok((v1::ExecuteBatchResponse { results }, room))
        };
        // The other calls on the connection go on meanwhile.
        detaching.detach(work).await
    });
    let (reply, room) = call.run(work).await?;
    let mut response = Response::new(reply);
    room.travel_with(response.extensions_mut());
    Ok(response)
}

/// Carries out batch after batch. When the server drains, it waits for those that have begun.
pub(super) fn many(
    api: &BankApi,
    request: Request<Streaming<v1::ExecuteStreamRequest>>,
) -> Response<Replies<v1::ExecuteStreamResponse>> {
    api.stream_of(Method::ExecuteStream, None, request, |api, access, request, reply_to| async move {
        let (caller, messages) = BatchCaller::of(access, Method::ExecuteStream, request)?;
        let in_work_max = api.options.batches.stream_batches_max;
        let mut replies = pin!(api.begin_all(Arc::new(caller), messages).buffered(in_work_max));
        while let Some(reply) = replies.next().await {
            let (reply, room) = reply?;
            reply_to.send_in(reply, room).await?;
        }
        Ok(())
    })
}

impl BankApi {
    /// Begins the batches of a stream one after another, until the stream ends or the server drains. The error that ends it
    /// comes after all replies.
    fn begin_all(
        self,
        caller: Arc<BatchCaller>,
        messages: Streaming<v1::ExecuteStreamRequest>,
    ) -> impl Stream<Item = PendingReply> {
        let bound = Limit::new(LimitKind::BatchMessage, self.options.batches.bytes_max);
        let dry_run = Arc::<Mutex<StreamDryRun>>::default();
        stream::unfold(Some((self, caller, messages, dry_run)), move |state| async move {
            let (api, caller, mut messages, mut dry_run) = state?;
            let message = tokio::select! {
                biased;
                () = api.draining.cancelled() => Err(ledger::Error::ShuttingDown.into()),
                message = messages.message() => message.map_err(|status| Failure::Unreadable(status, bound)),
            };
            match message {
                Ok(None) => None,
                Ok(Some(message)) => {
                    if !message.validate_only {
                        // It would not see what this one does.
                        dry_run = Arc::default();
                    }
                    let begun = api.clone().begin(Arc::clone(&caller), message, Arc::clone(&dry_run)).await;
                    Some((begun, Some((api, caller, messages, dry_run))))
                }
                Err(failure) => Some((ready(Err(failure)).boxed(), None)),
            }
        })
    }

    /// Begins a batch. When this returns, the batch is queued, ahead of any that is begun later.
    async fn begin(
        self,
        caller: Arc<BatchCaller>,
        message: v1::ExecuteStreamRequest,
        dry_run: Arc<Mutex<StreamDryRun>>,
    ) -> PendingReply {
        let BatchBounds { operations_max, .. } = self.options.batches;
        let bytes = bytes_in_work(&message, message.operations.len());
        let room = caller.allowance.reserve(bytes).await;
        let v1::ExecuteStreamRequest { operations, atomic, receipts_only, validate_only } = message;
        let message = v1::ExecuteBatchRequest { operations, atomic, receipts_only, validate_only };
        let parsed = Batch::parse(message, &self.defaults(&caller.access), operations_max);
        let batch = match parsed {
            Ok(batch) => batch,
            Err(failure) => return ready(Ok((not_executed(failure), room))).boxed(),
        };
        caller.allowance.keep_pace(batch.operations.len()).await;
        let deadline = Instant::now() + self.options.request_timeout;
        let api = self.clone();
        let mut work = async move {
            let results = self.carry_out(&caller, batch, deadline, Some(&dry_run));
            let results = timeout_at(deadline + DEADLINE_MARGIN_MAX, results).await;
            match results.unwrap_or(Err(Failure::DeadlineExceeded)) {
                Ok(results) => Ok((v1::ExecuteStreamResponse { results, error: None }, room)),
                // The next batch would be checked without this one.
                Err(failure) if failure.is_dry_run_too_large() => Err(failure),
                Err(failure) => Ok((not_executed(failure), room)),
            }
        }
        .boxed();
        match poll!(&mut work) {
            Poll::Ready(reply) => ready(reply).boxed(),
            // It is queued, and has an outcome even if the stream ends first.
            Poll::Pending => api.detach(work).boxed(),
        }
    }

    /// Carries out the operations of a batch that its caller may use. Returns a result for each operation, in order. A dry-run
    /// batch continues `dry_run`, if there is one.
    async fn carry_out(
        &self,
        caller: &BatchCaller,
        batch: Batch,
        deadline: Instant,
        dry_run: Option<&Mutex<StreamDryRun>>,
    ) -> Result<Vec<v1::OperationResult>, Failure> {
        let Batch { operations, atomic, receipts_only, validate_only } = batch;
        tracing::debug!(target: "bank::call", operations = operations.len(), atomic, validate_only, "parsed");
        let mut items = Vec::with_capacity(operations.len());
        let mut granted = Vec::with_capacity(operations.len());
        for BatchOperation { method, command, request_id } in operations {
            let access = caller.access.of(method);
            let access = access.and_then(|access| access.permit(&command).map(|()| access));
            let (account_id, opened) = (command.account_id().clone(), opened_account(&command).cloned());
            items.push(BatchItem {
                method,
                account_id,
                opened,
                request_id: request_id.clone(),
                access: access.clone(),
            });
            granted.extend(access.map(|access| Operation { access, command, request_id }));
        }
        let failed = items.iter().position(|item| item.access.is_err()).filter(|_| atomic);
        let audit = AuditContext { caller: caller.access.caller(), peer: caller.peer, validate_only };
        let mut results = Results::new(audit, receipts_only, items);
        let executed = match failed {
            None if !granted.is_empty() => {
                let executed = match dry_run {
                    _ if !validate_only => {
                        self.ledger.execute_batch(granted, atomic, deadline).await.map_err(Failure::from)
                    }
                    // Batches run in the order in which they wait for the lock.
                    Some(dry_run) => {
                        self.preview(caller, &granted, atomic, deadline, &mut *dry_run.lock().await).await
                    }
                    None => {
                        let mut dry_run = DryRun::default();
                        let previewed = self.ledger.preview_batch(&granted, atomic, deadline, &mut dry_run);
                        previewed.await.map_err(Failure::from)
                    }
                };
                executed.inspect_err(|_| results.discard())?
            }
            _ => Vec::new(),
        };
        let mut executed = executed.into_iter();
        results.add_all(|index, item| match (&item.access, failed) {
            // In an atomic batch one operation fails, and the others are aborted.
            (_, Some(failed_operation)) if failed_operation != index => {
                Err(ledger::Error::BatchAborted { failed_operation }.into())
            }
            (Err(missing), _) => Err((*missing).into()),
            (Ok(_), _) => Ok(executed.next().unwrap_or(Err(ledger::Error::ShuttingDown))?),
        });
        Ok(results.finish(self.ledger.metrics()))
    }

    /// Previews the next batch of a dry run, and charges the caller for the memory that it keeps.
    async fn preview(
        &self,
        caller: &BatchCaller,
        operations: &[Operation],
        atomic: bool,
        deadline: Instant,
        dry_run: &mut StreamDryRun,
    ) -> Result<BatchResults, Failure> {
        let results = self.ledger.preview_batch(operations, atomic, deadline, &mut dry_run.run).await?;
        // Memory is counted in kilobytes.
        let bytes = dry_run.run.bytes().next_multiple_of(1024);
        let counted: usize = dry_run.permits.iter().map(|(bytes, _)| bytes).sum();
        if bytes > counted {
            let more = bytes - counted;
            dry_run.permits.push((more, caller.allowance.try_take(Resource::DryRunBytes, more)?));
        }
        Ok(results)
    }
}

/// The reply to a batch of a stream of which nothing was done.
fn not_executed(failure: Failure) -> v1::ExecuteStreamResponse {
    v1::ExecuteStreamResponse { results: Vec::new(), error: Some(operation_error(failure)) }
}

impl BatchCaller {
    /// Takes a request apart.
    fn of<Message>(
        access: Access,
        method: Method,
        request: Request<Message>,
    ) -> Result<(Self, Message), Failure> {
        let (_, mut extensions, message) = request.into_parts();
        let peer = extensions.get::<Peer>().map(|Peer(address)| *address);
        // Admission has put it there.
        let allowance = extensions.remove::<Allowance>().ok_or(Failure::Unidentified)?;
        let permits = extensions.remove::<CallPermits>();
        Ok((Self { access, peer, method, allowance, _permits: permits }, message))
    }

    /// Charges operations to the caller's rate limit, all or none.
    fn count(&self, operations: usize) -> Result<(), RateLimited> {
        self.allowance.count(operations).inspect_err(|_| {
            let (kind, method) = (audit_trail::Kind::RateLimited, self.method.name());
            audit_trail::Event {
                subject: self.access.caller().subject().as_str(),
                peer: self.peer,
                ..audit_trail::Event::new(kind, method, Code::ResourceExhausted)
            }
            .record();
        })
    }
}
