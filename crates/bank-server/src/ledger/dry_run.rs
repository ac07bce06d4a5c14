//! Dry runs: what batches would come to, each on what the batches before it would leave.
//!
//! Nothing is written, and each account is read once. So a dry run returns what a real run would return if nobody else used
//! its accounts meanwhile and its request ids were new. It reveals nothing of the balance of an account that its caller may
//! not see, however much it pays in: that balance is taken as zero.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bank_domain::{Account, AccountId, Context, Entry, Fingerprint, RequestId};
use bank_store::Store;
use tokio::time::{Instant, timeout_at};

use super::{
    error::Error,
    operation::{
        BatchResults, Executed, Operation, aborted, decide, find_apart, find_repeated, new_request_id,
    },
};

/// About what an account or a request takes in memory besides its contents: a slot in a table, and allocations.
const OVERHEAD_BYTES: usize = 64;

/// What the batches of a dry run would have left so far.
#[derive(Debug, Default)]
pub struct DryRun {
    /// `None` for an account that does not exist.
    accounts: HashMap<AccountId, Option<Arc<Account>>>,
    /// What requests with an id meant, and the outcome that a repetition gets.
    requests: HashMap<(AccountId, RequestId), (Fingerprint, Result<Executed, Error>)>,
    bytes: usize,
}

impl DryRun {
    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Runs the next batch. A batch whose accounts cannot be read changes nothing.
    pub(super) async fn next(
        &mut self,
        store: &dyn Store,
        operations: &[Operation],
        atomic: bool,
        deadline: Instant,
    ) -> Result<BatchResults, Error> {
        self.read(store, operations, deadline).await?;
        let clock = store.clock();
        let context = Context { now: clock.now()?, ahead_max: clock.ahead_max(), request_id: None };
        let chain = if atomic { operations.len().max(1) } else { 1 };
        let results = operations.chunks(chain).flat_map(|chain| {
            match find_apart(store, chain.iter().map(|operation| &operation.command)) {
                Some((index, error)) => aborted(chain.len(), index, error),
                None => self.all_or_none(chain, &context),
            }
        });
        Ok(results.collect())
    }

    /// Reads the accounts that it does not have yet.
    async fn read(
        &mut self,
        store: &dyn Store,
        operations: &[Operation],
        deadline: Instant,
    ) -> Result<(), Error> {
        let ids: HashSet<_> = operations.iter().flat_map(|it| it.command.account_ids()).collect();
        let missing: Vec<_> =
            ids.into_iter().filter(|id| !self.accounts.contains_key(*id)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let loaded = timeout_at(deadline, store.load(&missing)).await.map_err(|_| {
            let named = operations.iter().find_map(|operation| operation.request_id.clone());
            Error::DeadlineExceeded { request_id: named.unwrap_or_else(new_request_id) }
        })??;
        // All operations have one caller.
        let is_visible = |account: &Account| {
            operations.first().is_some_and(|operation| operation.access.reaches(&account.owner))
        };
        for (id, account) in missing.into_iter().zip(loaded) {
            let account = account.map(|mut account| {
                // A deposit that overflows the balance would reveal it.
                if !is_visible(&account) {
                    account.balance.minor_units = 0;
                }
                Arc::new(account)
            });
            self.put(id, account);
        }
        Ok(())
    }

    fn all_or_none(&mut self, operations: &[Operation], context: &Context) -> BatchResults {
        let count = operations.len();
        let requests = operations.iter().enumerate().filter_map(|(index, operation)| {
            Some((index, operation.command.account_id(), operation.request_id.as_ref()?))
        });
        if let Some((index, error)) = find_repeated(requests) {
            return aborted(count, index, error);
        }
        let known: Vec<_> = operations.iter().map(|operation| self.known(operation)).collect();
        if let Some(first) = known.iter().position(Option::is_some) {
            if known.iter().all(|known| matches!(known, Some(Ok(_)))) {
                return known.into_iter().flatten().collect();
            }
            let Operation { command, request_id, .. } = &operations[first];
            let error = known.into_iter().flatten().next().and_then(Result::err);
            let error = error.unwrap_or_else(|| Error::PartlyExecuted {
                request_id: request_id.clone().unwrap_or_else(new_request_id),
                account_id: command.account_id().clone(),
            });
            return aborted(count, first, error);
        }
        let touched = operations.iter().flat_map(|operation| operation.command.account_ids());
        let before: Vec<_> =
            touched.map(|id| (id.clone(), self.accounts.get(id).cloned().flatten())).collect();
        let mut results = Vec::with_capacity(count);
        for (index, operation) in operations.iter().enumerate() {
            let result = self.decide(operation, context);
            if let Err(error) = &result {
                for (id, account) in before {
                    self.put(id, account);
                }
                self.record(operation, &result);
                return aborted(count, index, error.clone());
            }
            results.push(result);
        }
        for (operation, result) in operations.iter().zip(&results) {
            self.record(operation, result);
        }
        results
    }

    fn decide(&mut self, operation: &Operation, context: &Context) -> Result<Executed, Error> {
        let Operation { access, command, request_id } = operation;
        let account = |id: &AccountId| self.accounts.get(id).and_then(Option::as_deref);
        let context = Context { request_id: request_id.clone(), ..context.clone() };
        let plan = decide(access, account, command, &context)
            .map_err(|rejection| Error::Rejected { rejection, replayed: false })?;
        for account in plan.changes().map(|change| &change.account) {
            self.put(account.id.clone(), Some(Arc::clone(account)));
        }
        Ok(Executed { entry: plan.primary.entry, replayed: false })
    }

    /// The outcome of a request that was made before.
    fn known(&self, operation: &Operation) -> Option<Result<Executed, Error>> {
        let request_id = operation.request_id.clone()?;
        let account_id = operation.command.account_id().clone();
        let (fingerprint, result) = self.requests.get(&(account_id.clone(), request_id.clone()))?;
        let account = self.accounts.get(&account_id).and_then(Option::as_deref);
        operation.access.note_command(&operation.command, account);
        if *fingerprint != operation.command.fingerprint() {
            return Some(Err(Error::RequestIdReused { request_id, account_id }));
        }
        Some(result.clone())
    }

    fn record(&mut self, operation: &Operation, result: &Result<Executed, Error>) {
        let Some(request_id) = operation.request_id.clone() else { return };
        let mut result = result.clone();
        match &mut result {
            Err(Error::Rejected { rejection, .. }) if !rejection.is_outcome() => return,
            Ok(Executed { replayed, .. }) | Err(Error::Rejected { replayed, .. }) => *replayed = true,
            Err(_) => return,
        }
        let entry =
            result.as_ref().map_or(0, |done| size_of::<Entry>() + done.entry.description.as_str().len());
        self.bytes += OVERHEAD_BYTES
            + size_of_val(&result)
            + 2 * size_of::<RequestId>()
            + request_id.as_str().len()
            + entry;
        let key = (operation.command.account_id().clone(), request_id);
        self.requests.insert(key, (operation.command.fingerprint(), result));
    }

    fn put(&mut self, id: AccountId, account: Option<Arc<Account>>) {
        self.bytes += bytes_of(&id, account.as_deref());
        if let Some(before) = self.accounts.insert(id.clone(), account) {
            self.bytes -= bytes_of(&id, before.as_deref());
        }
    }
}

fn bytes_of(id: &AccountId, account: Option<&Account>) -> usize {
    let account = account.map_or(0, |account| {
        let labels: usize =
            account.labels.iter().map(|(key, value)| key.len() + value.len() + 2 * size_of::<String>()).sum();
        size_of::<Account>() + account.owner.as_str().len() + labels
    });
    OVERHEAD_BYTES + 2 * size_of::<AccountId>() + id.as_str().len() + account
}
