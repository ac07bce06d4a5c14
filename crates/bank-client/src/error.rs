//! Why a call failed.

mod decode;

pub(crate) use self::decode::{causes, chain};

use std::{fmt, time::Duration};

use bank_domain::{AccountId, Currency, Money, RequestId, Timestamp};

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
/// `replayed` means that this is the rejection of an earlier call with the same request id.
///
/// ```
/// use bank_client::Error;
///
/// fn advice(error: &Error) -> String {
///     match error {
///         Error::InsufficientFunds { available, .. } => format!("at most {available} can be taken"),
///         Error::AccountFrozen { account_id, .. } => format!("unfreeze {account_id} first"),
///         error if error.outcome_unknown() => "repeat it with the same request id".to_owned(),
///         error => error.to_string(),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Error {
    /// There is no such account.
    #[error("account {account_id} does not exist")]
    AccountNotFound {
        /// The account.
        account_id: AccountId,
        /// See [`Error`].
        replayed: bool,
    },
    /// There was no such account at the time of which the balance was asked for.
    #[error("account {account_id} did not exist at {as_of}")]
    #[strum(serialize = "ACCOUNT_NOT_FOUND")]
    AccountDidNotExist {
        /// Which one. It may exist now.
        account_id: AccountId,
        /// At which time.
        as_of: Timestamp,
    },
    /// There is no such transaction.
    #[error("transaction {transaction_id} does not exist")]
    TransactionNotFound {
        /// Which one.
        transaction_id: TransactionId,
    },
    /// The name of the account is taken.
    #[error("account {account_id} already exists")]
    AccountAlreadyExists {
        /// The account.
        account_id: AccountId,
        /// See [`Error`].
        replayed: bool,
    },
    /// A closed account allows nothing.
    #[error("account {account_id} is closed")]
    AccountClosed {
        /// The account.
        account_id: AccountId,
        /// See [`Error`].
        replayed: bool,
    },
    /// A frozen account allows only incoming money and unfreezing.
    #[error("account {account_id} is frozen")]
    AccountFrozen {
        /// The account.
        account_id: AccountId,
        /// See [`Error`].
        replayed: bool,
    },
    /// Only a frozen account can be unfrozen.
    #[error("account {account_id} is not frozen")]
    AccountNotFrozen {
        /// The account.
        account_id: AccountId,
        /// See [`Error`].
        replayed: bool,
    },
    /// Money moves in the currency of the account only.
    #[error("account {account_id} is held in {account_currency}, not in {requested_currency}")]
    CurrencyMismatch {
        /// The account.
        account_id: AccountId,
        /// What it holds.
        account_currency: Currency,
        /// What the call named, or the other account of a transfer holds.
        requested_currency: Currency,
        /// See [`Error`].
        replayed: bool,
    },
    /// A savings account has no overdraft.
    #[error("account {account_id} is a savings account, which has no overdraft")]
    OverdraftNotAllowed {
        /// The account.
        account_id: AccountId,
        /// See [`Error`].
        replayed: bool,
    },
    /// The balance is already below what the new limit would allow.
    #[error("account {account_id} is at {balance}; the overdraft limit cannot be {requested}")]
    OverdraftInUse {
        /// The account.
        account_id: AccountId,
        /// What it holds.
        balance: Money,
        /// The limit asked for.
        requested: Money,
        /// See [`Error`].
        replayed: bool,
    },
    /// Only an account that holds nothing can be closed.
    #[error("account {account_id} holds {balance}; only a zero balance can be closed")]
    BalanceNotZero {
        /// The account.
        account_id: AccountId,
        /// What it holds.
        balance: Money,
        /// See [`Error`].
        replayed: bool,
    },
    /// The balance would not fit in 64 bits of minor units.
    #[error("the balance of account {account_id} would leave the range of 64-bit minor units")]
    BalanceOutOfRange {
        /// The account.
        account_id: AccountId,
        /// See [`Error`].
        replayed: bool,
    },
    /// The newest entry of the account is dated further in the future than clocks may differ: it takes no changes
    /// until the clock is past that.
    #[error("{message}")]
    AccountAheadOfClock {
        /// The account.
        account_id: AccountId,
        /// The message of the bank.
        message: String,
    },
    /// The account does not hold as much.
    #[error("account {account_id} has {available} available, {requested} requested")]
    InsufficientFunds {
        /// The account.
        account_id: AccountId,
        /// What was to be taken.
        requested: Money,
        /// What could be taken: the balance and the unused overdraft.
        available: Money,
        /// What it holds.
        balance: Money,
        /// See [`Error`].
        replayed: bool,
    },
    /// The request id was used before, with another payload.
    #[error("request id {request_id} was used on account {account_id} before, for another request")]
    RequestIdReused {
        /// The account that the call names first, within which request ids are unique.
        account_id: AccountId,
        /// Which id.
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
        /// Which id.
        request_id: RequestId,
        /// Which operation has it, counted from 0.
        first: usize,
        /// Which other one.
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
        /// Which id.
        request_id: RequestId,
    },
    /// A dry run would have the bank keep more than it may: check fewer operations in one.
    #[error("{message}")]
    DryRunTooLarge {
        /// What is allowed, and what to do.
        message: String,
    },
    /// Another operation of the atomic batch failed, so none was carried out.
    #[error("operation {failed_operation} of the batch failed, so none was carried out")]
    BatchAborted {
        /// Which one failed, counted from 0. Its error says why.
        failed_operation: usize,
    },
    /// The file of an import is not one that a bank has written. The bank is empty, as it was.
    #[error("{message}")]
    BackupDamaged {
        /// The first line that is wrong, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// There are accounts in the bank, and a file can be imported only into an empty one.
    #[error("{message}")]
    BankNotEmpty {
        /// The message of the bank.
        message: String,
    },
    /// The call is malformed or out of bounds.
    #[error("invalid request: {}", Violations(.message, .violations))]
    InvalidArgument {
        /// The message of the bank.
        message: String,
        /// All that is wrong with it.
        violations: Vec<FieldViolation>,
    },
    /// The request, or its headers with the access token, is larger than the server accepts. Nothing was done.
    #[error("the request is too large: {message}")]
    RequestTooLarge {
        /// The message of the bank.
        message: String,
    },
    /// The bank, or a limit set on the caller, takes no more calls for the moment. Nothing was done.
    #[error("the bank is overloaded: {message}")]
    Overloaded {
        /// The message of the bank.
        message: String,
        /// When it is worth trying again.
        retry_after: Option<Duration>,
    },
    /// The bank cannot be reached, or cannot reach its store. Nothing was done.
    #[error("the bank is unavailable: {message}")]
    Unavailable {
        /// The cause.
        message: String,
        /// When it is worth trying again.
        retry_after: Option<Duration>,
    },
    /// The connection broke before the answer to a call that changes nothing.
    #[error("the connection to the bank was lost: {message}")]
    ConnectionLost {
        /// The cause.
        message: String,
    },
    /// It is not known whether the call was carried out. See [`Error::outcome_unknown`].
    #[error("it is not known whether request {request_id} was carried out: {message}")]
    OutcomeUnknown {
        /// The id to repeat the call with.
        request_id: RequestId,
        /// The cause.
        message: String,
    },
    /// The deadline of the call passed, with all its repetitions.
    #[error("the deadline passed before the bank answered")]
    DeadlineExceeded {
        /// For a call that changes something, which may have been carried out: the id to repeat it
        /// with. See [`Error::outcome_unknown`].
        request_id: Option<RequestId>,
    },
    /// The access token is missing or invalid.
    #[error("not authenticated: {message}")]
    Unauthenticated {
        /// The message of the bank.
        message: String,
    },
    /// The caller is not permitted to make this call.
    #[error("not permitted: {message}")]
    PermissionDenied {
        /// The message of the bank.
        message: String,
    },
    /// The application's [`TokenSource`](crate::TokenSource) gave no token. Nothing was sent.
    #[error("no access token: {0}")]
    Token(#[source] TokenError),
    /// The settings of the client cannot work. Nothing was sent.
    #[error("{setting} {value:?}: {problem}")]
    InvalidSetting {
        /// Which one.
        setting: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A fault of the server.
    #[error("the bank failed: {message}")]
    Internal {
        /// The message of the bank.
        message: String,
    },
    /// What the bank has stored cannot be read.
    #[error("the bank's store is damaged: {message}")]
    StoreCorrupt {
        /// The message of the bank.
        message: String,
    },
    /// An entry that a watch has returned is lost: the store went back to an earlier state, through a crash or a
    /// failover. Compare with the current history.
    #[error("entry {sequence} of account {account_id} was returned, and is lost: {message}")]
    EntriesLost {
        /// On which account.
        account_id: AccountId,
        /// The last entry that was returned.
        sequence: u64,
        /// The message of the bank.
        message: String,
    },
    /// More accounts are to be watched than one watch may have.
    #[error("more than {accounts_max} accounts cannot be watched at once")]
    WatchTooLarge {
        /// How many may.
        accounts_max: u64,
    },
    /// The reply does not say what a reply must: the server is not one that this client understands.
    #[error("the bank's reply makes no sense: {problem}")]
    InvalidReply {
        /// What is wrong with it.
        problem: String,
    },
    /// Something that this version of the client does not know.
    #[error("the bank answered {:?}: {}", .0.code(), .0.message())]
    Other(Box<tonic::Status>),
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Its path: `amount.minor_units`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// Whether the bank rejected the call. Repeating it with the same request id gives the same rejection.
    pub fn is_rejection(&self) -> bool {
        self.effect() == Effect::Rejected
    }

    /// Whether the same call may succeed if it is repeated, with the same request id, later.
    ///
    /// The client has already repeated it as its [`RetryPolicy`](crate::RetryPolicy) allows.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Overloaded { .. }
                | Self::Unavailable { .. }
                | Self::ConnectionLost { .. }
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
        match self {
            Self::AccountNotFound { replayed, .. }
            | Self::AccountAlreadyExists { replayed, .. }
            | Self::AccountClosed { replayed, .. }
            | Self::AccountFrozen { replayed, .. }
            | Self::AccountNotFrozen { replayed, .. }
            | Self::CurrencyMismatch { replayed, .. }
            | Self::OverdraftNotAllowed { replayed, .. }
            | Self::OverdraftInUse { replayed, .. }
            | Self::BalanceNotZero { replayed, .. }
            | Self::BalanceOutOfRange { replayed, .. }
            | Self::InsufficientFunds { replayed, .. } => *replayed,
            _ => false,
        }
    }

    /// When the bank says it is worth trying again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The stable name of the cause, for logs and scripts: `INSUFFICIENT_FUNDS`.
    pub fn reason(&self) -> &'static str {
        self.into()
    }

    /// What the attempt that ended in this did.
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::AccountNotFound { .. }
            | Self::AccountDidNotExist { .. }
            | Self::TransactionNotFound { .. }
            | Self::AccountAlreadyExists { .. }
            | Self::AccountClosed { .. }
            | Self::AccountFrozen { .. }
            | Self::AccountNotFrozen { .. }
            | Self::CurrencyMismatch { .. }
            | Self::OverdraftNotAllowed { .. }
            | Self::OverdraftInUse { .. }
            | Self::BalanceNotZero { .. }
            | Self::BalanceOutOfRange { .. }
            | Self::InsufficientFunds { .. }
            | Self::AccountAheadOfClock { .. }
            | Self::RequestIdReused { .. }
            | Self::RequestIdRepeated { .. }
            | Self::PartlyExecuted { .. }
            | Self::BackupDamaged { .. }
            | Self::BankNotEmpty { .. }
            | Self::InvalidArgument { .. }
            | Self::DryRunTooLarge { .. }
            | Self::WatchTooLarge { .. } => Effect::Rejected,
            // A request with another token may be small enough: this is not the outcome of the request.
            Self::BatchAborted { .. }
            | Self::RequestTooLarge { .. }
            | Self::Overloaded { .. }
            | Self::Unavailable { .. }
            | Self::Unauthenticated { .. }
            | Self::PermissionDenied { .. }
            | Self::EntriesLost { .. }
            | Self::Token(_)
            | Self::InvalidSetting { .. } => Effect::Nothing,
            Self::ConnectionLost { .. }
            | Self::OutcomeUnknown { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Internal { .. }
            | Self::StoreCorrupt { .. }
            | Self::InvalidReply { .. } => Effect::Unknown,
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

/// What an attempt that ended in an error did, as far as the client can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, and no repetition would: this is the outcome of the request.
    Rejected,
    /// Nothing.
    Nothing,
    /// Nothing or everything.
    Unknown,
}

impl From<Malformed> for Error {
    fn from(Malformed(problem): Malformed) -> Self {
        Self::InvalidReply { problem }
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
