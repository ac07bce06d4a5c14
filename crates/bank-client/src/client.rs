//! The client, and a call for each method of the bank.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bank_domain::{Money, RequestId, redacted};
use bank_proto::v1;
use futures::StreamExt as _;
use opentelemetry::propagation::Injector;
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap},
    transport::Channel,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    AccountName, AccountType, Batch, Builder, Call, Error, RetryPolicy, Stream, TokenSource,
    choice::Choice as _,
    method::{Method, Stub},
    methods::{
        AuditAccounts, CalculateInterest, CloseAccount, CreateAccount, Deposit, FreezeAccount, GetAccount,
        GetBalance, GetServerInfo, GetTransaction, ListAccounts, ListTransactions, SetOverdraftLimit,
        Transfer, UnfreezeAccount, Withdraw,
    },
    renewal::renewing,
    retry::{Attempts, Budget},
    wire::{self, FromWire as _, Malformed},
};

/// The longest time that is told to the server; what is longer has no bound for it.
const TIMEOUT_ON_WIRE_MAX: Duration = Duration::from_hours(365 * 24);

/// The longest token that is sent, in bytes. A server answers headers that are too large with an error; far beyond its
/// limit it closes the connection, and whether the calls on it were carried out is unknown.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// The largest reply to a batch, in bytes: more than to the largest batch that a server can be set to take.
const BATCH_REPLY_BYTES_MAX: usize = 64 << 20;

/// A client of one bank. Cloning is cheap: clones share connections and the budget for repetitions.
///
/// Each method makes a [`Call`], which is given its options and awaited.
///
/// See the [crate](crate) for an example.
#[derive(Clone)]
pub struct BankClient {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: String,
    health: HealthClient<Channel>,
    stubs: Vec<Stub>,
    next_stub: AtomicUsize,
    timeout: Duration,
    retry: RetryPolicy,
    budget: Budget,
    token: Option<Arc<dyn TokenSource>>,
}

/// From where to where money is moved.
///
/// ```
/// use bank_client::Route;
///
/// let route = Route { from: "alice", to: "bob" };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<F, T> {
    /// The account that pays.
    pub from: F,
    /// The account that is paid.
    pub to: T,
}

impl BankClient {
    /// Connects to a server: `http://127.0.0.1:50051`. The same as the [`builder`](Self::builder) with
    /// nothing set.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect(endpoint: impl Into<String>) -> Result<Self, Error> {
        Self::builder(endpoint).connect().await
    }

    /// The settings of a client for a server.
    pub fn builder(endpoint: impl Into<String>) -> Builder {
        Builder::new(endpoint.into())
    }

    /// Many operations in one call, each with an outcome of its own.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Batches one after another, with their results in the same order.
    pub fn stream(&self, batches: impl futures::Stream<Item = Batch> + Send + 'static) -> Stream {
        Stream::new(self.clone(), batches.boxed())
    }

    /// Opens an account with a balance of zero.
    pub fn create_account(
        &self,
        account_id: impl AccountName,
        account_type: AccountType,
    ) -> Call<CreateAccount> {
        self.mutation(CreateAccount(v1::CreateAccountRequest {
            account_id: account_id.into_text(),
            account_type: account_type.to_wire(),
            ..Default::default()
        }))
    }

    /// Reads an account.
    pub fn account(&self, account_id: impl AccountName) -> Call<GetAccount> {
        self.query(GetAccount(v1::GetAccountRequest { account_id: account_id.into_text() }))
    }

    /// Lists accounts, each exactly once.
    pub fn accounts(&self) -> Call<ListAccounts> {
        self.query(ListAccounts(v1::ListAccountsRequest::default()))
    }

    /// Reads the balance of an account, now or at a past time.
    pub fn balance(&self, account_id: impl AccountName) -> Call<GetBalance> {
        self.query(GetBalance(v1::GetBalanceRequest { account_id: account_id.into_text(), as_of: None }))
    }

    /// Pays money into an account, from outside the bank.
    pub fn deposit(&self, account_id: impl AccountName, amount: Money) -> Call<Deposit> {
        self.mutation(Deposit(v1::DepositRequest {
            account_id: account_id.into_text(),
            amount: Some(wire::money(amount)),
            ..Default::default()
        }))
    }

    /// Pays money out of an account, to outside the bank.
    pub fn withdraw(&self, account_id: impl AccountName, amount: Money) -> Call<Withdraw> {
        self.mutation(Withdraw(v1::WithdrawRequest {
            account_id: account_id.into_text(),
            amount: Some(wire::money(amount)),
            ..Default::default()
        }))
    }

    /// Moves money from one account to another: both entries are written, or none.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
    /// use bank_client::{Currency, Money, Route};
    ///
    /// let amount = Money { currency: Currency::USD, minor_units: 2_500 };
    /// let receipt = client.transfer(Route { from: "alice", to: "bob" }, amount).await?;
    /// assert_eq!(receipt.entry.amount.to_string(), "-$25.00");
    /// # Ok(())
    /// # }
    /// ```
    pub fn transfer(
        &self,
        route: Route<impl AccountName, impl AccountName>,
        amount: Money,
    ) -> Call<Transfer> {
        self.mutation(Transfer(v1::TransferRequest {
            account_id: route.from.into_text(),
            destination_account_id: route.to.into_text(),
            amount: Some(wire::money(amount)),
            ..Default::default()
        }))
    }

    /// Calculates interest on the balance of an account and books it. The rate is an exact decimal in
    /// percent a year: `"2.5"` is 2.5 %.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
    /// use bank_client::{Compounding, DayCount};
    ///
    /// let preview = client
    ///     .calculate_interest("alice", "2.5")
    ///     .period("2026-01-01".."2026-04-01")
    ///     .day_count(DayCount::ActActIsda)
    ///     .compounding(Compounding::Monthly)
    ///     .validate_only()
    ///     .await?;
    /// println!("{} before rounding {}", preview.interest, preview.breakdown.exact_interest);
    /// # Ok(())
    /// # }
    /// ```
    pub fn calculate_interest(
        &self,
        account_id: impl AccountName,
        annual_interest_rate: impl Into<String>,
    ) -> Call<CalculateInterest> {
        self.mutation(CalculateInterest(v1::CalculateInterestRequest {
            account_id: account_id.into_text(),
            annual_interest_rate: annual_interest_rate.into(),
            ..Default::default()
        }))
    }

    /// Lists the entries of an account, the newest first unless told otherwise.
    pub fn history(&self, account_id: impl AccountName) -> Call<ListTransactions> {
        self.query(ListTransactions(v1::ListTransactionsRequest {
            account_id: account_id.into_text(),
            ..Default::default()
        }))
    }

    /// Reads a movement with its entries, by the [`TransactionId`](crate::TransactionId) of one.
    pub fn transaction(&self, transaction_id: impl Into<String>) -> Call<GetTransaction> {
        self.query(GetTransaction(v1::GetTransactionRequest { transaction_id: transaction_id.into() }))
    }

    /// Checks all accounts against their entries, the chain of hashes and each other, while the bank is
    /// in use. The call has no single reply: see [`Call::<AuditAccounts>::stream`].
    pub fn audit_accounts(&self) -> Call<AuditAccounts> {
        Call::new(self.clone(), AuditAccounts(v1::AuditAccountsRequest::default()))
    }

    /// Sets how far below zero a checking account may go.
    pub fn set_overdraft_limit(&self, account_id: impl AccountName, limit: Money) -> Call<SetOverdraftLimit> {
        self.mutation(SetOverdraftLimit(v1::SetOverdraftLimitRequest {
            account_id: account_id.into_text(),
            overdraft_limit: Some(wire::money(limit)),
            ..Default::default()
        }))
    }

    /// Stops an account from paying out; it still takes money in.
    pub fn freeze_account(&self, account_id: impl AccountName) -> Call<FreezeAccount> {
        self.mutation(FreezeAccount(v1::FreezeAccountRequest {
            account_id: account_id.into_text(),
            ..Default::default()
        }))
    }

    /// Makes a frozen account active again.
    pub fn unfreeze_account(&self, account_id: impl AccountName) -> Call<UnfreezeAccount> {
        self.mutation(UnfreezeAccount(v1::UnfreezeAccountRequest {
            account_id: account_id.into_text(),
            ..Default::default()
        }))
    }

    /// Asks the server what it is and what it promises.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
    /// let info = client.server_info().await?;
    /// println!("bank-server {}: {}", info.version, info.store.durability.description);
    /// # Ok(())
    /// # }
    /// ```
    pub fn server_info(&self) -> Call<GetServerInfo> {
        self.query(GetServerInfo(v1::GetServerInfoRequest {}))
    }

    /// Closes an account for good; its balance must be zero. Its history stays readable.
    pub fn close_account(&self, account_id: impl AccountName) -> Call<CloseAccount> {
        self.mutation(CloseAccount(v1::CloseAccountRequest {
            account_id: account_id.into_text(),
            ..Default::default()
        }))
    }
}

/// How calls are made.
impl BankClient {
    pub(crate) fn from_channels(settings: Builder, channels: Vec<Channel>) -> Self {
        let shared = Shared {
            health: HealthClient::new(channels[0].clone()),
            stubs: channels.into_iter().map(Stub::new).collect(),
            next_stub: AtomicUsize::new(0),
            timeout: settings.timeout,
            budget: Budget::new(&settings.retry),
            retry: settings.retry,
            token: settings.token,
            endpoint: settings.endpoint,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether the server can serve now, by `grpc.health.v1`: its store answers, and it does not stop.
    /// It is asked once, within the client's timeout.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot, and whatever keeps it from being asked.
    pub async fn health(&self) -> Result<(), Error> {
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(self.shared.timeout.min(TIMEOUT_ON_WIRE_MAX));
        let answer = renewing(|| {
            let (mut health, request) = (self.shared.health.clone(), copy(&request));
            async move { health.check(request).await }
        });
        let answer = answer.await;
        let status = answer.map_err(|status| Error::from_status(status, None))?.into_inner().status();
        if status == ServingStatus::Serving {
            return Ok(());
        }
        let message = "it says that it is not serving: its store is away, or it is stopping".to_owned();
        Err(Error::Unavailable { message, retry_after: None })
    }

    fn query<M: Method>(&self, method: M) -> Call<M> {
        Call::new(self.clone(), method)
    }

    fn mutation<M: crate::methods::Mutation>(&self, method: M) -> Call<M> {
        Call::mutation(self.clone(), method)
    }

    pub(crate) async fn call<M: Method>(
        &self,
        method: &M,
        timeout: Option<Duration>,
    ) -> Result<M::Reply, Error> {
        let request_id = method.undecided();
        let request_id = request_id.as_ref();
        let attempts = Attempts { request_id, ..self.attempts(timeout) };
        attempts.run(|left| self.shared.attempt(method, left, request_id)).await
    }

    /// How a call is attempted that may take so long.
    pub(crate) fn attempts(&self, timeout: Option<Duration>) -> Attempts<'_> {
        let Shared { retry, budget, .. } = &*self.shared;
        let timeout = timeout.unwrap_or(self.shared.timeout);
        Attempts { policy: retry, budget, timeout, request_id: None }
    }

    /// What the timeout of a call is unless it says otherwise.
    pub(crate) fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    pub(crate) async fn execute_batch(
        &self,
        request: v1::ExecuteBatchRequest,
        left: Duration,
    ) -> Result<v1::ExecuteBatchResponse, Error> {
        let mut request = Request::new(request);
        request.set_timeout(left.min(TIMEOUT_ON_WIRE_MAX));
        let request = self.shared.authorized(request).await?;
        let reply = renewing(|| {
            let (mut stub, request) = (self.shared.batch_stub(), copy(&request));
            async move { stub.execute_batch(request).await }
        });
        let reply = reply.await;
        reply.map(Response::into_inner).map_err(|status| Error::from_status(status, None))
    }

    pub(crate) async fn execute_stream(
        &self,
        requests: impl futures::Stream<Item = v1::ExecuteStreamRequest> + Send + 'static,
    ) -> Result<Streaming<v1::ExecuteStreamResponse>, Error> {
        let request = self.shared.authorized(Request::new(requests)).await?;
        let reply = self.shared.batch_stub().execute_stream(request).await;
        reply.map(Response::into_inner).map_err(|status| Error::from_status(status, None))
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.shared.retry
    }

    pub(crate) async fn watch_transactions(
        &self,
        request: v1::WatchTransactionsRequest,
    ) -> Result<Streaming<v1::WatchTransactionsResponse>, Error> {
        self.replies(request, |mut stub, request| async move { stub.watch_transactions(request).await }).await
    }

    /// Makes a call that has many replies, once.
    pub(crate) async fn replies<Message, Reply, Sending>(
        &self,
        request: Message,
        send: impl Fn(Stub, Request<Message>) -> Sending,
    ) -> Result<Streaming<Reply>, Error>
    where
        Message: Clone,
        Sending: Future<Output = Result<Response<Streaming<Reply>>, Status>>,
    {
        let request = self.shared.authorized(Request::new(request)).await?;
        let reply = renewing(|| send(self.shared.stub(), copy(&request))).await;
        reply.map(Response::into_inner).map_err(|status| Error::from_status(status, None))
    }

    /// The same with many messages, which can be sent once only.
    pub(crate) async fn replies_to_stream<Messages, Reply, Sending>(
        &self,
        messages: Messages,
        send: impl FnOnce(Stub, Request<Messages>) -> Sending,
    ) -> Result<Streaming<Reply>, Error>
    where
        Sending: Future<Output = Result<Response<Streaming<Reply>>, Status>>,
    {
        let request = self.shared.authorized(Request::new(messages)).await?;
        let reply = send(self.shared.stub(), request).await;
        reply.map(Response::into_inner).map_err(|status| Error::from_status(status, None))
    }
}

impl Shared {
    async fn attempt<M: Method>(
        &self,
        method: &M,
        left: Duration,
        request_id: Option<&RequestId>,
    ) -> Result<M::Reply, Error> {
        let mut request = Request::new(method.request().clone());
        request.set_timeout(left.min(TIMEOUT_ON_WIRE_MAX));
        let request = self.authorized(request).await?;
        match renewing(|| M::send(self.stub(), copy(&request))).await {
            Ok(response) => M::Reply::from_wire(response.into_inner())
                .map_err(|Malformed(problem)| Error::InvalidReply { problem }),
            Err(status) => Err(Error::from_status(status, request_id)),
        }
    }

    /// The request with the trace that it is part of and the token of its caller, if there are.
    async fn authorized<T>(&self, mut request: Request<T>) -> Result<Request<T>, Error> {
        opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.inject(&mut TraceCarrier(request.metadata_mut()));
        });
        if let Some(source) = &self.token {
            let token = source.token().await.map_err(Error::Token)?;
            request.metadata_mut().insert("authorization", bearer(&token)?);
        }
        Ok(request)
    }

    /// The next connection in turn.
    fn stub(&self) -> Stub {
        let turn = self.next_stub.fetch_add(1, Ordering::Relaxed);
        self.stubs[turn % self.stubs.len()].clone()
    }

    /// The same, for replies that are as large as the batches that they are to.
    fn batch_stub(&self) -> Stub {
        self.stub().max_decoding_message_size(BATCH_REPLY_BYTES_MAX)
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
            .field("endpoint", &redacted(&self.shared.endpoint))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sent_as_sensitive_and_odd_ones_not_at_all() {
        let value = bearer("abc").unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer abc");
        assert!(value.is_sensitive());
        assert!(matches!(bearer("a\nb"), Err(Error::Token(_))));
        bearer(&"x".repeat(TOKEN_BYTES_MAX)).unwrap();
        assert!(matches!(bearer(&"x".repeat(TOKEN_BYTES_MAX + 1)), Err(Error::Token(_))));
    }
}
