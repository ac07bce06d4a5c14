//! What became of each operation of a batch, as its caller and the audit trail are told.

use std::{collections::BTreeMap, mem, net::SocketAddr, vec};

use bank_domain::{AccountId, Command, RequestId};
use bank_proto::v1::{self, operation_result::Outcome};
use tonic::Code;

use crate::{
    auth::{Extent, Identity, Method, ScopeMissing},
    grpc::{call::Deed, render},
    ledger::{self, Executed},
    metrics::Metrics,
    status::{Failure, operation_error},
};

/// An operation that was asked for.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) command: Command,
    pub(super) request_id: Option<RequestId>,
    /// Why its caller may not.
    pub(super) denied: Option<ScopeMissing>,
}

/// What the audit trail says of every operation of a batch.
#[derive(Clone, Copy)]
pub(super) struct Trail<'a> {
    pub(super) caller: &'a Identity,
    pub(super) peer: Option<SocketAddr>,
    pub(super) validate_only: bool,
}

/// The results of a batch so far. Operations that have none when this is dropped may have been carried out, and the audit
/// trail says so.
pub(super) struct Results<'a> {
    trail: Trail<'a>,
    receipts_only: bool,
    /// The operations without a result.
    open: vec::IntoIter<Asked>,
    messages: Vec<v1::OperationResult>,
    codes: BTreeMap<i32, u64>,
    /// The error that was told last: where a store is away, all have the same.
    told: Option<(ledger::Error, v1::OperationError)>,
}

impl<'a> Results<'a> {
    pub(super) fn new(trail: Trail<'a>, receipts_only: bool, asked: Vec<Asked>) -> Self {
        let open = asked.into_iter();
        Self { trail, receipts_only, open, messages: Vec::new(), codes: BTreeMap::new(), told: None }
    }

    /// Nothing was carried out.
    pub(super) fn discard(&mut self) {
        self.open = Vec::new().into_iter();
    }

    /// Adds the results of all operations, given the place of each, and why its caller may not.
    pub(super) fn add_all(
        &mut self,
        mut result: impl FnMut(usize, Option<ScopeMissing>) -> Result<Executed, Failure>,
    ) {
        while let Some(mut asked) = self.open.next() {
            let denied = asked.denied.take();
            let result = result(self.messages.len(), denied);
            self.add(asked, result);
        }
    }

    fn add(&mut self, asked: Asked, result: Result<Executed, Failure>) {
        let Asked { method, command, request_id, .. } = asked;
        let account_id = command.account_id().clone();
        let (extent, outcome) = match result {
            Ok(executed) => {
                let extent = executed.extent;
                (extent, self.done(method, &command, executed))
            }
            Err(failure) => (failure.extent(), Outcome::Error(self.error(failure))),
        };
        let code = match &outcome {
            Outcome::Error(error) => error.code,
            _ => 0,
        };
        *self.codes.entry(code).or_default() += 1;
        self.write_down(method, &account_id, request_id.as_ref(), Code::from(code), extent);
        self.messages.push(v1::OperationResult { outcome: Some(outcome) });
    }

    /// All of them.
    pub(super) fn finish(mut self, metrics: &Metrics) -> Vec<v1::OperationResult> {
        metrics.batch_ended(self.messages.len(), &self.codes);
        mem::take(&mut self.messages)
    }

    fn done(&self, method: Method, command: &Command, executed: Executed) -> Outcome {
        if self.receipts_only {
            return Outcome::Receipt(render::receipt(&executed));
        }
        match method {
            Method::Deposit => Outcome::Deposit(Box::new(render::deposit(command, executed))),
            Method::Withdraw => Outcome::Withdraw(Box::new(render::withdraw(command, executed))),
            Method::Transfer => Outcome::Transfer(Box::new(render::transfer(command, executed))),
            Method::CalculateInterest => {
                Outcome::CalculateInterest(Box::new(render::calculate_interest(command, executed)))
            }
            Method::CreateAccount => {
                Outcome::CreateAccount(Box::new(render::create_account(command, executed)))
            }
            Method::SetOverdraftLimit => {
                Outcome::SetOverdraftLimit(Box::new(render::set_overdraft_limit(command, executed)))
            }
            Method::FreezeAccount => {
                Outcome::FreezeAccount(Box::new(render::freeze_account(command, executed)))
            }
            Method::UnfreezeAccount => {
                Outcome::UnfreezeAccount(Box::new(render::unfreeze_account(command, executed)))
            }
            Method::CloseAccount => Outcome::CloseAccount(Box::new(render::close_account(command, executed))),
            // No other method has operations.
            _ => Outcome::Receipt(render::receipt(&executed)),
        }
    }

    fn error(&mut self, failure: Failure) -> v1::OperationError {
        let Failure::Ledger(error) = failure else { return operation_error(failure) };
        if let Some((_, told)) = self.told.as_ref().filter(|(last, _)| *last == error) {
            return told.clone();
        }
        let told = operation_error(Failure::Ledger(error.clone()));
        self.told = Some((error, told.clone()));
        told
    }

    fn write_down(
        &self,
        method: Method,
        account_id: &AccountId,
        request_id: Option<&RequestId>,
        outcome: Code,
        extent: Extent,
    ) {
        let request_id = request_id.map_or("", RequestId::as_str);
        let Trail { caller, peer, validate_only } = self.trail;
        let account = account_id.as_str();
        Deed { caller, peer, method, account, request_id, validate_only, outcome, extent }.write_down();
    }
}

impl Drop for Results<'_> {
    fn drop(&mut self) {
        while let Some(Asked { method, command, request_id, denied }) = self.open.next() {
            let outcome = if denied.is_some() { Code::PermissionDenied } else { Code::Cancelled };
            self.write_down(method, command.account_id(), request_id.as_ref(), outcome, Extent::Unknown);
        }
    }
}
