//! Statuses as the server makes them, and as they come from elsewhere.

#![expect(clippy::disallowed_methods, reason = "stands in for the server, which makes statuses")]

use std::time::Duration;

use tonic_types::FieldViolation as WireViolation;

use super::*;

fn status(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
    detailed(code, reason, metadata, |_| {})
}

fn detailed(
    code: Code,
    reason: &str,
    metadata: &[(&str, &str)],
    more: impl FnOnce(&mut ErrorDetails),
) -> Status {
    let metadata = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata.collect::<HashMap<_, _>>());
    more(&mut details);
    Status::with_error_details(code, "as the server says", details)
}

fn decode(status: Status) -> Error {
    Error::from_status(status, Some(&"r-1".parse().unwrap()))
}

/// Every business rejection: its values arrive, it says what the server would, and it is an outcome.
#[test]
fn rejections_carry_their_values() {
    let account = ("account_id", "123");
    let usd = ("currency_code", "USD");
    for (reason, metadata, text) in [
        ("ACCOUNT_NOT_FOUND", vec![account], "account 123 does not exist"),
        (
            "ACCOUNT_NOT_FOUND",
            vec![account, ("as_of_unix_ms", "1000")],
            "account 123 did not exist at 1970-01-01T00:00:01Z",
        ),
        ("ACCOUNT_ALREADY_EXISTS", vec![account], "account 123 already exists"),
        ("ACCOUNT_CLOSED", vec![account], "account 123 is closed"),
        ("ACCOUNT_FROZEN", vec![account], "account 123 is frozen"),
        ("ACCOUNT_NOT_FROZEN", vec![account], "account 123 is not frozen"),
        (
            "CURRENCY_MISMATCH",
            vec![account, ("account_currency_code", "USD"), ("requested_currency_code", "EUR")],
            "account 123 is held in USD, not in EUR",
        ),
        ("OVERDRAFT_NOT_ALLOWED", vec![account], "account 123 is a savings account, which has no overdraft"),
        (
            "OVERDRAFT_IN_USE",
            vec![account, usd, ("balance_minor_units", "-5000"), ("requested_minor_units", "100")],
            "account 123 is at -$50.00; the overdraft limit cannot be $1.00",
        ),
        (
            "BALANCE_NOT_ZERO",
            vec![account, usd, ("balance_minor_units", "5000")],
            "account 123 holds $50.00; only a zero balance can be closed",
        ),
        (
            "ACCOUNT_AHEAD_OF_CLOCK",
            vec![account, ("newest_entry_time", "2036-01-01T00:00:00Z")],
            "as the server says",
        ),
        (
            "BALANCE_OUT_OF_RANGE",
            vec![account],
            "the balance of account 123 would leave the range of 64-bit minor units",
        ),
        (
            "INSUFFICIENT_FUNDS",
            vec![
                account,
                usd,
                ("requested_minor_units", "50000"),
                ("available_minor_units", "1250"),
                ("balance_minor_units", "1000"),
            ],
            "account 123 has $12.50 available, $500.00 requested",
        ),
        (
            "REQUEST_ID_REUSED",
            vec![account, ("request_id", "r-9")],
            "request id r-9 was used on account 123 before, for another request",
        ),
        ("TRANSACTION_NOT_FOUND", vec![("transaction_id", "123/0-1")], "transaction 123/0-1 does not exist"),
    ] {
        let error = decode(status(Code::FailedPrecondition, reason, &metadata));
        assert_eq!(error.to_string(), text);
        assert_eq!(error.reason(), reason);
        assert!(error.is_rejection() && !error.is_retryable() && !error.outcome_unknown(), "{reason}");
        assert!(!error.replayed());
    }
}

#[test]
fn a_replayed_rejection_says_so() {
    let metadata = [("account_id", "123"), ("replayed", "true")];
    let error = decode(status(Code::FailedPrecondition, "ACCOUNT_FROZEN", &metadata));
    assert!(matches!(error, Error::Rejected { rejection: Rejection::AccountFrozen { .. }, replayed: true }));
    assert!(error.replayed());
}

#[test]
fn every_violation_arrives() {
    let bad = detailed(Code::InvalidArgument, "INVALID_ARGUMENT", &[], |details| {
        details.set_bad_request(vec![
            WireViolation::new("account_id", "is empty"),
            WireViolation::new("amount.minor_units", "must be more than zero, is 0 minor units"),
        ]);
    });
    let error = decode(bad);
    assert_eq!(
        error.to_string(),
        "invalid request: account_id is empty; amount.minor_units must be more than zero, is 0 minor units"
    );
    assert!(matches!(&error, Error::InvalidArgument { violations, .. } if violations.len() == 2));
    assert!(error.is_rejection());
}

#[test]
fn retryable_errors_carry_the_pause() {
    let later = |details: &mut ErrorDetails| {
        details.set_retry_info(Some(Duration::from_millis(250)));
    };
    let error = decode(detailed(Code::ResourceExhausted, "QUEUE_FULL", &[], later));
    assert!(matches!(error, Error::Overloaded { .. }));
    assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
    for reason in ["STORE_UNAVAILABLE", "CLOCK_OFF", "SHUTTING_DOWN", "OF_A_NEWER_SERVER"] {
        let error = decode(detailed(Code::Unavailable, reason, &[], later));
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert!(error.is_retryable() && !error.outcome_unknown());
        assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
    }
}

#[test]
fn an_unknown_outcome_names_the_request_to_repeat() {
    let unknown = status(Code::Unknown, "OUTCOME_UNKNOWN", &[("request_id", "r-1")]);
    let late = status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[("request_id", "r-1")]);
    let late_in_tonic = Status::cancelled("Timeout expired");
    for error in [unknown, late, late_in_tonic].map(decode) {
        assert!(error.outcome_unknown() && error.is_retryable(), "{error:?}");
        assert_eq!(error.request_id().unwrap().as_str(), "r-1");
    }
    // A call that changes nothing leaves nothing in doubt.
    let error = Error::from_status(status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]), None);
    assert!(!error.outcome_unknown());
}

/// Said by the bank, or by HTTP before the bank is asked.
#[test]
fn a_request_that_is_too_large_was_not_carried_out() {
    for status in [
        status(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]),
        status(Code::ResourceExhausted, "HEADERS_TOO_LARGE", &[]),
        Status::unknown("grpc-status header missing, mapped from HTTP status code 413"),
        Status::unknown("grpc-status header missing, mapped from HTTP status code 431"),
    ] {
        let error = decode(status);
        assert!(matches!(error, Error::RequestTooLarge { .. }), "{error:?}");
        assert!(!error.outcome_unknown() && !error.is_retryable() && !error.is_rejection(), "{error:?}");
    }
}

#[test]
fn faults_of_the_server_are_told_apart() {
    assert!(matches!(decode(status(Code::Internal, "INTERNAL", &[])), Error::Internal { .. }));
    assert!(matches!(decode(status(Code::DataLoss, "STORE_CORRUPT", &[])), Error::StoreCorrupt { .. }));
}

/// A status without the bank's `ErrorInfo` is from the way there or back: the call may have been
/// carried out.
#[test]
fn statuses_without_error_info_are_lost_connections() {
    for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled, Code::ResourceExhausted] {
        let error = decode(Status::new(code, "h2 protocol error"));
        assert!(matches!(error, Error::ConnectionLost { .. }), "{code:?} {error:?}");
        assert!(error.is_retryable());
    }
    let error = decode(Status::unauthenticated("proxy"));
    assert!(matches!(error, Error::Unauthenticated { .. }));
}

#[test]
fn unknown_errors_are_kept() {
    // An amount that is missing is not taken as zero.
    let metadata = [("account_id", "123"), ("currency_code", "USD")];
    let error = decode(status(Code::FailedPrecondition, "INSUFFICIENT_FUNDS", &metadata));
    assert!(matches!(&error, Error::Other(status) if status.code() == Code::FailedPrecondition));
    assert!(error.is_rejection());
    let error = decode(Status::unimplemented("no such method"));
    assert!(matches!(error, Error::Other(_)));
    assert!(!error.is_rejection() && !error.is_retryable());
}
