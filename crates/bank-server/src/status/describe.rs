//! Makes the status of a failure: one arm for each kind and no wildcard, so that a new kind does not compile without one.

use std::{error::Error as _, time::Duration};

use bank_domain::{AccountId, Money, Rejection};
use bank_store::StoreError;
use http::header::ALLOW;
use tonic::{Code, Status};
use tonic_types::FieldViolation;

use super::{
    builder::{StatusBuilder, new},
    failure::{Failure, NotAccepted, RESUME_TOKEN},
    limit::{Limit, LimitKind},
};
use crate::{
    audit,
    auth::{InvalidSubject, authentication::TokenRejection},
    backup, ledger, watch,
};

/// When to repeat a call that found the server, its store or its keys unavailable.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The same for a wrong clock: a step is detected within a second or two.
const CLOCK_RETRY_DELAY: Duration = Duration::from_secs(1);

/// How much of a caller's text is repeated in a message, in bytes.
const QUOTED_BYTES_MAX: usize = 128;

/// Makes the status of a failure.
pub(crate) fn status(failure: Failure) -> Status {
    let status = match failure {
        Failure::Unauthenticated(rejection) => unauthenticated(&rejection),
        Failure::Unidentified => {
            tracing::error!("this is a bug: a call without an identity");
            internal()
        }
        Failure::Invalid(violations) => invalid(violations),
        Failure::ScopeMissing(missing) => {
            new(Code::PermissionDenied, "SCOPE_MISSING", missing).with("scope", missing.scope)
        }
        Failure::AccountNotFound { account_id, as_of: None } => no_account(&account_id),
        Failure::AccountNotFound { account_id, as_of: Some(as_of) } => {
            account_not_found(format!("account {account_id} did not exist at {as_of}"))
                .account(&account_id)
                .with("as_of_unix_ms", as_of.unix_ms())
        }
        Failure::TransactionNotFound { transaction_id } => {
            let message = format!("transaction {transaction_id} does not exist");
            new(Code::NotFound, "TRANSACTION_NOT_FOUND", message)
                .with("transaction_id", &transaction_id)
                .resource("Transaction", transaction_id)
        }
        Failure::LimitReached(limit) => limit_reached(limit),
        Failure::DeadlineExceeded => new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline passed"),
        Failure::NotAccepted(problem) => not_accepted(problem),
        Failure::Unreadable(made, limit) => return unreadable(made, limit),
        Failure::CallerGone => caller_gone(),
        Failure::Ledger(error) => ledger_error(error),
        Failure::Store(error) => store_error(error),
        Failure::Audit(error) => match error {
            audit::Error::AccountNotFound(account_id) => no_account(&account_id),
            audit::Error::Store(error) => store_error(error),
            audit::Error::CallerGone => caller_gone(),
        },
        Failure::Backup(error) => backup_error(error),
        Failure::Watch(error) => watch_error(error),
    };
    status.build()
}

fn invalid(violations: Vec<FieldViolation>) -> StatusBuilder {
    let described: Vec<_> =
        violations.iter().map(|violation| format!("{} {}", violation.field, violation.description)).collect();
    new(Code::InvalidArgument, "INVALID_ARGUMENT", described.join("; ")).bad_request(violations)
}

fn account_not_found(message: impl ToString) -> StatusBuilder {
    new(Code::NotFound, "ACCOUNT_NOT_FOUND", message)
}

fn no_account(account_id: &AccountId) -> StatusBuilder {
    account_not_found(format!("account {account_id} does not exist")).account(account_id)
}

fn caller_gone() -> StatusBuilder {
    new(Code::Cancelled, "CANCELLED", "the caller is gone")
}

fn backup_error(error: backup::Error) -> StatusBuilder {
    match error {
        backup::Error::Damaged { line, problem } => {
            let message = format!("line {line} of the file {problem}");
            new(Code::InvalidArgument, "BACKUP_DAMAGED", message).with("line", line).bad_field("data")
        }
        backup::Error::NotEmpty => {
            new(Code::FailedPrecondition, "BANK_NOT_EMPTY", backup::Error::NotEmpty).precondition("bank")
        }
        backup::Error::ClockOff(off) => ledger_error(off.into()),
        backup::Error::Store(error) => store_error(error),
        backup::Error::CallerGone => caller_gone(),
    }
}

fn watch_error(error: watch::Error) -> StatusBuilder {
    match error {
        watch::Error::AccountNotFound(account_id) => no_account(&account_id),
        watch::Error::TooManyAccounts { accounts_max } => {
            let message = format!(
                "there are more than {accounts_max} accounts: watch those of one owner, or one by one"
            );
            new(Code::FailedPrecondition, "WATCH_TOO_LARGE", message)
                .precondition("watch.accounts_max")
                .with("accounts_max", accounts_max)
        }
        watch::Error::EntriesLost { account_id, sequence } => {
            let account = account_id.as_str();
            tracing::warn!(
                account,
                sequence,
                "an entry that a watch has reported is no longer in the history"
            );
            let message = format!(
                "entry {sequence} of account {account_id} was reported and is no longer in its history: the store \
                 has gone back to an earlier state"
            );
            new(Code::DataLoss, "ENTRIES_LOST", message).account(&account_id).with("sequence", sequence)
        }
        watch::Error::InvalidToken(error) => {
            invalid(vec![FieldViolation::new(RESUME_TOKEN, error.to_string())])
        }
        watch::Error::Store(error) => store_error(error),
    }
}

fn limit_reached(Limit { kind, max, retry_after }: Limit) -> StatusBuilder {
    let (reason, setting, key, message) = kind.error();
    let message = message.replace("{max}", &max.to_string());
    let status = new(kind.code(), reason, message).with(key, max).limit(setting);
    match retry_after {
        Some(delay) => status.retry_after(delay),
        None => status,
    }
}

fn ledger_error(error: ledger::Error) -> StatusBuilder {
    let message = error.to_string();
    let described = |code, reason| new(code, reason, message);
    match error {
        ledger::Error::Rejected { rejection, replayed, .. } => {
            let status = rejected(&rejection);
            if replayed { status.with("replayed", true) } else { status }
        }
        ledger::Error::RequestIdReused { request_id, account_id } => {
            described(Code::FailedPrecondition, "REQUEST_ID_REUSED")
                .with("request_id", request_id)
                .account(&account_id)
        }
        ledger::Error::RequestIdRepeated { request_id, account_id, first, second } => {
            described(Code::InvalidArgument, "REQUEST_ID_REPEATED")
                .with("request_id", request_id)
                .account(&account_id)
                .with("first_operation", first)
                .with("second_operation", second)
                .bad_field(format!("operations[{second}]"))
        }
        ledger::Error::PartlyExecuted { request_id, account_id } => {
            described(Code::FailedPrecondition, "PARTLY_EXECUTED")
                .with("request_id", request_id)
                .account(&account_id)
        }
        ledger::Error::AccountsNotTogether { account_id, other_account_id } => {
            described(Code::FailedPrecondition, "ACCOUNTS_NOT_TOGETHER")
                .account(&account_id)
                .with("other_account_id", other_account_id)
        }
        ledger::Error::BatchAborted { failed_operation } => {
            described(Code::Aborted, "BATCH_ABORTED").with("failed_operation", failed_operation)
        }
        ledger::Error::QueueFull { commands_max } => {
            limit_reached(Limit::new(LimitKind::QueuedCommands, commands_max))
        }
        ledger::Error::DeadlineExceeded { request_id } => {
            described(Code::DeadlineExceeded, "DEADLINE_EXCEEDED").with("request_id", request_id)
        }
        ledger::Error::OutcomeUnknown { request_id, reason } => {
            tracing::error!(%request_id, reason, "the outcome of a request is not known");
            let message = format!(
                "it is not known whether this was done; repeat it with request_id {request_id} to find out"
            );
            new(Code::Unknown, "OUTCOME_UNKNOWN", message).with("request_id", request_id)
        }
        // The log and the metrics tell the operator. Callers wait, or use another server.
        ledger::Error::ClockOff(_) => {
            let message = "the clock of this server is wrong: it accepts no changes until that is corrected; \
                           nothing was done";
            new(Code::Unavailable, "CLOCK_OFF", message).retry_after(CLOCK_RETRY_DELAY)
        }
        ledger::Error::ShuttingDown => described(Code::Unavailable, "SHUTTING_DOWN").retry_after(RETRY_DELAY),
        ledger::Error::Store(error) => store_error(error),
    }
}

fn store_error(error: StoreError) -> StatusBuilder {
    let unavailable =
        |message: &str| new(Code::Unavailable, "STORE_UNAVAILABLE", message).retry_after(RETRY_DELAY);
    match error {
        // An unknown outcome of a read leaves nothing in doubt.
        StoreError::Unavailable(reason) | StoreError::OutcomeUnknown(reason) => {
            tracing::warn!(reason, "the store is unavailable");
            unavailable("the store is unavailable; nothing was done")
        }
        // The store has logged it, once. Callers may know the reason.
        StoreError::Unfit(reason) => {
            unavailable(&format!("the store cannot be used now; nothing was done: {reason}"))
        }
        StoreError::Corrupt(reason) => {
            tracing::error!(reason, "the store holds data that the bank did not write");
            let message =
                "the stored data of the account is damaged; the bank does not touch it until it is repaired";
            new(Code::DataLoss, "STORE_CORRUPT", message)
        }
        StoreError::Misconfigured(reason) => {
            tracing::error!(reason, "the store cannot be used");
            internal()
        }
    }
}

pub(super) fn internal() -> StatusBuilder {
    new(Code::Internal, "INTERNAL", "internal error; nothing was done")
}

fn rejected(rejection: &Rejection) -> StatusBuilder {
    let failed = |reason, account_id| new(Code::FailedPrecondition, reason, rejection).account(account_id);
    let minor_units = |money: &Money| money.minor_units;
    match rejection {
        Rejection::AccountNotFound { account_id } => account_not_found(rejection).account(account_id),
        Rejection::AccountAlreadyExists { account_id } => {
            new(Code::AlreadyExists, "ACCOUNT_ALREADY_EXISTS", rejection).account(account_id)
        }
        Rejection::BalanceOutOfRange { account_id } => {
            new(Code::OutOfRange, "BALANCE_OUT_OF_RANGE", rejection).account(account_id)
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
        Rejection::AccountAheadOfClock { account_id, newest_at: None } => {
            failed("ACCOUNT_AHEAD_OF_CLOCK", account_id)
        }
        Rejection::AccountAheadOfClock { account_id, newest_at: Some(newest_at) } => {
            failed("ACCOUNT_AHEAD_OF_CLOCK", account_id).with("newest_entry_time", newest_at)
        }
        Rejection::InsufficientFunds { account_id, requested, available, balance } => {
            failed("INSUFFICIENT_FUNDS", account_id)
                .with("currency_code", balance.currency)
                .with("requested_minor_units", minor_units(requested))
                .with("available_minor_units", minor_units(available))
                .with("balance_minor_units", minor_units(balance))
        }
    }
}

fn not_accepted(problem: NotAccepted) -> StatusBuilder {
    let not_grpc = |message| new(Code::InvalidArgument, "NOT_GRPC", message);
    match problem {
        NotAccepted::Method(method) => not_grpc(format!(
            "the HTTP method {} is not accepted: a gRPC call is a POST",
            quoted(method.as_str().as_bytes())
        ))
        .header(ALLOW.as_str(), "POST"),
        NotAccepted::ContentType(found) => {
            let found = found.map_or_else(
                || "no content-type".to_owned(),
                |found| format!("content-type {}", quoted(found.as_bytes())),
            );
            not_grpc(format!(
                "{found} is not accepted: a gRPC call has application/grpc or application/grpc+proto"
            ))
        }
        NotAccepted::HeadersTooLarge { bytes, bytes_max } => {
            let message = format!(
                "the request headers take {bytes} bytes; server.header_bytes_max allows {bytes_max}; nothing was done"
            );
            new(Code::ResourceExhausted, "HEADERS_TOO_LARGE", message)
                .with("header_bytes_max", bytes_max)
                .limit("server.header_bytes_max")
        }
        NotAccepted::Compressed(encoding) => {
            let message = format!(
                "messages compressed with {} are not accepted: send them uncompressed",
                quoted(encoding.as_bytes())
            );
            new(Code::Unimplemented, "COMPRESSION_NOT_SUPPORTED", message)
                .header("grpc-accept-encoding", "identity")
        }
        NotAccepted::Timeout(value) => {
            let description = format!(
                "is {}; it must be a number of at most 8 digits and a unit: H, M, S, m, u or n",
                quoted(value.as_bytes())
            );
            invalid(vec![FieldViolation::new("grpc-timeout", description)])
        }
    }
}

/// Says what is wrong with a token only where that does not help an attacker.
fn unauthenticated(rejection: &TokenRejection) -> StatusBuilder {
    // <https://datatracker.ietf.org/doc/html/rfc6750#section-3>
    let challenge = |reason, message: &str, challenge: &'static str| {
        new(Code::Unauthenticated, reason, message).header("www-authenticate", challenge)
    };
    let invalid = |reason, message: &str| challenge(reason, message, "Bearer error=\"invalid_token\"");
    match rejection {
        TokenRejection::Missing => {
            let message = "this call needs a token: send it as `authorization: Bearer <token>`";
            challenge("CREDENTIALS_MISSING", message, "Bearer")
        }
        TokenRejection::Expired => invalid("CREDENTIALS_EXPIRED", "the token has expired: get a new one"),
        TokenRejection::TooLong { bytes_max } => {
            let message =
                format!("the token is longer than half of server.header_bytes_max: {bytes_max} bytes");
            invalid("CREDENTIALS_INVALID", &message)
        }
        TokenRejection::KeyWithdrawn => {
            let message = "the key that the token was signed with is no longer accepted: get a new token";
            invalid("CREDENTIALS_INVALID", message)
        }
        TokenRejection::UnfitSubject => {
            invalid("CREDENTIALS_INVALID", &format!("the subject of the token {InvalidSubject}"))
        }
        TokenRejection::UnknownKey { .. } | TokenRejection::Invalid(_) => {
            invalid("CREDENTIALS_INVALID", "the token is not valid here")
        }
        TokenRejection::KeysUnavailable => {
            let message = "tokens cannot be verified for now; nothing was done";
            new(Code::Unavailable, "KEYS_UNAVAILABLE", message).retry_after(RETRY_DELAY)
        }
    }
}

/// For a message that tonic could not read.
pub(super) fn unreadable(made: Status, limit: Limit) -> Status {
    // The server itself stopped reading the message, and says why.
    if !made.details().is_empty() {
        return made;
    }
    // The stream of the call ended in an HTTP/2 error: the caller has left.
    if made.source().is_some() || made.code() == Code::Cancelled {
        return status(Failure::CallerGone);
    }
    match made.code() {
        Code::OutOfRange => status(Failure::LimitReached(limit)),
        _ => malformed(made.message()).build(),
    }
}

pub(super) fn malformed(problem: &str) -> StatusBuilder {
    let message = format!("the message cannot be read: {}", quoted(problem.as_bytes()));
    new(Code::InvalidArgument, "MALFORMED_MESSAGE", message)
}

/// The beginning of a caller's text, on one line.
fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown = &text[..text.floor_char_boundary(QUOTED_BYTES_MAX)];
    shown.escape_debug().to_string()
}
