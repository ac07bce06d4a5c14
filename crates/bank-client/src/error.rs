//! Why a call failed.

mod decode;

pub(crate) use self::decode::{causes, chain};

use std::{fmt, time::Duration};

use bank_domain::{AccountId, Rejection, RequestId, Timestamp};
use tonic::Code;

use crate::{model::TransactionId, token::TokenError, wire::Malformed};

/// Why a call failed, with the values of the cause.
///
/// There are three groups:
///
/// * Rejected ([`Error::is_rejection`]): nothing was done, and the same call gets the same answer for as long as
///   its request id is kept. Fix the cause and make a new call.
/// * Temporary ([`Error::Unavailable`], [`Error::Overloaded`]): nothing was done. The client has already retried
///   the call as its [`RetryPolicy`](crate::RetryPolicy) allows. Try again later.
/// * Unknown ([`Error::outcome_unknown`]): the call may or may not have been executed. Repeat it **with the
///   request id of the error**: it is executed if it was not; if it was, its first reply comes back, marked
///   `replayed`. With a new request id it could be executed twice.
///
/// ```
/// use bank_client::{Error, Rejection};
///
/// fn advice(error: &Error) -> String {
///     match error {
///         Error::Rejected { rejection: Rejection::InsufficientFunds { available, .. }, .. } => {
///             format!("at most {available} can be taken")
///         }
///         error if error.outcome_unknown() => "repeat it with the same request id".to_owned(),
///         error => error.to_string(),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Error {
    /// The rules of the bank do not allow it.
    #[error("{rejection}")]
    Rejected {
        /// Why.
        rejection: Rejection,
        /// Whether this is the rejection of an earlier call with the same request id.
        replayed: bool,
    },
    /// The account did not exist at the time of the requested balance.
    #[error("account {account_id} did not exist at {as_of}")]
    #[strum(serialize = "ACCOUNT_NOT_FOUND")]
    AccountDidNotExist {
        /// The account. It may exist now.
        account_id: AccountId,
        /// The requested time.
        as_of: Timestamp,
    },
    /// The transaction does not exist.
    #[error("transaction {0} does not exist")]
    TransactionNotFound(TransactionId),
    /// The newest entry of the account is further in the future than clocks may differ. The account takes no changes
    /// until the clock has passed that time.
    #[error("{message}")]
    AccountAheadOfClock {
        /// The account.
        account_id: AccountId,
        /// The message of the bank.
        message: String,
    },
    /// The request id was used before, with another payload.
    #[error("request id {request_id} was used on account {account_id} before, for another request")]
    RequestIdReused {
        /// The account that the call names first, within which request ids are unique.
        account_id: AccountId,
        /// The id.
        request_id: RequestId,
    },
    /// Two operations of one atomic batch have the same request id. Give each its own.
    #[error(
        "operations {first} and {second} of the atomic batch both have the request id {request_id} on account \
         {account_id}; each needs its own"
    )]
    RequestIdRepeated {
        /// The account that both operations name first.
        account_id: AccountId,
        /// The id.
        request_id: RequestId,
        /// The first operation that has it, counted from 0.
        first: usize,
        /// The second one.
        second: usize,
    },
    /// The request id is of a request that was carried out before, and others of its atomic batch were not.
    #[error(
        "request id {request_id} on account {account_id} was carried out before, and other operations of its \
         batch were not"
    )]
    PartlyExecuted {
        /// The account that the operation names first.
        account_id: AccountId,
        /// The id.
        request_id: RequestId,
    },
    /// The bank does not change these accounts together: they are in different partitions of a Redis Cluster. Accounts whose
    /// ids are equal up to the first `:` are stored together.
    #[error(
        "accounts {account_id} and {other_account_id} are not stored together, so they cannot be changed together"
    )]
    AccountsNotTogether {
        /// The account that is named first.
        account_id: AccountId,
        /// The first one that is stored elsewhere.
        other_account_id: AccountId,
    },
    /// The dry run exceeds the memory limit of the bank. Check fewer operations in one dry run.
    #[error("{0}")]
    DryRunTooLarge(String),
    /// Another operation of the atomic batch failed, so none was carried out.
    #[error("operation {failed_operation} of the batch failed, so none was carried out")]
    BatchAborted {
        /// The operation that failed, counted from 0. Its error says why.
        failed_operation: usize,
    },
    /// The import file is damaged. The bank is empty, as before.
    #[error("{message}")]
    BackupDamaged {
        /// The first line that is wrong, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The bank has accounts; a file can be imported only into an empty bank.
    #[error("{0}")]
    BankNotEmpty(String),
    /// The request is malformed or out of bounds.
    #[error("invalid request: {}", Violations(.message, .violations))]
    InvalidArgument {
        /// The message of the bank.
        message: String,
        /// All violations.
        violations: Vec<FieldViolation>,
    },
    /// The request, or its headers with the access token, is larger than the server accepts. Nothing was done.
    #[error("the request is too large: {0}")]
    RequestTooLarge(String),
    /// A limit of the bank or of the caller is reached. Nothing was done.
    #[error("the bank is overloaded: {message}")]
    Overloaded {
        /// The message of the bank.
        message: String,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// The bank or its store is unavailable. Nothing was done.
    #[error("the bank is unavailable: {message}")]
    Unavailable {
        /// The cause.
        message: String,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// The connection was lost before a read was answered.
    #[error("the connection to the bank was lost: {0}")]
    ConnectionLost(String),
    /// It is not known whether the call was carried out. See [`Error::outcome_unknown`].
    #[error("it is not known whether request {request_id} was carried out: {message}")]
    OutcomeUnknown {
        /// The id to repeat the call with.
        request_id: RequestId,
        /// The cause.
        message: String,
    },
    /// The deadline of the call passed, with all its retries.
    #[error("the deadline passed before the bank answered")]
    DeadlineExceeded {
        /// For a call that changes something, which may have been carried out: the id to repeat it
        /// with. See [`Error::outcome_unknown`].
        request_id: Option<RequestId>,
    },
    /// The access token is missing or invalid.
    #[error("not authenticated: {0}")]
    Unauthenticated(String),
    /// The caller is not permitted to make this call.
    #[error("not permitted: {0}")]
    PermissionDenied(String),
    /// The application's [`TokenSource`](crate::TokenSource) gave no token. Nothing was sent.
    #[error("no access token: {0}")]
    Token(#[source] TokenError),
    /// A setting of the client is invalid. Nothing was sent.
    #[error("{setting} {value:?}: {problem}")]
    InvalidSetting {
        /// The setting.
        setting: &'static str,
        /// The invalid value.
        value: String,
        /// The problem and what is allowed.
        problem: String,
    },
    /// A fault of the server.
    #[error("the bank failed: {0}")]
    Internal(String),
    /// The stored data of the bank is damaged.
    #[error("the bank's store is damaged: {0}")]
    StoreCorrupt(String),
    /// An entry that a watch has returned is lost: the store went back to an earlier state, through a crash or a
    /// failover. Compare with the current history.
    #[error("entry {sequence} of account {account_id} was returned, and is lost: {message}")]
    EntriesLost {
        /// The account of the entry.
        account_id: AccountId,
        /// The last entry that was returned.
        sequence: u64,
        /// The message of the bank.
        message: String,
    },
    /// The watch covers more accounts than a watch may have.
    #[error("more than {accounts_max} accounts cannot be watched at once")]
    WatchTooLarge {
        /// The limit.
        accounts_max: u64,
    },
    /// The reply is malformed: the server is not compatible with this client.
    #[error("the reply of the bank is malformed: {0}")]
    InvalidReply(String),
    /// An error that this version of the client does not know.
    #[error("the bank answered {:?}: {}", .0.code(), .0.message())]
    Other(Box<tonic::Status>),
}

/// A violation in a field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path of the field: `amount.minor_units`.
    pub field: String,
    /// The problem.
    pub description: String,
}

impl Error {
    /// Whether the bank rejected the call. Repeating it with the same request id gives the same rejection.
    pub fn is_rejection(&self) -> bool {
        self.effect() == Effect::Rejected
    }

    /// Whether the same call may succeed if it is repeated, with the same request id, later.
    ///
    /// The client has already retried it as its [`RetryPolicy`](crate::RetryPolicy) allows.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Overloaded { .. }
                | Self::Unavailable { .. }
                | Self::ConnectionLost(_)
                | Self::OutcomeUnknown { .. }
                | Self::DeadlineExceeded { .. }
        )
    }

    /// Whether the call may or may not have been carried out. Repeat it with
    /// [`Error::request_id`] to learn which.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. } | Self::DeadlineExceeded { request_id: Some(_) })
    }

    /// The request id to repeat a call with whose outcome is not known, or that was reused.
    pub fn request_id(&self) -> Option<&RequestId> {
        match self {
            Self::OutcomeUnknown { request_id, .. }
            | Self::RequestIdReused { request_id, .. }
            | Self::RequestIdRepeated { request_id, .. }
            | Self::PartlyExecuted { request_id, .. } => Some(request_id),
            Self::DeadlineExceeded { request_id } => request_id.as_ref(),
            _ => None,
        }
    }

    /// Whether this is the rejection of an earlier call with the same request id.
    pub fn replayed(&self) -> bool {
        matches!(self, Self::Rejected { replayed: true, .. })
    }

    /// When the bank asks to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The stable name of the cause, for logs and scripts: `INSUFFICIENT_FUNDS`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rejected { rejection, .. } => rejection.into(),
            error => error.into(),
        }
    }

    /// What the failed attempt did.
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::Rejected { .. }
            | Self::AccountDidNotExist { .. }
            | Self::TransactionNotFound(_)
            | Self::AccountAheadOfClock { .. }
            | Self::RequestIdReused { .. }
            | Self::RequestIdRepeated { .. }
            | Self::PartlyExecuted { .. }
            | Self::AccountsNotTogether { .. }
            | Self::BackupDamaged { .. }
            | Self::BankNotEmpty(_)
            | Self::InvalidArgument { .. }
            | Self::DryRunTooLarge(_)
            | Self::WatchTooLarge { .. } => Effect::Rejected,
            // A request with another token may be small enough: this is not the outcome of the request.
            Self::BatchAborted { .. }
            | Self::RequestTooLarge(_)
            | Self::Overloaded { .. }
            | Self::Unavailable { .. }
            | Self::Unauthenticated(_)
            | Self::PermissionDenied(_)
            | Self::EntriesLost { .. }
            | Self::Token(_)
            | Self::InvalidSetting { .. } => Effect::Nothing,
            Self::ConnectionLost(_)
            | Self::OutcomeUnknown { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Internal(_)
            | Self::StoreCorrupt(_)
            | Self::InvalidReply(_) => Effect::Unknown,
            Self::Other(status) => match status.code() {
                Code::FailedPrecondition
                | Code::NotFound
                | Code::AlreadyExists
                | Code::InvalidArgument
                | Code::OutOfRange => Effect::Rejected,
                Code::Unimplemented => Effect::Nothing,
                _ => Effect::Unknown,
            },
        }
    }
}

/// What a failed attempt did, as far as the client can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, and no retry will: this is the outcome of the request.
    Rejected,
    /// Nothing.
    Nothing,
    /// Nothing or everything.
    Unknown,
}

impl From<Malformed> for Error {
    fn from(Malformed(problem): Malformed) -> Self {
        Self::InvalidReply(problem)
    }
}

/// Prints every violation, or the message if there is none.
struct Violations<'a>(&'a str, &'a [FieldViolation]);

impl fmt::Display for Violations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(message, violations) = self;
        if violations.is_empty() {
            return f.write_str(message);
        }
        for (index, FieldViolation { field, description }) in violations.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{field} {description}")?;
        }
        Ok(())
    }
}
