//! Dry runs: what batches would come to, one after another, each on what those before would leave.
//!
//! Nothing is written, and nothing is read but accounts, each once. So a dry run tells what a real run would come to
//! if nobody else used its accounts meanwhile, and if its request ids were not used before it. It tells nothing of the
//! balance of an account that is not the caller's, however much it pays into it: that is taken to be zero.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bank_domain::{Account, AccountId, Context, Entry, Fingerprint, RequestId};
use bank_store::Store;
use tokio::time::{Instant, timeout_at};

use super::{
    Batch, BatchResults, Error, Executed, Operation, aborted, decide, repetition,
    submission::fresh_request_id,
};

/// What an account or a request takes besides its contents, about: its slot in a table, and what allocations cost.
const OVERHEAD_BYTES: usize = 64;

/// What the batches of a dry run have come to so far.
#[derive(Debug, Default)]
pub struct DryRun {
    /// As they would leave them; `None` for one that does not exist.
    accounts: HashMap<AccountId, Option<Arc<Account>>>,
    /// What named requests meant and came to, as a repetition of them is answered.
    requests: HashMap<(AccountId, RequestId), (Fingerprint, Result<Executed, Error>)>,
    bytes: usize,
}

impl DryRun {
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the next batch would come to. A batch whose accounts cannot be read changes nothing.
    pub(super) async fn next(&mut self, store: &dyn Store, batch: Batch) -> Result<BatchResults, Error> {
        let Batch { operations, atomic, deadline } = batch;
        self.read(store, &operations, deadline).await?;
        let clock = store.clock();
        let context = Context { now: clock.now()?, ahead_max: clock.ahead_max(), request_id: None };
        if atomic {
            return Ok(self.all_or_none(&operations, &context));
        }
        Ok(operations.iter().map(|operation| self.execute(operation, &context)).collect())
    }

    /// Reads the accounts that are not known yet.
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
            Error::DeadlineExceeded { request_id: named.unwrap_or_else(fresh_request_id) }
        })??;
        // One caller makes all of them.
        let is_visible = |account: &Account| {
            operations.first().is_some_and(|operation| operation.access.reaches(&account.owner))
        };
        for (id, account) in missing.into_iter().zip(loaded) {
            let account = account.map(|mut account| {
                // Else whoever pays more and more into it would learn its balance, from when it is full.
                if !is_visible(&account) {
                    account.balance.minor_units = 0;
                }
                Arc::new(account)
            });
            self.put(id, account);
        }
        Ok(())
    }

    fn execute(&mut self, operation: &Operation, context: &Context) -> Result<Executed, Error> {
        if let Some(known) = self.known(operation) {
            return known;
        }
        let result = self.decide(operation, context);
        self.record(operation, &result);
        result
    }

    fn all_or_none(&mut self, operations: &[Operation], context: &Context) -> BatchResults {
        let count = operations.len();
        let named = operations.iter().enumerate().filter_map(|(place, operation)| {
            Some((place, operation.command.account_id(), operation.request_id.as_ref()?))
        });
        if let Some((place, error)) = repetition(named) {
            return aborted(count, place, error);
        }
        let known: Vec<_> = operations.iter().map(|operation| self.known(operation)).collect();
        if known.iter().all(|known| matches!(known, Some(Ok(_)))) {
            return known.into_iter().flatten().collect();
        }
        let known = known.into_iter().zip(operations).enumerate();
        let mut known = known.filter_map(|(place, (known, operation))| Some((place, known?, operation)));
        if let Some((place, known, operation)) = known.next() {
            let error = known.err().unwrap_or_else(|| Error::PartlyExecuted {
                request_id: operation.request_id.clone().unwrap_or_else(fresh_request_id),
                account_id: operation.command.account_id().clone(),
            });
            return aborted(count, place, error);
        }
        let touched = operations.iter().flat_map(|operation| operation.command.account_ids());
        let before: Vec<_> =
            touched.map(|id| (id.clone(), self.accounts.get(id).cloned().flatten())).collect();
        let mut results = Vec::with_capacity(count);
        for (place, operation) in operations.iter().enumerate() {
            let result = self.decide(operation, context);
            if let Err(error) = &result {
                for (id, account) in before {
                    self.put(id, account);
                }
                self.record(operation, &result);
                return aborted(count, place, error.clone());
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
        let extent = access.extent(command, account(command.account_id()));
        let context = Context { request_id: request_id.clone(), ..context.clone() };
        let plan = decide(access, account, command, &context).map_err(|rejection| Error::Rejected {
            rejection,
            replayed: false,
            extent,
        })?;
        for account in plan.changes().map(|change| &change.account) {
            self.put(account.id.clone(), Some(Arc::clone(account)));
        }
        Ok(Executed { entry: plan.primary.entry, replayed: false, dry_run: true, extent })
    }

    /// What a request comes to that was made before.
    fn known(&self, operation: &Operation) -> Option<Result<Executed, Error>> {
        let request_id = operation.request_id.clone()?;
        let account_id = operation.command.account_id().clone();
        let (fingerprint, result) = self.requests.get(&(account_id.clone(), request_id.clone()))?;
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
