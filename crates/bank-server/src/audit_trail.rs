//! The audit trail: who was denied, and what was done with administrative leave.
//!
//! Its events have a target of their own, [`AUDIT_TRAIL`], and are written whatever `log.level` and
//! `log.filter` say. They carry names and numbers of fixed kinds only, so nothing secret can be in them.

mod denials;

use std::{net::SocketAddr, sync::LazyLock, time::Duration};

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;

use self::denials::Denials;
use crate::{
    auth::{Identity, Method, Scope},
    telemetry::AUDIT_TRAIL,
};

/// How long denials may be counted before an event says how many there were.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// The denials of this process. There is one audit trail in it, as there is one log.
static DENIALS: LazyLock<Denials> = LazyLock::new(Denials::new);

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A caller who did not say who they are, or not so that it could be believed.
    Unauthenticated,
    /// A caller without the scope.
    PermissionDenied,
    /// A caller who named what is somebody else's, and was told that there is no such thing.
    Concealed,
    /// A caller who calls too often.
    RateLimited,
    /// A call that needs [`Scope::Admin`], by a caller who has it.
    Administrative,
    /// A change on the admin port.
    AdminPort,
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
    pub method: &'static str,
    /// The account, or the transaction, that the call names first.
    pub account: &'a str,
    /// What they call the request.
    pub request_id: &'a str,
    /// Whether it was a dry run, which changes nothing.
    pub validate_only: bool,
    /// What became of it.
    pub outcome: Code,
    /// Why, where that is for the operator only.
    pub reason: &'a str,
    /// How many events this one stands for.
    pub times: u64,
}

impl Event<'static> {
    /// One of which no more is known.
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

impl Event<'_> {
    /// Records it: denials within the bounds of `denials`, everything else at once.
    pub fn record(self) {
        match self.kind {
            Kind::Administrative | Kind::AdminPort => write(self),
            Kind::Unauthenticated | Kind::PermissionDenied | Kind::Concealed | Kind::RateLimited => {
                DENIALS.count(self, write);
            }
        }
    }
}

fn write(event: Event<'_>) {
    let Event { kind, subject, peer, method, account, request_id, validate_only, .. } = event;
    let Event { outcome, reason, times, .. } = event;
    let peer = peer.map(tracing::field::display);
    tracing::info!(
        target: AUDIT_TRAIL,
        parent: None,
        event = kind.name(),
        subject,
        peer,
        method,
        account,
        request_id,
        validate_only,
        ?outcome,
        reason,
        times,
        "audit: {}",
        kind.name(),
    );
}

/// Whether what a caller does with a method may be an act of administration, and so an event even if it is
/// carried out after its caller has left.
pub(crate) fn is_for_administration(caller: &Identity, method: Method) -> bool {
    let administers = caller.scopes().contains(Scope::Admin) && !caller.is_operator();
    administers || method.rule().scope == Some(Scope::Admin)
}

/// Writes what has been counted, every so often and when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Flushing(AbortOnDropHandle<()>);

impl Flushing {
    /// Begins with it. Needs a runtime.
    pub fn start() -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(async {
            loop {
                sleep(FLUSH_INTERVAL).await;
                DENIALS.flush(write);
            }
        })))
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        self.0.abort();
        DENIALS.flush(write);
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
            Self::AdminPort => "admin_port",
        }
    }
}
