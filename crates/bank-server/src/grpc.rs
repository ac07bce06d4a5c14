//! The gRPC API: turns messages into commands and outcomes into messages.
//!
//! `parse` is the only place that reads what callers send, and `status` the only one that makes
//! an error status. What lies between knows domain types only.

mod audit;
mod authenticate;
mod backup;
mod batch;
mod call;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod info;
mod page;
mod parse;
mod read;
mod render;
mod scans;
mod watch;

use std::{panic::resume_unwind, pin::pin, sync::Arc, time::Duration};

use bank_domain::{Command, Currency};
use bank_proto::v1::{self, bank_service_server::BankService};
use bank_store::Store;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout_at,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

pub(crate) use self::{
    authenticate::Authenticate,
    call::{EndsWhenDraining, PacedByReader, is_timeout},
};
pub use self::{batch::BatchBounds, info::ServerFacts};
use self::{
    call::{Answer, Call, Ending, Replies, ReplyTo},
    info::Start,
    page::Paged,
    parse::{Assumed, Mutation, ParseWith},
    scans::Scans,
};
use crate::{
    admission::{Allowance, CallPermits, HeldBuffer},
    auth::{Access, Extent, Method},
    ledger::{self, Executed, Ledger},
    status::{Failure, LimitKind, status},
    watch::WatchOptions,
};

/// What the API adds to what callers leave out.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The currency of an account that is opened without one.
    pub default_currency: Currency,
    /// The most that one movement, or an overdraft limit, may be of, in minor units.
    pub amount_minor_units_max: i64,
    /// How long a call may take; a caller may ask for less, not for more.
    pub request_timeout: Duration,
    /// What callers may know of the rest.
    pub facts: ServerFacts,
    /// The same, of a call with a stream of replies.
    pub stream_timeout: Duration,
    /// How long such a call waits for a caller who takes none of the replies.
    pub reader_pause_max: Duration,
    /// How many audits and exports may run at once.
    pub concurrent_audits_max: usize,
    /// How large batches of operations may be.
    pub batches: BatchBounds,
    /// The bounds of watches.
    pub watch: WatchOptions,
}

/// The service `bank.v1.BankService`; cheap to clone.
#[derive(Clone)]
pub struct BankApi {
    ledger: Ledger,
    options: Arc<ApiOptions>,
    start: Start,
    /// One for each audit or export that may begin.
    audits: Arc<Semaphore>,
    /// Streams of replies end with it.
    draining: CancellationToken,
    /// The calls in flight, these among them.
    calls: TaskTracker,
    /// Work that goes on when its caller has left, so that the audit trail has its outcome.
    detached: TaskTracker,
}

impl BankApi {
    /// The API of a ledger.
    pub fn new(ledger: Ledger, options: ApiOptions) -> Self {
        let audits = Arc::new(Semaphore::new(options.concurrent_audits_max));
        Self {
            start: Start::now(ledger.clock()),
            ledger,
            options: Arc::new(options),
            audits,
            draining: CancellationToken::new(),
            calls: TaskTracker::new(),
            detached: TaskTracker::new(),
        }
    }

    /// The same on a server, which says how many calls there are, and when streams of replies are to end, and waits for
    /// `detached` work.
    pub(crate) fn on(self, calls: TaskTracker, detached: TaskTracker, draining: CancellationToken) -> Self {
        Self { draining, calls, detached, ..self }
    }

    /// Begins work that goes on when whoever waits for it has left. It is bounded by its deadline.
    fn detach<T, Work>(&self, work: Work) -> impl Future<Output = Result<T, Failure>> + Send + use<T, Work>
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

    /// Carries out a call that changes something. An act of administration is carried out, and recorded in the audit
    /// trail, even if its caller leaves.
    async fn mutate<Message, Reply>(
        &self,
        method: Method,
        mut request: Request<Message>,
        render: fn(&Command, Executed) -> Reply,
    ) -> Result<Response<Reply>, Status>
    where
        Message: call::Names + Send + 'static,
        Mutation: ParseWith<Message>,
        Reply: Send + 'static,
    {
        // There if it is one.
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
        render: fn(&Command, Executed) -> Reply,
    ) -> Result<Response<Reply>, Status>
    where
        Message: call::Names,
        Mutation: ParseWith<Message>,
    {
        let call = Call::begin(method, &request, self.options.request_timeout);
        let (deadline, access) = (call.deadline(), call.access());
        let work = pin!(async {
            let access = access?;
            let Mutation { command, request_id, validate_only } =
                Mutation::parse_with(request.into_inner(), &self.assumed(&access))?;
            access.permit(&command)?;
            tracing::debug!(target: "bank::call", ?command, validate_only, "parsed");
            let alone = self.calls.len() <= 1;
            let request = ledger::Request { access, command: command.clone(), request_id, deadline, alone };
            let executed = if validate_only {
                Box::pin(self.ledger.preview(request)).await?
            } else {
                self.ledger.execute(request).await?
            };
            let extent = executed.extent;
            Ok(Answer { reply: render(&command, executed), extent })
        });
        call.run(work).await
    }

    /// Carries out a call that only reads.
    async fn read<Message, Query, Reply, Answering>(
        &self,
        method: Method,
        request: Request<Message>,
        answer: impl FnOnce(Arc<dyn Store>, Access, Query) -> Answering,
    ) -> Result<Response<Reply>, Status>
    where
        Message: call::Names,
        Query: ParseWith<Message>,
        Answering: Future<Output = Result<Answer<Reply>, Failure>>,
    {
        let call = Call::begin(method, &request, self.options.request_timeout);
        let (deadline, access) = (call.deadline(), call.access());
        let work = pin!(async {
            let access = access?;
            let query = Query::parse_with(request.into_inner(), &self.assumed(&access))?;
            let answer = pin!(answer(Arc::clone(self.ledger.store()), access, query));
            timeout_at(deadline, answer).await.unwrap_or(Err(Failure::DeadlineExceeded))
        });
        call.run(work).await
    }

    /// Carries out a call that reads a page of a list. What it takes in memory is the caller's until the reply was
    /// sent, and what it reads counts against their rate.
    async fn list<Message, Query, Reply, Answering>(
        &self,
        method: Method,
        request: Request<Message>,
        answer: impl FnOnce(Arc<dyn Store>, Access, Query) -> Answering,
    ) -> Result<Response<Reply>, Status>
    where
        Message: call::Names,
        Query: ParseWith<Message> + Paged,
        Reply: prost::Message,
        Answering: Future<Output = Result<Answer<Reply>, Failure>>,
    {
        let call = Call::begin(method, &request, self.options.request_timeout);
        let (deadline, access) = (call.deadline(), call.access());
        let held = HeldBuffer::default();
        let work = pin!(async {
            let access = access?;
            let caller = Allowance::of_call(request.extensions()).ok_or(Failure::Unidentified)?;
            let query = Query::parse_with(request.into_inner(), &self.assumed(&access))?;
            let bytes_max = query.bytes_max();
            let room = timeout_at(deadline, caller.reserve(bytes_max)).await;
            let mut room = room.map_err(|_| Failure::from(caller.buffer_limit(bytes_max)))?;
            let store = Arc::new(Scans::new(Arc::clone(self.ledger.store()), caller));
            let answer = pin!(answer(store, access, query));
            let answer = timeout_at(deadline, answer).await.unwrap_or(Err(Failure::DeadlineExceeded))?;
            // As a message, and as bytes.
            room.shrink(2 * answer.reply.encoded_len());
            held.hold(room);
            Ok(answer)
        });
        let mut response = call.run(work).await?;
        response.extensions_mut().insert(held.clone());
        Ok(response)
    }

    /// Leave to read everything.
    fn audit_permit(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let audits_max = self.options.concurrent_audits_max;
        self.audits.try_acquire().map_err(|_| Failure::limit(LimitKind::Audits, audits_max))
    }

    fn assumed<'a>(&self, access: &'a Access) -> Assumed<'a> {
        Assumed {
            currency: self.options.default_currency,
            owner: access.caller().subject(),
            amount_minor_units_max: self.options.amount_minor_units_max,
            message_bytes_max: self.options.facts.message_bytes_max,
        }
    }

    /// Carries out a call that only reads, and has many replies.
    fn stream<Message, Query, Reply, Work>(
        &self,
        method: Method,
        request: Request<Message>,
        work: impl FnOnce(Self, Access, Query, ReplyTo<Reply>) -> Work + Send + 'static,
    ) -> Response<Replies<Reply>>
    where
        Message: call::Names + Send + 'static,
        Query: ParseWith<Message> + Send,
        Reply: prost::Message + 'static,
        Work: Future<Output = Result<Extent, Failure>> + Send,
    {
        let call = Call::begin(method, &request, self.options.stream_timeout);
        let api = self.clone();
        let credentials = request.extensions().get().cloned();
        let ending = Ending::AtOnce(self.draining.clone());
        let pause_max = self.options.reader_pause_max;
        let caller = Allowance::of_call(request.extensions());
        call.run_stream(credentials, ending, caller, pause_max, |access, reply_to| async move {
            let query = Query::parse_with(request.into_inner(), &api.assumed(&access))?;
            work(api, access, query, reply_to).await
        })
    }
}

#[tonic::async_trait]
impl BankService for BankApi {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        self.mutate(Method::CreateAccount, request, render::create_account).await
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        self.read(Method::GetAccount, request, read::account).await
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        self.list(Method::ListAccounts, request, read::accounts).await
    }

    async fn get_balance(
        &self,
        request: Request<v1::GetBalanceRequest>,
    ) -> Result<Response<v1::GetBalanceResponse>, Status> {
        self.read(Method::GetBalance, request, read::balance).await
    }

    async fn deposit(
        &self,
        request: Request<v1::DepositRequest>,
    ) -> Result<Response<v1::DepositResponse>, Status> {
        self.mutate(Method::Deposit, request, render::deposit).await
    }

    async fn withdraw(
        &self,
        request: Request<v1::WithdrawRequest>,
    ) -> Result<Response<v1::WithdrawResponse>, Status> {
        self.mutate(Method::Withdraw, request, render::withdraw).await
    }

    async fn transfer(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Result<Response<v1::TransferResponse>, Status> {
        self.mutate(Method::Transfer, request, render::transfer).await
    }

    async fn calculate_interest(
        &self,
        request: Request<v1::CalculateInterestRequest>,
    ) -> Result<Response<v1::CalculateInterestResponse>, Status> {
        self.mutate(Method::CalculateInterest, request, render::calculate_interest).await
    }

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        self.list(Method::ListTransactions, request, read::history).await
    }

    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        self.read(Method::GetTransaction, request, read::transaction).await
    }

    async fn set_overdraft_limit(
        &self,
        request: Request<v1::SetOverdraftLimitRequest>,
    ) -> Result<Response<v1::SetOverdraftLimitResponse>, Status> {
        self.mutate(Method::SetOverdraftLimit, request, render::set_overdraft_limit).await
    }

    async fn freeze_account(
        &self,
        request: Request<v1::FreezeAccountRequest>,
    ) -> Result<Response<v1::FreezeAccountResponse>, Status> {
        self.mutate(Method::FreezeAccount, request, render::freeze_account).await
    }

    async fn unfreeze_account(
        &self,
        request: Request<v1::UnfreezeAccountRequest>,
    ) -> Result<Response<v1::UnfreezeAccountResponse>, Status> {
        self.mutate(Method::UnfreezeAccount, request, render::unfreeze_account).await
    }

    async fn close_account(
        &self,
        request: Request<v1::CloseAccountRequest>,
    ) -> Result<Response<v1::CloseAccountResponse>, Status> {
        self.mutate(Method::CloseAccount, request, render::close_account).await
    }

    async fn get_server_info(
        &self,
        request: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        let request_timeout = self.options.request_timeout;
        let call = Call::begin(Method::GetServerInfo, &request, request_timeout);
        let (deadline, access) = (call.deadline(), call.access());
        let work = pin!(async {
            access?;
            let info = info::server_info(&self.ledger, &self.options, self.start);
            let reply = timeout_at(deadline, info).await.map_err(|_| Failure::DeadlineExceeded)?;
            Ok(Answer { reply, extent: Extent::Own })
        });
        call.run(work).await
    }

    type AuditAccountsStream = Replies<v1::AuditAccountsResponse>;

    async fn audit_accounts(
        &self,
        request: Request<v1::AuditAccountsRequest>,
    ) -> Result<Response<Self::AuditAccountsStream>, Status> {
        Ok(self.stream(Method::AuditAccounts, request, audit::accounts))
    }

    async fn execute_batch(
        &self,
        request: Request<v1::ExecuteBatchRequest>,
    ) -> Result<Response<v1::ExecuteBatchResponse>, Status> {
        batch::one(self, request).await
    }

    type ExecuteStreamStream = Replies<v1::ExecuteStreamResponse>;

    async fn execute_stream(
        &self,
        request: Request<Streaming<v1::ExecuteStreamRequest>>,
    ) -> Result<Response<Self::ExecuteStreamStream>, Status> {
        Ok(batch::many(self.clone(), request))
    }

    type ExportBankStream = Replies<v1::ExportBankResponse>;

    async fn export_bank(
        &self,
        request: Request<v1::ExportBankRequest>,
    ) -> Result<Response<Self::ExportBankStream>, Status> {
        Ok(self.stream(Method::ExportBank, request, backup::export))
    }

    type ImportBankStream = Replies<v1::ImportBankResponse>;

    async fn import_bank(
        &self,
        request: Request<Streaming<v1::ImportBankRequest>>,
    ) -> Result<Response<Self::ImportBankStream>, Status> {
        Ok(self.stream(Method::ImportBank, request, backup::import))
    }

    type WatchTransactionsStream = Replies<v1::WatchTransactionsResponse>;

    async fn watch_transactions(
        &self,
        request: Request<v1::WatchTransactionsRequest>,
    ) -> Result<Response<Self::WatchTransactionsStream>, Status> {
        Ok(self.stream(Method::WatchTransactions, request, watch::transactions))
    }
}
