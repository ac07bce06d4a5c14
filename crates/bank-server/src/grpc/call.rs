//! One call: how long it may take, and what is written down of it.

use std::{net::SocketAddr, time::Duration};

use bank_proto::v1;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument as _, Span, field::Empty};

use super::status::{Failure, status};
use crate::{
    audit,
    auth::{Access, Extent, Identity, Method, Scope},
    server::Peer,
};

/// How much earlier than the caller the server gives up, so that its answer is the one that counts.
const DEADLINE_MARGIN_MAX: Duration = Duration::from_millis(10);

/// Names are logged up to here; longer ones are refused anyway.
const LOGGED_NAME_LENGTH_MAX: usize = 128;

/// What a message says about itself for the log.
pub(super) trait Names {
    /// The account that it names first; empty where it names none.
    fn account(&self) -> &str;
    /// What its caller calls it; empty where it has no name.
    fn request_id(&self) -> &str;
}

macro_rules! names {
    ($($message:ident { $account:ident $(, $request_id:ident)? })*) => {
        $(impl Names for v1::$message {
            fn account(&self) -> &str {
                &self.$account
            }
            fn request_id(&self) -> &str {
                names!(@request_id self $($request_id)?)
            }
        })*
    };
    (@request_id $message:ident) => { "" };
    (@request_id $message:ident $request_id:ident) => { &$message.$request_id };
}

names! {
    CreateAccountRequest { account_id, request_id }
    DepositRequest { account_id, request_id }
    WithdrawRequest { account_id, request_id }
    TransferRequest { account_id, request_id }
    CalculateInterestRequest { account_id, request_id }
    SetOverdraftLimitRequest { account_id, request_id }
    FreezeAccountRequest { account_id, request_id }
    UnfreezeAccountRequest { account_id, request_id }
    CloseAccountRequest { account_id, request_id }
    GetAccountRequest { account_id }
    GetBalanceRequest { account_id }
    ListTransactionsRequest { account_id }
    GetTransactionRequest { transaction_id }
}

impl Names for v1::ListAccountsRequest {
    fn account(&self) -> &'static str {
        ""
    }

    fn request_id(&self) -> &'static str {
        ""
    }
}

/// What a call comes to, and how far it reached for that.
pub(super) struct Answer<Reply> {
    pub(super) reply: Reply,
    pub(super) extent: Extent,
}

/// A call under way. It is written down when it ends, however it ends.
pub(super) struct Call {
    caller: Option<Identity>,
    peer: Option<SocketAddr>,
    method: Method,
    account: String,
    request_id: String,
    span: Span,
    started: Instant,
    deadline: Instant,
    ended: bool,
}

impl Call {
    pub(super) fn begin<Message: Names>(
        method: Method,
        request: &Request<Message>,
        timeout_max: Duration,
    ) -> Self {
        let message = request.get_ref();
        let (account, request_id) = (shortened(message.account()), shortened(message.request_id()));
        let caller = request.extensions().get::<Identity>().cloned();
        let span = tracing::info_span!(
            target: "bank::call",
            "call",
            method = method.name(),
            caller = caller.as_ref().map(|caller| caller.subject().as_str()),
            account,
            request_id,
            outcome = Empty,
            latency_us = Empty,
        );
        let started = Instant::now();
        let asked = request.metadata().get("grpc-timeout").and_then(|value| timeout(value.to_str().ok()?));
        let timeout = asked.map_or(timeout_max, |asked| {
            timeout_max.min(asked.saturating_sub(DEADLINE_MARGIN_MAX.min(asked / 10)))
        });
        Self {
            caller,
            peer: request.extensions().get::<Peer>().map(|Peer(address)| *address),
            method,
            account: account.to_owned(),
            request_id: request_id.to_owned(),
            span,
            started,
            deadline: started + timeout,
            ended: false,
        }
    }

    /// When the work on it must be done.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Answers the call with what `work` comes to before the deadline, if its caller has leave for it.
    pub(super) async fn run<Reply>(
        mut self,
        work: impl AsyncFnOnce(Access) -> Result<Answer<Reply>, Failure>,
    ) -> Result<Response<Reply>, Status> {
        // The ledger watches the deadline of what it was given, and says more when it passes.
        let late = self.deadline + DEADLINE_MARGIN_MAX;
        let work = async {
            let caller = self.caller.clone().ok_or(Failure::Unidentified)?;
            work(Access::grant(caller, self.method)?).await
        };
        let result = timeout_at(late, work.instrument(self.span.clone())).await;
        let result = result.unwrap_or(Err(Failure::DeadlineExceeded));
        let extent = result.as_ref().map_or_else(Failure::extent, |answer| answer.extent);
        let result = result.map_err(status);
        self.end(result.as_ref().map_or_else(Status::code, |_| Code::Ok), extent);
        result.map(|answer| Response::new(answer.reply))
    }

    fn end(&mut self, outcome: Code, extent: Extent) {
        self.ended = true;
        let latency_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.span.record("outcome", tracing::field::debug(outcome));
        self.span.record("latency_us", latency_us);
        self.span.in_scope(|| {
            if outcome == Code::Ok {
                tracing::debug!(target: "bank::call", "{} done", self.method.name());
            } else {
                tracing::info!(target: "bank::call", "{} ended with {outcome:?}", self.method.name());
            }
        });
        if let Some(kind) = self.audited(outcome, extent) {
            audit::Event {
                kind,
                subject: self.caller.as_ref().map_or("", |caller| caller.subject().as_str()),
                peer: self.peer,
                method: self.method.name(),
                account: &self.account,
                request_id: &self.request_id,
                outcome: &format!("{outcome:?}"),
                reason: "",
                times: 1,
            }
            .write();
        }
    }

    /// What the audit trail calls it, if it is for the audit trail.
    fn audited(&self, outcome: Code, extent: Extent) -> Option<audit::Kind> {
        let caller = self.caller.as_ref()?;
        let administers = caller.scopes().contains(Scope::Admin);
        match (outcome, extent) {
            (Code::PermissionDenied, _) => Some(audit::Kind::PermissionDenied),
            (_, Extent::Beyond) if administers => Some(audit::Kind::Administrative),
            (_, Extent::Beyond) => Some(audit::Kind::Concealed),
            _ if self.method.rule().scope == Scope::Admin => Some(audit::Kind::Administrative),
            // It may be done all the same, and nobody could say to whom.
            (Code::Cancelled | Code::DeadlineExceeded | Code::Unknown, Extent::Unknown)
                if administers && !caller.is_operator() =>
            {
                Some(audit::Kind::Administrative)
            }
            _ => None,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Code::Cancelled, Extent::Unknown);
        }
    }
}

fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(LOGGED_NAME_LENGTH_MAX)]
}

/// Reads a `grpc-timeout`: up to eight digits and a unit.
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 60 * 60)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("1n", Some(Duration::from_nanos(1))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1x", None),
            ("-1S", None),
            ("123456789S", None),
            ("1é", None),
        ] {
            assert_eq!(timeout(text), expected, "{text:?}");
        }
    }
}
