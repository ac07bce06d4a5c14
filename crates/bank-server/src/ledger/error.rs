//! Why a command was not carried out.

use bank_domain::{AccountId, Rejection, RequestId};
use bank_store::{StoreError, clock::ClockOff};

/// Why a command was not carried out, or is not known to have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A business rule forbids it.
    #[error("{rejection}")]
    Rejected {
        /// The rule.
        rejection: Rejection,
        /// Whether this is the outcome of an earlier call with the same request id.
        replayed: bool,
    },
    /// The request id was used for something else.
    #[error("request id {request_id} has been used on account {account_id} for a different request")]
    RequestIdReused {
        /// The id.
        request_id: RequestId,
        /// The account that scopes it.
        account_id: AccountId,
    },
    /// Two operations of an atomic batch have one request id. Nothing was done.
    #[error(
        "operations {first} and {second} of the atomic batch both have the request id {request_id} on account \
         {account_id}; each needs its own"
    )]
    RequestIdRepeated {
        /// The id.
        request_id: RequestId,
        /// The account that scopes it.
        account_id: AccountId,
        /// The index of one operation, counted from 0.
        first: usize,
        /// The index of the other.
        second: usize,
    },
    /// An operation of an atomic batch was carried out before, and others were not. Nothing was done.
    #[error(
        "request id {request_id} on account {account_id} was carried out before, and other operations of its \
         batch were not"
    )]
    PartlyExecuted {
        /// The id.
        request_id: RequestId,
        /// The account that scopes it.
        account_id: AccountId,
    },
    /// The accounts are in different partitions, which the store does not change together. Nothing was done.
    #[error(
        "accounts {account_id} and {other_account_id} are not stored together, so they cannot be changed together; \
         accounts are stored together if their ids are equal up to the first \":\""
    )]
    AccountsNotTogether {
        /// The account that is named first.
        account_id: AccountId,
        /// The first one that is stored elsewhere.
        other_account_id: AccountId,
    },
    /// Another operation of the atomic batch failed. Nothing was done.
    #[error("operation {failed_operation} of the atomic batch failed")]
    BatchAborted {
        /// Its index, counted from 0.
        failed_operation: usize,
    },
    /// Too many commands wait already. Nothing was done.
    #[error("{commands_max} commands wait already")]
    QueueFull {
        /// How many may wait.
        commands_max: usize,
    },
    /// The deadline passed. It may have been done, or may still be.
    #[error("the deadline passed")]
    DeadlineExceeded {
        /// The request to repeat, to find out.
        request_id: RequestId,
    },
    /// The store did not answer in time. It may have been done.
    #[error("the outcome is not known: {reason}")]
    OutcomeUnknown {
        /// The request to repeat, to find out.
        request_id: RequestId,
        /// What the store said last.
        reason: String,
    },
    /// The clock of the server is wrong, so entries cannot be dated. Nothing was done.
    #[error(transparent)]
    ClockOff(#[from] ClockOff),
    /// The server is stopping. Nothing was done.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The store could not do it. Nothing was done.
    #[error(transparent)]
    Store(#[from] StoreError),
}
