//! Errors as callers see them: the one place where a status is made.
//!
//! Every status carries `google.rpc.ErrorInfo` with the domain `bank.v1`, a stable reason and the
//! values that the message names. What went wrong inside the server is logged here, once, and
//! not told.

mod edge;

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

use bank_domain::{AccountId, Money, Rejection, Timestamp, TransactionId};
use bank_proto::v1;
use bank_store::StoreError;
use prost::Message as _;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::parse::RESUME_TOKEN;
use crate::{
    audit,
    auth::{Extent, ScopeMissing, authentication::TokenRejection},
    backup, ledger,
    places::Full,
    server::NoRoom,
    watch,
};

pub(crate) use self::edge::{MessageBound, NotAccepted, explain_answer, explain_end};

const DOMAIN: &str = "bank.v1";

/// When a caller who was turned away may come back.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The same, where the clock of the server is off: a step takes a second or two to be found right.
const CLOCK_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a call is not answered with what it asked for.
pub(crate) enum Failure {
    /// The caller did not show who they are.
    Unauthenticated(TokenRejection),
    /// Nothing said who calls: the server does not let a call so far without it.
    Unidentified,
    /// The message is not as documented: every violation.
    Invalid(Vec<FieldViolation>),
    /// The caller lacks a scope.
    ScopeMissing(ScopeMissing),
    /// There is no such account, or was none at the time; or it is not there for the caller.
    AccountNotFound { account_id: AccountId, as_of: Option<Timestamp>, extent: Extent },
    /// There is no such movement; or it is not there for the caller.
    TransactionNotFound { transaction_id: TransactionId, extent: Extent },
    /// The caller calls too often.
    RateLimited { calls_per_second_max: NonZeroU32, retry_after: Duration },
    /// The caller has too many calls in flight.
    TooManyCalls { calls_in_flight_max: usize },
    /// So many batches, or streams of them, there are already.
    TooManyBatches { max: usize, what: &'static str, setting: &'static str },
    /// All callers together have too many calls in flight.
    Overloaded { calls_in_flight_max: usize },
    /// What messages and replies take in memory leaves no room for more.
    NoRoom(NoRoom),
    /// Too many streams are open.
    TooManyStreams { streams_max: usize },
    /// A read took too long.
    DeadlineExceeded,
    /// As many audits run as may.
    TooManyAudits { audits_max: usize },
    /// The request is not one that the server takes, whatever it asks for.
    NotAccepted(NotAccepted),
    /// What came on a stream is not a message within the bound.
    Unreadable(Status, MessageBound),
    /// A file is not one that the bank has written.
    BackupDamaged { line: u64, problem: String },
    /// A file is to be imported into a bank that has accounts.
    BankNotEmpty,
    /// As many watches are open as may.
    TooManyWatches(Full),
    /// A dry run, or all of them together, would keep more than they may.
    DryRunTooLarge(Full),
    /// A caller takes none of the replies that it has asked for.
    SlowConsumer { timeout: Duration },
    /// The same of a stream that is not a watch.
    ReaderPaused { pause_max: Duration },
    /// More accounts are to be watched than one watch may have.
    WatchTooLarge { accounts_max: usize },
    /// What a watch has told is not in the history any more.
    EntriesLost { account_id: AccountId, sequence: u64 },
    /// The caller is gone; nobody hears of it.
    CallerGone,
    /// The ledger did not carry it out.
    Ledger(ledger::Error),
    /// The store did not answer a read.
    Store(StoreError),
}

impl Failure {
    /// How far the call reached.
    pub(super) fn extent(&self) -> Extent {
        match self {
            Self::AccountNotFound { extent, .. }
            | Self::TransactionNotFound { extent, .. }
            | Self::Ledger(ledger::Error::Rejected { extent, .. }) => *extent,
            Self::Unauthenticated(_)
            | Self::Unidentified
            | Self::Invalid(_)
            | Self::ScopeMissing(_)
            | Self::RateLimited { .. }
            | Self::TooManyCalls { .. }
            | Self::TooManyBatches { .. }
            | Self::NotAccepted(_)
            | Self::Unreadable(..)
            | Self::Overloaded { .. }
            | Self::NoRoom(_)
            | Self::TooManyStreams { .. }
            | Self::DeadlineExceeded
            | Self::TooManyAudits { .. }
            | Self::BackupDamaged { .. }
            | Self::BankNotEmpty
            | Self::TooManyWatches(_)
            | Self::DryRunTooLarge(_)
            | Self::SlowConsumer { .. }
            | Self::ReaderPaused { .. }
            | Self::WatchTooLarge { .. }
            | Self::EntriesLost { .. }
            | Self::CallerGone
            | Self::Ledger(_)
            | Self::Store(_) => Extent::Unknown,
        }
    }
}

impl From<ScopeMissing> for Failure {
    fn from(error: ScopeMissing) -> Self {
        Self::ScopeMissing(error)
    }
}

impl From<ledger::Error> for Failure {
    fn from(error: ledger::Error) -> Self {
        Self::Ledger(error)
    }
}

impl From<audit::Error> for Failure {
    fn from(error: audit::Error) -> Self {
        match error {
            audit::Error::AccountNotFound(account_id) => {
                Self::AccountNotFound { account_id, as_of: None, extent: Extent::Own }
            }
            audit::Error::Store(error) => Self::Store(error),
            audit::Error::NobodyListens => Self::CallerGone,
        }
    }
}

impl From<backup::Error> for Failure {
    fn from(error: backup::Error) -> Self {
        match error {
            backup::Error::Damaged { line, problem } => Self::BackupDamaged { line, problem },
            backup::Error::NotEmpty => Self::BankNotEmpty,
            backup::Error::ClockOff(off) => Self::Ledger(off.into()),
            backup::Error::Store(error) => Self::Store(error),
            backup::Error::NobodyListens => Self::CallerGone,
        }
    }
}

impl From<watch::Error> for Failure {
    fn from(error: watch::Error) -> Self {
        match error {
            watch::Error::AccountNotFound(account_id) => {
                Self::AccountNotFound { account_id, as_of: None, extent: Extent::Own }
            }
            watch::Error::TooManyAccounts { accounts_max } => Self::WatchTooLarge { accounts_max },
            watch::Error::EntriesLost { account_id, sequence } => Self::EntriesLost { account_id, sequence },
            watch::Error::Unfounded => {
                let problem = watch::InvalidToken::Unfounded.to_string();
                Self::Invalid(vec![FieldViolation::new(RESUME_TOKEN, problem)])
            }
            watch::Error::Store(error) => Self::Store(error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The answer to a call that the bank itself never saw.
pub(crate) fn error_response(failure: Failure) -> http::Response<Body> {
    let http_status = edge::http_status(&failure);
    let mut answer = status(failure).into_http();
    *answer.status_mut() = http_status;
    answer
}

/// Makes the status of a failure.
pub(crate) fn status(failure: Failure) -> Status {
    match failure {
        Failure::Unauthenticated(rejection) => edge::unauthenticated(&rejection),
        Failure::Unidentified => {
            tracing::error!("this is a bug: a call without an identity");
            internal()
        }
        Failure::Invalid(violations) => invalid(violations),
        Failure::ScopeMissing(missing) => Answer::new(Code::PermissionDenied, "SCOPE_MISSING", missing)
            .with("scope", missing.scope)
            .status(),
        Failure::AccountNotFound { account_id, as_of, .. } => account_not_found(&account_id, as_of),
        Failure::TransactionNotFound { transaction_id, .. } => transaction_not_found(&transaction_id),
        Failure::RateLimited { calls_per_second_max, retry_after } => {
            let message = format!("more than {calls_per_second_max} calls a second from one caller");
            Answer::new(Code::ResourceExhausted, "RATE_LIMITED", message)
                .with("calls_per_second_max", calls_per_second_max)
                .quota("callers.calls_per_second_max", retry_after)
                .status()
        }
        Failure::TooManyCalls { calls_in_flight_max } => {
            let message = format!("more than {calls_in_flight_max} calls of one caller in flight");
            Answer::new(Code::ResourceExhausted, "TOO_MANY_CALLS", message)
                .with("calls_in_flight_max", calls_in_flight_max)
                .quota("callers.calls_in_flight_max", RETRY_DELAY)
                .status()
        }
        Failure::TooManyBatches { max, what, setting } => {
            Answer::new(Code::ResourceExhausted, "TOO_MANY_BATCHES", format!("more than {max} {what}"))
                .with("batches_max", max)
                .quota(setting, RETRY_DELAY)
                .status()
        }
        Failure::Overloaded { calls_in_flight_max } => {
            let message = format!("more than {calls_in_flight_max} calls in flight");
            Answer::new(Code::ResourceExhausted, "OVERLOADED", message)
                .with("calls_in_flight_max", calls_in_flight_max)
                .quota("server.calls_in_flight_max", RETRY_DELAY)
                .status()
        }
        Failure::NoRoom(NoRoom { setting, bytes_max }) => {
            let whose = if setting.starts_with("callers.") { "one caller" } else { "all callers" };
            let message = format!("messages and replies of {whose} take {bytes_max} bytes already");
            Answer::new(Code::ResourceExhausted, "BUFFERS_FULL", message)
                .with("buffered_bytes_max", bytes_max)
                .quota(setting, RETRY_DELAY)
                .status()
        }
        Failure::TooManyStreams { streams_max } => Answer::new(
            Code::ResourceExhausted,
            "OVERLOADED",
            format!("more than {streams_max} streams open"),
        )
        .with("streams_max", streams_max)
        .quota("server.streams_max", RETRY_DELAY)
        .status(),
        Failure::DeadlineExceeded => {
            Answer::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline passed").status()
        }
        Failure::TooManyAudits { audits_max } => too_many_audits(audits_max),
        Failure::NotAccepted(problem) => edge::not_accepted(problem),
        Failure::Unreadable(status, bound) => edge::unreadable(status, bound),
        Failure::BackupDamaged { line, problem } => backup_damaged(line, &problem),
        Failure::BankNotEmpty => bank_not_empty(),
        Failure::TooManyWatches(full) => too_many_watches(full),
        Failure::DryRunTooLarge(full) => dry_run_too_large(full),
        Failure::SlowConsumer { timeout } => slow_consumer(timeout),
        Failure::ReaderPaused { pause_max } => reader_paused(pause_max),
        Failure::WatchTooLarge { accounts_max } => watch_too_large(accounts_max),
        Failure::EntriesLost { account_id, sequence } => entries_lost(&account_id, sequence),
        Failure::CallerGone => Answer::new(Code::Cancelled, "CANCELLED", "the caller is gone").status(),
        Failure::Ledger(error) => ledger_status(error),
        Failure::Store(error) => store_status(error),
    }
}

/// The error of one operation of a batch: the status that a call of its own would have ended with.
pub(super) fn operation_error(failure: Failure) -> v1::OperationError {
    let status = status(failure);
    // The details are a whole google.rpc.Status, and this is the same field by field.
    v1::OperationError::decode(status.details()).unwrap_or_else(|_| v1::OperationError {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// A status under construction.
struct Answer {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Answer {
    fn new(code: Code, reason: &'static str, message: impl ToString) -> Self {
        Self {
            code,
            reason,
            message: message.to_string(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
        }
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    fn resource(mut self, kind: &str, name: impl ToString) -> Self {
        self.details.set_resource_info(
            format!("{DOMAIN}.{kind}"),
            name.to_string(),
            "",
            self.message.clone(),
        );
        self
    }

    fn precondition(mut self, subject: &AccountId) -> Self {
        let subject = format!("accounts/{subject}");
        self.details.add_precondition_failure_violation(self.reason, subject, self.message.clone());
        self
    }

    fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    fn limit(mut self, setting: &str) -> Self {
        self.details.add_quota_failure_violation(setting, self.message.clone());
        self
    }

    fn quota(self, setting: &str, retry_after: Duration) -> Self {
        self.limit(setting).retry_after(retry_after)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes a status")]
    fn status(mut self) -> Status {
        self.details.set_error_info(self.reason, DOMAIN, self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }
}

fn invalid(violations: Vec<FieldViolation>) -> Status {
    let described: Vec<_> =
        violations.iter().map(|violation| format!("{} {}", violation.field, violation.description)).collect();
    let mut answer = Answer::new(Code::InvalidArgument, "INVALID_ARGUMENT", described.join("; "));
    answer.details.set_bad_request(violations);
    answer.status()
}

fn account_not_found(account_id: &AccountId, as_of: Option<Timestamp>) -> Status {
    let message = match as_of {
        None => format!("account {account_id} does not exist"),
        Some(as_of) => format!("account {account_id} did not exist at {as_of}"),
    };
    let answer = Answer::new(Code::NotFound, "ACCOUNT_NOT_FOUND", message).with("account_id", account_id);
    let answer = match as_of {
        None => answer,
        Some(as_of) => answer.with("as_of_unix_ms", as_of.unix_ms()),
    };
    answer.resource("Account", account_id).status()
}

fn transaction_not_found(transaction_id: &TransactionId) -> Status {
    Answer::new(
        Code::NotFound,
        "TRANSACTION_NOT_FOUND",
        format!("transaction {transaction_id} does not exist"),
    )
    .with("transaction_id", transaction_id)
    .resource("Transaction", transaction_id)
    .status()
}

fn too_many_audits(audits_max: usize) -> Status {
    Answer::new(
        Code::ResourceExhausted,
        "TOO_MANY_AUDITS",
        format!("{audits_max} audits or exports run already"),
    )
    .with("audits_max", audits_max)
    .quota("server.concurrent_audits_max", RETRY_DELAY)
    .status()
}

fn backup_damaged(line: u64, problem: &str) -> Status {
    let message = format!("line {line} of the file {problem}");
    let mut answer = Answer::new(Code::InvalidArgument, "BACKUP_DAMAGED", message).with("line", line);
    answer.details.add_bad_request_violation("data", answer.message.clone());
    answer.status()
}

fn bank_not_empty() -> Status {
    let mut answer = Answer::new(Code::FailedPrecondition, "BANK_NOT_EMPTY", backup::Error::NotEmpty);
    answer.details.add_precondition_failure_violation("BANK_NOT_EMPTY", "bank", answer.message.clone());
    answer.status()
}

fn too_many_watches(full: Full) -> Status {
    let (whose, setting, watches_max) = match full {
        Full::InAll { max } => ("", "watch.concurrent_max", max),
        Full::OfCaller { max } => (" of one caller", "watch.concurrent_per_caller_max", max),
    };
    let message = format!("{watches_max} watches{whose} are open already");
    Answer::new(Code::ResourceExhausted, "TOO_MANY_WATCHES", message)
        .with("watches_max", watches_max)
        .quota(setting, RETRY_DELAY)
        .status()
}

fn dry_run_too_large(full: Full) -> Status {
    let (whose, setting, bytes_max, advice) = match full {
        Full::OfCaller { max } => (
            "the dry runs of one caller",
            "callers.dry_run_bytes_max",
            max,
            "check fewer operations in one dry run, or leave out request ids that are used only once",
        ),
        Full::InAll { max } => ("all dry runs", "server.dry_run_bytes_max", max, "begin again later"),
    };
    let message =
        format!("{whose} may keep {bytes_max} bytes of accounts and request ids, and need more: {advice}");
    let mut answer = Answer::new(Code::ResourceExhausted, "DRY_RUN_TOO_LARGE", message);
    answer.details.add_quota_failure_violation(setting, answer.message.clone());
    answer.with("bytes_max", bytes_max).status()
}

fn slow_consumer(timeout: Duration) -> Status {
    let timeout_ms = timeout.as_millis();
    let message =
        format!("no reply was taken for {timeout_ms} ms; go on with the resume_token of the last one");
    Answer::new(Code::ResourceExhausted, "SLOW_CONSUMER", message)
        .with("consumer_timeout_ms", timeout_ms)
        .quota("watch.consumer_timeout_ms", RETRY_DELAY)
        .status()
}

fn reader_paused(pause_max: Duration) -> Status {
    let pause_ms_max = pause_max.as_millis();
    let message = format!("no reply was taken for {pause_ms_max} ms; make the call again");
    Answer::new(Code::ResourceExhausted, "SLOW_CONSUMER", message)
        .with("reader_pause_ms_max", pause_ms_max)
        .quota("server.reader_pause_ms_max", RETRY_DELAY)
        .status()
}

fn watch_too_large(accounts_max: usize) -> Status {
    let message =
        format!("there are more than {accounts_max} accounts: watch those of one owner, or one by one");
    let mut answer = Answer::new(Code::FailedPrecondition, "WATCH_TOO_LARGE", message);
    let message = answer.message.clone();
    answer.details.add_precondition_failure_violation("WATCH_TOO_LARGE", "watch.accounts_max", message);
    answer.with("accounts_max", accounts_max).status()
}

fn entries_lost(account_id: &AccountId, sequence: u64) -> Status {
    tracing::warn!(
        account = account_id.as_str(),
        sequence,
        "what a watch has told is not in the history any more"
    );
    let message = format!(
        "entry {sequence} of account {account_id} was told, and is not in its history any more: the store has \
         gone back to an earlier state"
    );
    Answer::new(Code::DataLoss, "ENTRIES_LOST", message)
        .with("account_id", account_id)
        .with("sequence", sequence)
        .status()
}

fn ledger_status(error: ledger::Error) -> Status {
    let message = error.to_string();
    match error {
        ledger::Error::Rejected { rejection, replayed, .. } => rejection_status(&rejection, replayed),
        ledger::Error::RequestIdReused { request_id, account_id } => {
            Answer::new(Code::FailedPrecondition, "REQUEST_ID_REUSED", message)
                .with("request_id", request_id)
                .with("account_id", &account_id)
                .precondition(&account_id)
                .status()
        }
        ledger::Error::RequestIdRepeated { request_id, account_id, first, second } => {
            let mut answer = Answer::new(Code::InvalidArgument, "REQUEST_ID_REPEATED", message)
                .with("request_id", request_id)
                .with("account_id", account_id)
                .with("first_operation", first)
                .with("second_operation", second);
            let field = format!("operations[{second}]");
            answer.details.add_bad_request_violation(field, answer.message.clone());
            answer.status()
        }
        ledger::Error::PartlyExecuted { request_id, account_id } => {
            Answer::new(Code::FailedPrecondition, "PARTLY_EXECUTED", message)
                .with("request_id", request_id)
                .with("account_id", &account_id)
                .precondition(&account_id)
                .status()
        }
        ledger::Error::BatchAborted { failed_operation } => {
            Answer::new(Code::Aborted, "BATCH_ABORTED", message)
                .with("failed_operation", failed_operation)
                .status()
        }
        ledger::Error::QueueFull { commands_max } => {
            Answer::new(Code::ResourceExhausted, "QUEUE_FULL", message)
                .with("commands_max", commands_max)
                .quota("ledger.queue_commands_max", RETRY_DELAY)
                .status()
        }
        ledger::Error::DeadlineExceeded { request_id } => {
            Answer::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
                .with("request_id", request_id)
                .status()
        }
        ledger::Error::OutcomeUnknown { request_id, reason } => {
            tracing::error!(%request_id, reason, "the outcome of a request is not known");
            let message = format!(
                "it is not known whether this was done; repeat it with request_id {request_id} to find out"
            );
            Answer::new(Code::Unknown, "OUTCOME_UNKNOWN", message).with("request_id", request_id).status()
        }
        // Whoever runs the server hears of it by the log and the metrics. Callers wait, or go to another server.
        ledger::Error::ClockOff(_) => {
            let message =
                "the clock of this server is off: it takes no changes until that is right; nothing was done";
            Answer::new(Code::Unavailable, "CLOCK_OFF", message).retry_after(CLOCK_RETRY_DELAY).status()
        }
        ledger::Error::ShuttingDown => {
            Answer::new(Code::Unavailable, "SHUTTING_DOWN", message).retry_after(RETRY_DELAY).status()
        }
        ledger::Error::Store(error) => store_status(error),
    }
}

fn store_status(error: StoreError) -> Status {
    match error {
        // An unknown outcome of a read leaves nothing in doubt.
        StoreError::Unavailable(reason) | StoreError::OutcomeUnknown(reason) => {
            tracing::warn!(reason, "the store is unavailable");
            Answer::new(Code::Unavailable, "STORE_UNAVAILABLE", "the store is unavailable; nothing was done")
                .retry_after(RETRY_DELAY)
                .status()
        }
        // The store says so itself, once; callers may know what it is about.
        StoreError::Unfit(reason) => {
            let message = format!("the store cannot be used now; nothing was done: {reason}");
            Answer::new(Code::Unavailable, "STORE_UNAVAILABLE", message).retry_after(RETRY_DELAY).status()
        }
        StoreError::Corrupt(reason) => {
            tracing::error!(reason, "the store holds what the bank did not write");
            let message =
                "what is stored of the account is damaged; the bank does not touch it until it is repaired";
            Answer::new(Code::DataLoss, "STORE_CORRUPT", message).status()
        }
        StoreError::Misconfigured(reason) => {
            tracing::error!(reason, "the store cannot be used");
            internal()
        }
    }
}

fn internal() -> Status {
    Answer::new(Code::Internal, "INTERNAL", "internal error; nothing was done").status()
}

fn rejection_status(rejection: &Rejection, replayed: bool) -> Status {
    let failed = |reason, account_id: &AccountId| {
        Answer::new(Code::FailedPrecondition, reason, rejection)
            .with("account_id", account_id)
            .precondition(account_id)
    };
    let minor_units = |money: &Money| money.minor_units;
    let mut answer = match rejection {
        Rejection::AccountNotFound { account_id } => {
            Answer::new(Code::NotFound, "ACCOUNT_NOT_FOUND", rejection)
                .with("account_id", account_id)
                .resource("Account", account_id)
        }
        Rejection::AccountAlreadyExists { account_id } => {
            Answer::new(Code::AlreadyExists, "ACCOUNT_ALREADY_EXISTS", rejection)
                .with("account_id", account_id)
                .resource("Account", account_id)
        }
        Rejection::AccountClosed { account_id } => failed("ACCOUNT_CLOSED", account_id),
        Rejection::AccountFrozen { account_id } => failed("ACCOUNT_FROZEN", account_id),
        Rejection::AccountNotFrozen { account_id } => failed("ACCOUNT_NOT_FROZEN", account_id),
        Rejection::CurrencyMismatch { account_id, account_currency, requested_currency } => {
            failed("CURRENCY_MISMATCH", account_id)
                .with("account_currency_code", account_currency)
                .with("requested_currency_code", requested_currency)
        }
        Rejection::OverdraftNotAllowed { account_id } => failed("OVERDRAFT_NOT_ALLOWED", account_id),
        Rejection::OverdraftInUse { account_id, balance, requested } => {
            failed("OVERDRAFT_IN_USE", account_id)
                .with("currency_code", balance.currency)
                .with("balance_minor_units", minor_units(balance))
                .with("requested_minor_units", minor_units(requested))
        }
        Rejection::BalanceNotZero { account_id, balance } => failed("BALANCE_NOT_ZERO", account_id)
            .with("currency_code", balance.currency)
            .with("balance_minor_units", minor_units(balance)),
        Rejection::BalanceOutOfRange { account_id } => {
            Answer::new(Code::OutOfRange, "BALANCE_OUT_OF_RANGE", rejection).with("account_id", account_id)
        }
        Rejection::AccountAheadOfClock { account_id, newest_at } => {
            let answer = failed("ACCOUNT_AHEAD_OF_CLOCK", account_id);
            match newest_at {
                Some(newest_at) => answer.with("newest_entry_time", newest_at),
                None => answer,
            }
        }
        Rejection::InsufficientFunds { account_id, requested, available, balance } => {
            failed("INSUFFICIENT_FUNDS", account_id)
                .with("currency_code", balance.currency)
                .with("requested_minor_units", minor_units(requested))
                .with("available_minor_units", minor_units(available))
                .with("balance_minor_units", minor_units(balance))
        }
    };
    if replayed {
        answer = answer.with("replayed", true);
    }
    answer.status()
}
