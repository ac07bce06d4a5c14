//! Audit events.

use std::net::SocketAddr;

use tonic::Code;

/// The kind of an audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// A caller without valid credentials.
    Unauthenticated,
    /// A caller without the required scope.
    PermissionDenied,
    /// A caller who named what belongs to another, and got `NOT_FOUND`.
    Concealed,
    /// A caller who exceeded a rate limit.
    RateLimited,
    /// A call that requires `bank.admin`, by a caller who has it.
    Administrative,
    /// A change on the admin port.
    AdminPort,
}

/// An audit event. Unknown strings are empty.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The kind of event.
    pub kind: Kind,
    /// The caller.
    pub subject: &'a str,
    /// The address of the caller.
    pub peer: Option<SocketAddr>,
    /// The method.
    pub method: &'static str,
    /// The account or transaction that the call names first.
    pub account: &'a str,
    /// The request id.
    pub request_id: &'a str,
    /// Whether it was a dry run.
    pub validate_only: bool,
    /// The status of the call.
    pub outcome: Code,
    /// The reason, if only the operator may know it.
    pub reason: &'a str,
    /// How many denials this event represents.
    pub times: u64,
}

impl Event<'static> {
    /// An event without details.
    pub fn new(kind: Kind, method: &'static str, outcome: Code) -> Self {
        Self {
            kind,
            subject: "",
            peer: None,
            method,
            account: "",
            request_id: "",
            validate_only: false,
            outcome,
            reason: "",
            times: 1,
        }
    }
}
