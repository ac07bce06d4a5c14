//! The audit trail: who was denied, and what was done with administrative leave.
//!
//! Its events have a target of their own, [`TARGET`], and are written whatever `log.level` and
//! `log.filter` say. They carry names and numbers of fixed kinds only, so nothing secret can be in them.

mod strangers;

use std::net::SocketAddr;

pub use self::strangers::Strangers;

/// The target of the events.
pub const TARGET: &str = "bank::audit";

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A caller who did not say who they are, or not so that it could be believed.
    Unauthenticated,
    /// A caller without the scope.
    PermissionDenied,
    /// A caller who named what is somebody else's, and was told that there is no such thing.
    Concealed,
    /// A caller who calls too often. Told at a bounded rate, with how often it was so.
    RateLimited,
    /// A call that needs [`Scope::Admin`](crate::auth::Scope::Admin), by a caller who has it.
    Administrative,
}

/// One event. A text that is not known is empty.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What it is about.
    pub kind: Kind,
    /// Who called.
    pub subject: &'a str,
    /// From where.
    pub peer: Option<SocketAddr>,
    /// What they called.
    pub method: &'a str,
    /// The account, or the transaction, that the call names first.
    pub account: &'a str,
    /// What they call the request.
    pub request_id: &'a str,
    /// What became of it: a code of gRPC.
    pub outcome: &'a str,
    /// Why, where that is for the operator only.
    pub reason: &'a str,
    /// How many events this one stands for.
    pub times: u64,
}

impl Event<'_> {
    /// Writes it down.
    pub fn write(self) {
        let Self { kind, subject, peer, method, account, request_id, outcome, reason, times } = self;
        let peer = peer.map(tracing::field::display);
        tracing::info!(
            target: TARGET,
            parent: None,
            event = kind.name(),
            subject,
            peer,
            method,
            account,
            request_id,
            outcome,
            reason,
            times,
            "audit: {}",
            kind.name(),
        );
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::Concealed => "concealed",
            Self::RateLimited => "rate_limited",
            Self::Administrative => "administrative",
        }
    }
}
