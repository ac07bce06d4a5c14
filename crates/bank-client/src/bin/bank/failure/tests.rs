use super::*;

#[test]
fn exit_codes_are_as_documented() {
    let account_id = || "9".parse().unwrap();
    let message = || "why".to_owned();
    for (error, exit) in [
        (
            Error::Rejected {
                rejection: Rejection::AccountFrozen { account_id: account_id() },
                replayed: false,
            },
            Exit::Rejected,
        ),
        (
            Error::Rejected {
                rejection: Rejection::AccountAlreadyExists { account_id: account_id() },
                replayed: true,
            },
            Exit::Rejected,
        ),
        (
            Error::Rejected {
                rejection: Rejection::AccountNotFound { account_id: account_id() },
                replayed: false,
            },
            Exit::NotFound,
        ),
        (Error::InvalidArgument { message: message(), violations: vec![] }, Exit::Invalid),
        (Error::Unavailable { message: message(), retry_after: None }, Exit::Unavailable),
        (Error::Overloaded { message: message(), retry_after: None }, Exit::Unavailable),
        (Error::DeadlineExceeded { request_id: None }, Exit::Unavailable),
        (Error::DeadlineExceeded { request_id: Some("r".parse().unwrap()) }, Exit::OutcomeUnknown),
        (Error::PermissionDenied(message()), Exit::NotPermitted),
        (Error::Internal(message()), Exit::Failed),
    ] {
        let text = error.to_string();
        assert_eq!(Failure::from(error).exit, exit, "{text}");
    }
}

#[test]
fn an_unknown_outcome_comes_with_a_hint_how_to_resolve_it() {
    let error = Error::OutcomeUnknown { request_id: "r-1".parse().unwrap(), message: "cut".into() };
    let failure = Failure::from(error);
    assert_eq!(failure.exit, Exit::OutcomeUnknown);
    let hint = "run the same command again with --request-id r-1: the change is made once";
    assert_eq!(failure.hint.as_deref(), Some(hint));
}
