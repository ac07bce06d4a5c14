//! Batches: each operation is read as the message of its own method is.

use bank_domain::{Command, RequestId};
use bank_proto::v1::{self, operation::Kind};

use super::{Assumed, Mutation, ParseWith as _, Violations};
use crate::{auth::Method, status::Failure};

/// How many violations are told of. They travel in headers, which clients take only so many of.
const VIOLATIONS_MAX: usize = 20;
/// How many bytes of text they have. The text is in the message of an error, and twice in its details, which are in
/// base64: this keeps all of it below 8 KiB, which is what some clients accept of headers.
const VIOLATION_BYTES_MAX: usize = 2_000;

/// What is wrong with an operation of no kind, or of one that this server does not know.
const NO_KIND: &str = "is none of deposit, withdraw, transfer, calculate_interest, create_account, \
                       set_overdraft_limit, freeze_account, unfreeze_account, close_account";

/// Operations to be carried out in their order.
pub(in crate::grpc) struct Batch {
    pub(in crate::grpc) operations: Vec<Operation>,
    pub(in crate::grpc) atomic: bool,
    pub(in crate::grpc) receipts_only: bool,
    pub(in crate::grpc) validate_only: bool,
}

/// One of them.
pub(in crate::grpc) struct Operation {
    /// The method that it would be a call of.
    pub(in crate::grpc) method: Method,
    pub(in crate::grpc) command: Command,
    pub(in crate::grpc) request_id: Option<RequestId>,
}

impl Batch {
    /// Reads a batch of at most so many operations.
    pub(in crate::grpc) fn parse(
        message: v1::ExecuteBatchRequest,
        assumed: &Assumed<'_>,
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
            operations.extend(violations.operation(index, message, assumed)?);
        }
        violations.keep(VIOLATIONS_MAX, VIOLATION_BYTES_MAX, "operations");
        violations.finish(Some(Self { operations, atomic, receipts_only, validate_only }))
    }

    /// The same of a message of a stream.
    pub(in crate::grpc) fn parse_of_stream(
        message: v1::ExecuteStreamRequest,
        assumed: &Assumed<'_>,
        operations_max: usize,
    ) -> Result<Self, Failure> {
        let v1::ExecuteStreamRequest { operations, atomic, receipts_only, validate_only } = message;
        let message = v1::ExecuteBatchRequest { operations, atomic, receipts_only, validate_only };
        Self::parse(message, assumed, operations_max)
    }
}

impl Violations {
    fn operation(
        &mut self,
        index: usize,
        message: v1::Operation,
        assumed: &Assumed<'_>,
    ) -> Result<Option<Operation>, Failure> {
        let (method, field, parsed) = match message.kind {
            Some(Kind::Deposit(message)) => {
                (Method::Deposit, "deposit", Mutation::parse_with(message, assumed))
            }
            Some(Kind::Withdraw(message)) => {
                (Method::Withdraw, "withdraw", Mutation::parse_with(message, assumed))
            }
            Some(Kind::Transfer(message)) => {
                (Method::Transfer, "transfer", Mutation::parse_with(message, assumed))
            }
            Some(Kind::CalculateInterest(message)) => {
                let parsed = Mutation::parse_with(*message, assumed);
                (Method::CalculateInterest, "calculate_interest", parsed)
            }
            Some(Kind::CreateAccount(message)) => {
                (Method::CreateAccount, "create_account", Mutation::parse_with(*message, assumed))
            }
            Some(Kind::SetOverdraftLimit(message)) => {
                (Method::SetOverdraftLimit, "set_overdraft_limit", Mutation::parse_with(message, assumed))
            }
            Some(Kind::FreezeAccount(message)) => {
                (Method::FreezeAccount, "freeze_account", Mutation::parse_with(message, assumed))
            }
            Some(Kind::UnfreezeAccount(message)) => {
                (Method::UnfreezeAccount, "unfreeze_account", Mutation::parse_with(message, assumed))
            }
            Some(Kind::CloseAccount(message)) => {
                (Method::CloseAccount, "close_account", Mutation::parse_with(message, assumed))
            }
            None => {
                self.add(format_args!("operations[{index}]"), NO_KIND);
                return Ok(None);
            }
        };
        match parsed {
            Ok(Mutation { validate_only: true, .. }) => {
                let field = format_args!("operations[{index}].{field}.validate_only");
                self.add(field, "must be false; set validate_only of the batch");
                Ok(None)
            }
            Ok(Mutation { command, request_id, .. }) => Ok(Some(Operation { method, command, request_id })),
            Err(Failure::Invalid(found)) => {
                self.add_all(format_args!("operations[{index}].{field}"), found);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}
