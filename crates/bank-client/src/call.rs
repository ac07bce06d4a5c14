//! Calls: created, configured with options, and awaited.

use std::{future::IntoFuture, ops::Range, sync::Arc, time::Duration};

use bank_domain::{Currency, Money, RequestId, Timestamp};
use bank_proto::v1;
use futures::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt as _, TryStreamExt as _},
};

use crate::{
    Error,
    audit::AuditNews,
    choice::{
        AccountState, AccountType, Choice as _, Compounding, DayCount, EntryKind, ListOrder, RoundingMode,
    },
    client::{BankClient, Target},
    method::{
        AuditAccounts, CalculateInterest, CreateAccount, Described, GetBalance, ListAccounts,
        ListTransactions, Method, Mutation, Paged, Stub, WatchTransactions,
    },
    news,
    watch::{self, WatchNews},
    wire,
};

/// A call to the bank that has not been sent yet. `.await` sends it.
///
/// Which options it has depends on the method `M`; all have a [`timeout`](Call::timeout).
///
/// A call that changes something has its request id from the start. So sending a clone of it repeats the
/// call; it is not executed twice:
///
/// ```no_run
/// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
/// use bank_client::{Currency, Money};
///
/// let rent = Money { currency: Currency::USD, minor_units: 120_000 };
/// let call = client.withdraw("alice", rent).description("rent for May");
/// let first = call.clone().await?;
/// let again = call.await?;
/// assert!(again.replayed);
/// assert_eq!(again.entry, first.entry);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a call is made when it is awaited"]
pub struct Call<M> {
    client: BankClient,
    method: M,
    timeout: Option<Duration>,
}

impl<M> Call<M> {
    pub(crate) fn new(client: BankClient, method: M) -> Self {
        Self { client, method, timeout: None }
    }

    pub(crate) fn into_method(self) -> M {
        self.method
    }

    /// The time limit for the call with all its retries, instead of that of the client. Audits and watches as a whole
    /// have no time limit: for them it is the longest time between two messages, after which the connection counts as
    /// dead.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<M: Method> Call<M> {
    /// Sends the call. The same as `.await`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn send(self) -> Result<M::Reply, Error> {
        self.client.call(&self.method, self.timeout).await
    }
}

impl<M: Method> IntoFuture for Call<M> {
    type Output = Result<M::Reply, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Options of calls that change something.
impl<M: Mutation> Call<M> {
    /// The idempotency key, instead of a generated one: to repeat an earlier call, or to know the id before the
    /// call is sent.
    pub fn request_id(mut self, request_id: RequestId) -> Self {
        *self.method.request_id_mut() = request_id.into();
        self
    }

    /// Dry run: checks the call against the account as it is now, and replies as if it were executed.
    pub fn validate_only(mut self) -> Self {
        *self.method.validate_only_mut() = true;
        self
    }
}

/// Options of calls that write an entry with a description.
impl<M: Described> Call<M> {
    /// The description of the entry: at most 256 characters, none of them control characters.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        *self.method.description_mut() = description.into();
        self
    }
}

/// Options of lists. Awaiting the call gives one page; [`stream`](Call::stream) gives all items.
impl<M: Paged> Call<M> {
    /// The most items of a page: 50 unless set, at most 1000.
    pub fn page_size(mut self, page_size: u16) -> Self {
        *self.method.page_size_mut() = page_size.into();
        self
    }

    /// Where to start: the token of the previous page. The other options must be the same as for that page.
    pub fn page_token(mut self, page_token: impl Into<String>) -> Self {
        *self.method.page_token_mut() = page_token.into();
        self
    }

    /// All items, one after the other; a page is fetched when those before it are used up. Each page
    /// is a call of its own, with its own timeout. The stream ends at the first error.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
    /// use bank_client::{EntryKind, TryStreamExt};
    ///
    /// let mut deposits = client.history("alice").kind(EntryKind::Deposit).page_size(1000).stream();
    /// while let Some(entry) = deposits.try_next().await? {
    ///     println!("{} {}", entry.created_at, entry.amount);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(self) -> BoxStream<'static, Result<M::Item, Error>> {
        let pages = stream::try_unfold(Some(self), |call| async move {
            let Some(call) = call else { return Ok(None) };
            let page = call.clone().send().await?;
            let next = page.next_page_token.map(|token| call.page_token(token));
            Ok::<_, Error>(Some((stream::iter(page.items.into_iter().map(Ok)), next)))
        });
        pages.try_flatten().boxed()
    }
}

impl Call<CreateAccount> {
    /// The currency of the account, instead of the default currency of the bank.
    pub fn currency(mut self, currency: Currency) -> Self {
        currency.code().clone_into(&mut self.method.currency_code);
        self
    }

    /// The owner: at most 128 visible ASCII characters.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.method.owner = owner.into();
        self
    }

    /// Adds a label: at most 16, with keys of 1 to 32 of `a-z 0-9 . _ -`, values of at most 64
    /// characters.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.method.labels.insert(key.into(), value.into());
        self
    }

    /// How far below zero a checking account may go.
    pub fn overdraft_limit(mut self, limit: Money) -> Self {
        self.method.overdraft_limit = Some(wire::money(limit));
        self
    }
}

impl Call<CalculateInterest> {
    /// The days that the interest is for, ISO 8601, without the last: `"2026-01-01".."2026-07-01"` is
    /// the first half of the year. Exactly one year unless set.
    pub fn period(mut self, days: Range<impl Into<String>>) -> Self {
        self.method.start_date = days.start.into();
        self.method.end_date = days.end.into();
        self
    }

    /// How the days become a fraction of a year; [`DayCount::Act365Fixed`] unless set.
    pub fn day_count(mut self, day_count: DayCount) -> Self {
        self.method.day_count = day_count.to_wire();
        self
    }

    /// How often interest is added to the principal; [`Compounding::Simple`] unless set.
    pub fn compounding(mut self, compounding: Compounding) -> Self {
        self.method.compounding = compounding.to_wire();
        self
    }

    /// How the result becomes whole minor units; [`RoundingMode::HalfEven`] unless set.
    pub fn rounding_mode(mut self, rounding_mode: RoundingMode) -> Self {
        self.method.rounding_mode = rounding_mode.to_wire();
        self
    }
}

impl Call<GetBalance> {
    /// The balance after the last entry at or before this time, instead of now.
    pub fn as_of(mut self, time: Timestamp) -> Self {
        self.method.as_of = Some(wire::timestamp(time));
        self
    }
}

impl Call<ListAccounts> {
    /// Only accounts of this owner.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.method.owner = owner.into();
        self
    }

    /// Only accounts of this type.
    pub fn account_type(mut self, account_type: AccountType) -> Self {
        self.method.account_type = account_type.to_wire();
        self
    }

    /// Only accounts in this state.
    pub fn state(mut self, state: AccountState) -> Self {
        self.method.state = state.to_wire();
        self
    }
}

impl Call<ListTransactions> {
    /// Which end comes first; the newest unless set.
    pub fn order(mut self, order: ListOrder) -> Self {
        self.method.order = order.to_wire();
        self
    }

    /// Only entries at or after this time.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.method.start_time = Some(wire::timestamp(time));
        self
    }

    /// Only entries before this time.
    pub fn before(mut self, time: Timestamp) -> Self {
        self.method.end_time = Some(wire::timestamp(time));
        self
    }

    /// Only entries of this kind, and of the others that it is called with.
    pub fn kind(mut self, kind: EntryKind) -> Self {
        self.method.kinds.push(kind.to_wire());
        self
    }
}

/// An audit has a stream of messages and no single reply.
impl Call<AuditAccounts> {
    /// Only this account, instead of all.
    pub fn account(mut self, account_id: impl Into<String>) -> Self {
        self.method.account_id = account_id.into();
        self
    }

    /// Runs the audit: progress and findings, then a summary. The audit begins when the stream is polled, is as
    /// fast as the stream is read, and ends when the stream is dropped. It is not retried; the stream ends at the
    /// first error.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
    /// use bank_client::{AuditNews, TryStreamExt};
    ///
    /// let mut news = client.audit_accounts().stream();
    /// while let Some(news) = news.try_next().await? {
    ///     match news {
    ///         AuditNews::Finding(finding) => println!("{}: {}", finding.kind, finding.message),
    ///         AuditNews::Summary(summary) => println!("{} findings", summary.findings),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(self) -> BoxStream<'static, Result<AuditNews, Error>> {
        let silence_max = self.timeout.unwrap_or_else(|| self.client.timeout());
        let call = async move {
            let send = |mut stub: Stub, request| async move { stub.audit_accounts(request).await };
            self.client.send(self.method, Target::default(), send).await
        };
        news::stream(call, silence_max)
    }
}

/// A watch has an endless stream of messages and no single reply.
impl Call<WatchTransactions> {
    /// Only accounts of this owner, of all that the caller may see.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.method.request.owner = owner.into();
        self
    }

    /// Starts with the first entry of each account, instead of with new entries.
    pub fn from_start(mut self) -> Self {
        self.method.request.start = v1::WatchStart::Beginning.into();
        self
    }

    /// Continues an earlier watch of the same accounts after the message that this token came with.
    pub fn resume_token(mut self, token: impl Into<String>) -> Self {
        self.method.request.resume_token = token.into();
        self
    }

    /// A function that is called whenever the watch is interrupted, before it reconnects.
    pub fn on_interruption(mut self, hear: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.method.on_interruption = Some(Arc::new(hear));
        self
    }

    /// Runs the watch: every entry exactly once. It begins when the stream is polled.
    ///
    /// The first connection is retried like any other call. After that, the watch reconnects and continues
    /// where it was, without a limit: after lost connections, restarts of servers, deadlines, and when the bank
    /// has ended it for being read too slowly. It pauses as the [`RetryPolicy`](crate::RetryPolicy) defines. The
    /// stream ends at the first error that is not temporary, such as [`Error::EntriesLost`]. Dropping it ends
    /// the watch.
    ///
    /// To continue in another process, keep the token of the last message that was processed:
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), Box<dyn std::error::Error>> {
    /// use bank_client::TryStreamExt;
    ///
    /// let mut call = client.watch("alice").from_start();
    /// if let Ok(token) = std::fs::read_to_string("token") {
    ///     call = call.resume_token(token);
    /// }
    /// let mut news = call.stream();
    /// while let Some(news) = news.try_next().await? {
    ///     for entry in &news.entries {
    ///         println!("{} {}", entry.kind, entry.amount);
    ///     }
    ///     std::fs::write("token", &news.resume_token)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(self) -> BoxStream<'static, Result<WatchNews, Error>> {
        let silence_max = self.timeout.unwrap_or_else(|| self.client.timeout());
        watch::news(self.client, self.method, silence_max)
    }
}
