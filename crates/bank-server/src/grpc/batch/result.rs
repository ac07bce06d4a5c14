//! The results of the operations of a batch, for its caller and for the audit trail.

use std::{collections::BTreeMap, mem, net::SocketAddr, vec};

use bank_domain::{AccountId, OpenAccount, RequestId};
use bank_proto::v1::{self, operation_result::Outcome};
use tonic::Code;

use crate::{
    auth::{Access, Extent, Identity, Method, ScopeMissing},
    grpc::{call::CallRecord, render},
    ledger::{self, Executed},
    metrics::Metrics,
    status::{Failure, operation_error},
};

/// What the result of an operation needs to know of it.
pub(super) struct BatchItem {
    pub(super) method: Method,
    /// The account that it names first.
    pub(super) account_id: AccountId,
    /// The account that it opens.
    pub(super) opened: Option<OpenAccount>,
    pub(super) request_id: Option<RequestId>,
    /// Whether its caller may use it.
    pub(super) access: Result<Access, ScopeMissing>,
}

/// What the audit trail says of every operation of a batch.
#[derive(Clone, Copy)]
pub(super) struct AuditContext<'a> {
    pub(super) caller: &'a Identity,
    pub(super) peer: Option<SocketAddr>,
    pub(super) validate_only: bool,
}

/// The results of a batch so far. Operations without a result when this is dropped may have been carried out, and are
/// audited as cancelled.
pub(super) struct Results<'a> {
    audit: AuditContext<'a>,
    receipts_only: bool,
    /// The operations without a result.
    open: vec::IntoIter<BatchItem>,
    messages: Vec<v1::OperationResult>,
    codes: BTreeMap<i32, u64>,
    /// The last error. While a store is unavailable, all operations have the same.
    last_error: Option<(ledger::Error, v1::OperationError)>,
}

impl<'a> Results<'a> {
    pub(super) fn new(audit: AuditContext<'a>, receipts_only: bool, items: Vec<BatchItem>) -> Self {
        let open = items.into_iter();
        Self { audit, receipts_only, open, messages: Vec::new(), codes: BTreeMap::new(), last_error: None }
    }

    /// Nothing was carried out, and nothing is audited.
    pub(super) fn discard(&mut self) {
        self.open = Vec::new().into_iter();
    }

    /// Adds the results of all operations. `result` gets each and its index.
    pub(super) fn add_all(&mut self, mut result: impl FnMut(usize, &BatchItem) -> Result<Executed, Failure>) {
        while let Some(item) = self.open.next() {
            let (outcome, code) = match result(self.messages.len(), &item) {
                Ok(executed) => (self.done(&item, executed), 0),
                Err(failure) => {
                    let error = self.error(failure);
                    let code = error.code;
                    (Outcome::Error(error), code)
                }
            };
            *self.codes.entry(code).or_default() += 1;
            self.record(&item, Code::from(code));
            self.messages.push(v1::OperationResult { outcome: Some(outcome) });
        }
    }

    /// Returns all results.
    pub(super) fn finish(mut self, metrics: &Metrics) -> Vec<v1::OperationResult> {
        metrics.batch_ended(self.messages.len(), &self.codes);
        mem::take(&mut self.messages)
    }

    fn done(&self, item: &BatchItem, executed: Executed) -> Outcome {
        if self.receipts_only {
            return Outcome::Receipt(render::receipt(&executed));
        }
        macro_rules! outcome {
            ($($method:ident $render:ident)*) => {
                match item.method {
                    $(Method::$method => {
                        let dry_run = self.audit.validate_only;
                        Outcome::$method(Box::new(render::$render(item.opened.as_ref(), executed, dry_run)))
                    })*
                    // No other method has operations.
                    _ => Outcome::Receipt(render::receipt(&executed)),
                }
            };
        }
        outcome! {
            Deposit deposit
            Withdraw withdraw
            Transfer transfer
            CalculateInterest calculate_interest
            CreateAccount create_account
            SetOverdraftLimit set_overdraft_limit
            FreezeAccount freeze_account
            UnfreezeAccount unfreeze_account
            CloseAccount close_account
        }
    }

    fn error(&mut self, failure: Failure) -> v1::OperationError {
        let Failure::Ledger(error) = failure else { return operation_error(failure) };
        if let Some((_, message)) = self.last_error.as_ref().filter(|(last, _)| *last == error) {
            return message.clone();
        }
        let message = operation_error(Failure::Ledger(error.clone()));
        self.last_error = Some((error, message.clone()));
        message
    }

    fn record(&self, item: &BatchItem, outcome: Code) {
        let AuditContext { caller, peer, validate_only } = self.audit;
        let (method, account) = (item.method, item.account_id.as_str());
        let request_id = item.request_id.as_ref().map_or("", RequestId::as_str);
        let extent = item.access.as_ref().map_or(Extent::Unknown, Access::extent);
        CallRecord { caller, peer, method, account, request_id, validate_only, outcome, extent }.audit();
    }
}

impl Drop for Results<'_> {
    fn drop(&mut self) {
        while let Some(item) = self.open.next() {
            let outcome = if item.access.is_err() { Code::PermissionDenied } else { Code::Cancelled };
            self.record(&item, outcome);
        }
    }
}
