//! From a gRPC status to an [`Error`].
//!
//! Every status of the bank carries a `google.rpc.ErrorInfo` of the domain `bank.v1`. One without it
//! was made on the way: by the transport of this client or by a proxy.

use std::{collections::HashMap, error::Error as _, str::FromStr};

use bank_domain::{AccountId, Currency, Money, Rejection, RequestId, Timestamp, redacted};
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, ErrorInfo, StatusExt as _};

use super::{Error, FieldViolation};

const DOMAIN: &str = "bank.v1";

/// How tonic ends its message about an HTTP status that says that a request is too large: 413 for its content, which
/// proxies have a limit for, 431 for its headers.
const TOO_LARGE_FOR_HTTP: [&str; 2] = ["HTTP status code 413", "HTTP status code 431"];

impl Error {
    /// What a status says about a call; `request_id` is that of a call that changes something.
    pub(crate) fn from_status(status: Status, request_id: Option<&RequestId>) -> Self {
        let details = status.get_error_details();
        match details.error_info().filter(|info| info.domain == DOMAIN) {
            Some(info) => from_reason(&status, &details, info, request_id),
            None => from_code(&status, request_id),
        }
        .unwrap_or_else(|| Self::Other(Box::new(status)))
    }

    /// A failure to connect.
    pub(crate) fn unreachable(endpoint: &str, error: &tonic::transport::Error) -> Self {
        Self::Unavailable {
            message: format!("cannot connect to {}: {}", redacted(endpoint), causes(error)),
            retry_after: None,
        }
    }
}

/// `None` for what this version does not know, or that lacks a value it must have.
fn from_reason(
    status: &Status,
    details: &ErrorDetails,
    info: &ErrorInfo,
    request_id: Option<&RequestId>,
) -> Option<Error> {
    let values = Values(&info.metadata);
    let replayed = values.0.get("replayed").is_some_and(|value| value == "true");
    let rejected = |rejection| Error::Rejected { rejection, replayed };
    let message = status.message().to_owned();
    let account_id = values.parse::<AccountId>("account_id");
    let error = match info.reason.as_str() {
        "ACCOUNT_NOT_FOUND" => match values.parse("as_of_unix_ms") {
            Some(unix_ms) => Error::AccountDidNotExist {
                account_id: account_id?,
                as_of: Timestamp::try_from_unix_ms(unix_ms).ok()?,
            },
            None => rejected(Rejection::AccountNotFound { account_id: account_id? }),
        },
        "TRANSACTION_NOT_FOUND" => Error::TransactionNotFound(values.0.get("transaction_id")?.clone().into()),
        "ACCOUNT_ALREADY_EXISTS" => rejected(Rejection::AccountAlreadyExists { account_id: account_id? }),
        "ACCOUNT_CLOSED" => rejected(Rejection::AccountClosed { account_id: account_id? }),
        "ACCOUNT_FROZEN" => rejected(Rejection::AccountFrozen { account_id: account_id? }),
        "ACCOUNT_NOT_FROZEN" => rejected(Rejection::AccountNotFrozen { account_id: account_id? }),
        "CURRENCY_MISMATCH" => rejected(Rejection::CurrencyMismatch {
            account_id: account_id?,
            account_currency: values.parse("account_currency_code")?,
            requested_currency: values.parse("requested_currency_code")?,
        }),
        "OVERDRAFT_NOT_ALLOWED" => rejected(Rejection::OverdraftNotAllowed { account_id: account_id? }),
        "OVERDRAFT_IN_USE" => rejected(Rejection::OverdraftInUse {
            account_id: account_id?,
            balance: values.money("balance_minor_units")?,
            requested: values.money("requested_minor_units")?,
        }),
        "BALANCE_NOT_ZERO" => rejected(Rejection::BalanceNotZero {
            account_id: account_id?,
            balance: values.money("balance_minor_units")?,
        }),
        "ACCOUNT_AHEAD_OF_CLOCK" => Error::AccountAheadOfClock { account_id: account_id?, message },
        "BALANCE_OUT_OF_RANGE" => rejected(Rejection::BalanceOutOfRange { account_id: account_id? }),
        "INSUFFICIENT_FUNDS" => rejected(Rejection::InsufficientFunds {
            account_id: account_id?,
            requested: values.money("requested_minor_units")?,
            available: values.money("available_minor_units")?,
            balance: values.money("balance_minor_units")?,
        }),
        "REQUEST_ID_REUSED" => {
            Error::RequestIdReused { account_id: account_id?, request_id: values.parse("request_id")? }
        }
        "REQUEST_ID_REPEATED" => Error::RequestIdRepeated {
            account_id: account_id?,
            request_id: values.parse("request_id")?,
            first: values.parse("first_operation")?,
            second: values.parse("second_operation")?,
        },
        "PARTLY_EXECUTED" => {
            Error::PartlyExecuted { account_id: account_id?, request_id: values.parse("request_id")? }
        }
        "ACCOUNTS_NOT_TOGETHER" => Error::AccountsNotTogether {
            account_id: account_id?,
            other_account_id: values.parse("other_account_id")?,
        },
        "DRY_RUN_TOO_LARGE" => Error::DryRunTooLarge(message),
        "BATCH_ABORTED" => Error::BatchAborted { failed_operation: values.parse("failed_operation")? },
        "BACKUP_DAMAGED" => Error::BackupDamaged { line: values.parse("line")?, message },
        "BANK_NOT_EMPTY" => Error::BankNotEmpty(message),
        "MESSAGE_TOO_LARGE" | "HEADERS_TOO_LARGE" => Error::RequestTooLarge(message),
        "INVALID_ARGUMENT" => Error::InvalidArgument { message, violations: violations(details) },
        "OUTCOME_UNKNOWN" => Error::OutcomeUnknown {
            request_id: request_id.cloned().or_else(|| values.parse("request_id"))?,
            message,
        },
        "DEADLINE_EXCEEDED" => Error::DeadlineExceeded { request_id: request_id.cloned() },
        "ENTRIES_LOST" => {
            Error::EntriesLost { account_id: account_id?, sequence: values.parse("sequence")?, message }
        }
        "WATCH_TOO_LARGE" => Error::WatchTooLarge { accounts_max: values.parse("accounts_max")? },
        "STORE_CORRUPT" => Error::StoreCorrupt(message),
        "INTERNAL" => Error::Internal(message),
        _ => match status.code() {
            Code::ResourceExhausted => Error::Overloaded { message, retry_after: retry_after(details) },
            Code::Unavailable => Error::Unavailable { message, retry_after: retry_after(details) },
            Code::Unauthenticated => Error::Unauthenticated(message),
            Code::PermissionDenied => Error::PermissionDenied(message),
            _ => return None,
        },
    };
    Some(error)
}

/// What a status means that the bank did not make. Unless it could not even be sent, the call may
/// have been carried out.
fn from_code(status: &Status, request_id: Option<&RequestId>) -> Option<Error> {
    let message = status.message().to_owned();
    Some(match status.code() {
        Code::Unavailable if was_never_sent(status) => {
            let message = status.source().map_or(message, causes);
            Error::Unavailable { message: format!("cannot connect: {message}"), retry_after: None }
        }
        // HTTP refused the request for its size before anybody read what it asks for.
        Code::Unknown if TOO_LARGE_FOR_HTTP.iter().any(|status| message.ends_with(status)) => {
            Error::RequestTooLarge(message)
        }
        // How tonic puts it, on either side.
        Code::Cancelled if message == TimeoutExpired(()).to_string() => {
            Error::DeadlineExceeded { request_id: request_id.cloned() }
        }
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::ResourceExhausted => {
            Error::ConnectionLost(message)
        }
        Code::DeadlineExceeded => Error::DeadlineExceeded { request_id: request_id.cloned() },
        Code::Unauthenticated => Error::Unauthenticated(message),
        Code::PermissionDenied => Error::PermissionDenied(message),
        Code::InvalidArgument => Error::InvalidArgument { message, violations: Vec::new() },
        _ => return None,
    })
}

fn was_never_sent(status: &Status) -> bool {
    chain(status).any(<dyn std::error::Error>::is::<ConnectError>)
}

pub(crate) fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What each error of the chain says, less repetitions and what says nothing.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said: Vec<String> = chain(error).map(ToString::to_string).collect();
    said.retain(|text| text != "transport error");
    said.dedup();
    said.join(": ")
}

fn violations(details: &ErrorDetails) -> Vec<FieldViolation> {
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    violations
        .iter()
        .map(|violation| FieldViolation {
            field: violation.field.clone(),
            description: violation.description.clone(),
        })
        .collect()
}

fn retry_after(details: &ErrorDetails) -> Option<std::time::Duration> {
    details.retry_info().and_then(|info| info.retry_delay)
}

/// The metadata of an `ErrorInfo`.
struct Values<'a>(&'a HashMap<String, String>);

impl Values<'_> {
    fn parse<T: FromStr>(&self, key: &str) -> Option<T> {
        self.0.get(key)?.parse().ok()
    }

    fn money(&self, key: &str) -> Option<Money> {
        let currency = self.parse::<Currency>("currency_code")?;
        Some(Money { currency, minor_units: self.parse(key)? })
    }
}

#[cfg(test)]
mod tests;
