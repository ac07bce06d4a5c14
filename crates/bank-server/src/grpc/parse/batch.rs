//! Batches: each operation is read like the message of its own method.

use bank_domain::{Command, RequestId};
use bank_proto::v1::{self, operation::Kind};

use super::{
    base::{Defaults, Parse as _},
    violations::Violations,
};
use crate::{auth::Method, grpc::message::RequestFields as _, status::Failure};

/// How many violations are reported. They travel in headers, of which clients accept a limited size.
const VIOLATIONS_MAX: usize = 20;
/// How many bytes of text they have. The text is in the message of an error, and twice in its details, which are in
/// base64: this keeps all of it below 8 KiB, which is what some clients accept of headers.
const VIOLATION_BYTES_MAX: usize = 2_000;

/// Reported for an operation without a kind, or of one that this server does not know.
const NO_KIND: &str = "is none of deposit, withdraw, transfer, calculate_interest, create_account, \
                       set_overdraft_limit, freeze_account, unfreeze_account, close_account";

/// Operations to be carried out in order.
pub(in crate::grpc) struct Batch {
    pub(in crate::grpc) operations: Vec<BatchOperation>,
    pub(in crate::grpc) atomic: bool,
    pub(in crate::grpc) receipts_only: bool,
    pub(in crate::grpc) validate_only: bool,
}

pub(in crate::grpc) struct BatchOperation {
    /// The method that the operation is a call of.
    pub(in crate::grpc) method: Method,
    pub(in crate::grpc) command: Command,
    pub(in crate::grpc) request_id: Option<RequestId>,
}

impl Batch {
    /// Reads a batch of 1 to `operations_max` operations.
    pub(in crate::grpc) fn parse(
        message: v1::ExecuteBatchRequest,
        defaults: &Defaults<'_>,
        operations_max: usize,
    ) -> Result<Self, Failure> {
        let v1::ExecuteBatchRequest { operations: messages, atomic, receipts_only, validate_only } = message;
        let mut violations = Violations::default();
        let count = messages.len();
        if !(1..=operations_max).contains(&count) {
            violations
                .add("operations", format!("has {count} operations; 1 to {operations_max} are allowed"));
            return violations.finish(None);
        }
        let mut operations = Vec::with_capacity(count);
        for (index, message) in messages.into_iter().enumerate() {
            operations.extend(read_operation(index, message, defaults, &mut violations));
        }
        violations.keep(VIOLATIONS_MAX, VIOLATION_BYTES_MAX, "operations");
        violations.finish(Some(Self { operations, atomic, receipts_only, validate_only }))
    }
}

fn read_operation(
    index: usize,
    message: v1::Operation,
    defaults: &Defaults<'_>,
    violations: &mut Violations,
) -> Option<BatchOperation> {
    let mut inner = Violations::default();
    macro_rules! read {
        ($($kind:ident $field:literal)*) => {
            match message.kind {
                $(Some(Kind::$kind(message)) => {
                    if message.fields().validate_only {
                        inner.add("validate_only", "must be false; set validate_only of the batch");
                    }
                    (Method::$kind, $field, <(Command, _)>::read(message, defaults, &mut inner))
                })*
                None => {
                    violations.add(format_args!("operations[{index}]"), NO_KIND);
                    return None;
                }
            }
        };
    }
    let (method, field, read) = read! {
        Deposit "deposit"
        Withdraw "withdraw"
        Transfer "transfer"
        CalculateInterest "calculate_interest"
        CreateAccount "create_account"
        SetOverdraftLimit "set_overdraft_limit"
        FreezeAccount "freeze_account"
        UnfreezeAccount "unfreeze_account"
        CloseAccount "close_account"
    };
    violations.add_all(format_args!("operations[{index}].{field}"), inner);
    let (command, request_id) = read?;
    Some(BatchOperation { method, command, request_id })
}
