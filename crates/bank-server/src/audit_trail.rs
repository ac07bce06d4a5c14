//! The audit trail: denied calls, and administrative operations.
//!
//! Audit events have a target of their own, `AUDIT_TRAIL`, and are logged whatever `log.level` and `log.filter` say.
//! Their fields are names and numbers of fixed kinds, so they cannot contain secrets.

mod denials;
mod event;

use std::{sync::LazyLock, time::Duration};

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use self::denials::Denials;
pub use self::event::{Event, Kind};
use crate::{
    auth::{Identity, Method, Scope},
    telemetry::AUDIT_TRAIL,
};

/// How often counted denials are logged.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// The denials of this process, which has one audit trail as it has one log.
static DENIALS: LazyLock<Denials> = LazyLock::new(Denials::new);

impl Event<'_> {
    /// Logs the event, denials within limits (`denials.rs`).
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
    let (peer, kind) = (peer.map(tracing::field::display), <&str>::from(kind));
    tracing::info!(
        target: AUDIT_TRAIL,
        parent: None,
        event = kind,
        subject,
        peer,
        method,
        account,
        request_id,
        validate_only,
        ?outcome,
        reason,
        times,
        "audit: {kind}",
    );
}

/// Whether a call may be administrative, and so has an audit event even if it completes after its caller has left.
pub(crate) fn is_for_administration(caller: &Identity, method: Method) -> bool {
    let administers = caller.scopes().contains(Scope::Admin) && !caller.is_operator();
    administers || method.rule().scope == Some(Scope::Admin)
}

/// Logs counted denials every five seconds and when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Flushing(AbortOnDropHandle<()>);

impl Flushing {
    /// Starts a task, which needs a runtime.
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
