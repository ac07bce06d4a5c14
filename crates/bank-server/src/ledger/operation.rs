//! What callers ask of the ledger, and what comes of it.

use std::{collections::HashMap, sync::Arc};

use bank_domain::{Account, AccountId, Command, Context, Entry, Plan, Rejection, RequestId};
use bank_store::{Store, StoreProperties};
use uuid::Uuid;

use super::error::Error;
use crate::auth::Access;

/// A command, and who asks for it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The caller, and which accounts they may see.
    pub access: Access,
    /// The command.
    pub command: Command,
    /// The idempotency key, if the caller chose one.
    pub request_id: Option<RequestId>,
}

/// The outcome of a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// The entry on the account that the command names first. A reply follows from the command and this entry.
    pub entry: Arc<Entry>,
    /// Whether an earlier call with the same request id carried it out.
    pub replayed: bool,
}

/// The outcomes of the operations of a batch, in order.
pub type BatchResults = Vec<Result<Executed, Error>>;

/// Decides a command on the accounts that its caller may see. An account that they may not see is rejected like one
/// that does not exist.
pub(super) fn decide<'a>(
    access: &Access,
    account: impl Fn(&AccountId) -> Option<&'a Account>,
    command: &Command,
    context: &Context,
) -> Result<Plan, Rejection> {
    access.note_command(command, account(command.account_id()));
    let visible = |id: &AccountId| {
        if id == command.account_id() {
            access.primary(account(id))
        } else {
            access.counterparty(account(id))
        }
    };
    bank_domain::decide(visible, command, context)
}

/// Finds two operations of an atomic batch with one request id on one account: they cannot both be carried out and be
/// one request. Returns the index of the second, and the error.
pub(super) fn find_repeated<'a>(
    mut requests: impl Iterator<Item = (usize, &'a AccountId, &'a RequestId)>,
) -> Option<(usize, Error)> {
    let mut indexes = HashMap::new();
    requests.find_map(|(second, account_id, request_id)| {
        let first = indexes.insert((account_id, request_id), second)?;
        let (account_id, request_id) = (account_id.clone(), request_id.clone());
        Some((second, Error::RequestIdRepeated { request_id, account_id, first, second }))
    })
}

/// The first operation whose accounts the store does not change together with those before it, given operations that take
/// effect together.
pub(super) fn find_apart<'a>(
    store: &dyn Store,
    commands: impl Iterator<Item = &'a Command>,
) -> Option<(usize, Error)> {
    let StoreProperties { commits_span_partitions, placement, .. } = store.properties();
    if *commits_span_partitions {
        return None;
    }
    let mut ids =
        commands.enumerate().flat_map(|(index, command)| command.account_ids().map(move |id| (index, id)));
    let (_, first) = ids.next()?;
    let partition = placement.of(first);
    let (index, other) = ids.find(|(_, id)| placement.of(id) != partition)?;
    let (account_id, other_account_id) = (first.clone(), other.clone());
    Some((index, Error::AccountsNotTogether { account_id, other_account_id }))
}

/// The results of an atomic batch of which one operation failed.
pub(super) fn aborted(count: usize, failed_operation: usize, error: Error) -> BatchResults {
    let mut results: BatchResults =
        (0..count).map(|_| Err(Error::BatchAborted { failed_operation })).collect();
    results[failed_operation] = Err(error);
    results
}

pub(super) fn new_request_id() -> RequestId {
    Uuid::new_v4().to_string().parse().unwrap_or_else(|_| unreachable!("a UUID is visible ASCII"))
}
