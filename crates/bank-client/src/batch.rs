//! Batches: many operations in one call.

use std::{
    future::IntoFuture,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bank_proto::v1;
use futures::future::BoxFuture;

use crate::{
    Error,
    client::{BankClient, Target, large_replies},
    error::Effect,
    method::Stub,
    operation::{self, Done, Operation},
};

/// The outcomes of the operations of a batch, in order.
pub type Results = Vec<Result<Done, Error>>;

/// Operations that are sent together, executed in order, and answered one by one. Created by
/// [`BankClient::batch`] and sent when it is awaited. Every call that changes an account can be an operation.
///
/// Later operations see the effects of earlier ones, so one batch can open an account and pay into it.
///
/// Each operation has a request id from the start. Temporary failures are retried with the same ids, as the
/// client's [`RetryPolicy`](crate::RetryPolicy) allows, and so is a clone of the batch: nothing is executed twice.
///
/// ```no_run
/// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
/// use bank_client::{Currency, Money, Route};
///
/// let amount = Money { currency: Currency::USD, minor_units: 2_500 };
/// let results = client
///     .batch()
///     .add(client.deposit("alice", amount))
///     .add(client.transfer(Route { from: "alice", to: "bob" }, amount))
///     .add(client.withdraw("bob", amount).description("cash"))
///     .await?;
/// for result in results {
///     match result {
///         Ok(done) => println!("the balance is {}", done.brief().balance),
///         Err(error) => println!("{error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a batch is sent when it is awaited"]
pub struct Batch {
    client: BankClient,
    operations: Vec<Operation>,
    atomic: bool,
    brief: bool,
    validate_only: bool,
    timeout: Option<Duration>,
}

impl Batch {
    pub(crate) fn new(client: BankClient) -> Self {
        let operations = Vec::new();
        Self { client, operations, atomic: false, brief: false, validate_only: false, timeout: None }
    }

    /// Adds an operation: a [`Call`](crate::Call) that changes an account, with its options. The call is then not
    /// made by itself.
    #[expect(clippy::should_implement_trait, reason = "it adds to a list, not to a number")]
    pub fn add(mut self, operation: impl Into<Operation>) -> Self {
        self.operations.push(operation.into());
        self
    }

    /// Executes all operations or none: if one fails, the others fail with [`Error::BatchAborted`], which names it.
    pub fn atomic(mut self) -> Self {
        self.atomic = true;
        self
    }

    /// Asks for a [`BriefReceipt`](crate::BriefReceipt) of each operation, which costs both sides less.
    pub fn brief(mut self) -> Self {
        self.brief = true;
        self
    }

    /// Only checks the operations, each against the accounts as those before it would leave them; on a
    /// [`Stream`](crate::Stream), those of the batches before it, too. A request id that is used twice is treated as
    /// it would be; one that was used before counts as unused.
    pub fn validate_only(mut self) -> Self {
        self.validate_only = true;
        self
    }

    /// The time limit for the batch with all its retries, instead of that of the client.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The operations so far.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Sends the batch. The same as `.await`.
    ///
    /// # Errors
    /// If nothing was executed, for a reason that concerns the whole batch. Unknown outcomes are in the results of
    /// the operations.
    pub async fn send(self) -> Result<Results, Error> {
        let progress = Progress::new(&self);
        let attempts = self.client.attempts(self.timeout);
        let outcome = attempts.run(|left| self.attempt(&progress, left)).await;
        progress.finish(outcome)
    }

    /// Sends what has no outcome yet.
    async fn attempt(&self, progress: &Progress<'_>, left: Duration) -> Result<(), Error> {
        let (open, request) = progress.begin();
        let send = |stub: Stub, request| async move { large_replies(stub).execute_batch(request).await };
        let target = Target { account_id: self.account(), timeout: Some(left), request_id: None };
        let reply = self.client.send(request, target, send).await;
        progress.take(&open, reply)
    }

    /// The account that decides which server gets the batch.
    pub(crate) fn account(&self) -> Option<&str> {
        self.operations.first().map(Operation::account)
    }

    pub(crate) fn is_validate_only(&self) -> bool {
        self.validate_only
    }

    pub(crate) fn request(&self, operations: impl Iterator<Item = Operation>) -> v1::ExecuteBatchRequest {
        v1::ExecuteBatchRequest {
            operations: operations.map(|Operation { kind, .. }| v1::Operation { kind: Some(kind) }).collect(),
            atomic: self.atomic,
            receipts_only: self.brief,
            validate_only: self.validate_only,
        }
    }

    /// What the bank says of its operations.
    pub(crate) fn read(&self, wire: Vec<v1::OperationResult>) -> Result<Results, Error> {
        read(wire, self.operations.iter())
    }
}

impl IntoFuture for Batch {
    type Output = Result<Results, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

fn read<'a>(
    wire: Vec<v1::OperationResult>,
    operations: impl ExactSizeIterator<Item = &'a Operation>,
) -> Result<Results, Error> {
    if wire.len() != operations.len() {
        let problem = format!("{} results of {} operations", wire.len(), operations.len());
        return Err(Error::InvalidReply(problem));
    }
    let results = wire.into_iter().zip(operations);
    results.map(|(wire, operation)| Ok(operation::result(wire, operation.request_id())?)).collect()
}

/// The state of a batch over all attempts.
struct Progress<'a> {
    batch: &'a Batch,
    state: Mutex<State>,
}

struct State {
    /// None where the operation has no outcome yet.
    results: Vec<Option<Result<Done, Error>>>,
    /// Whether an attempt of unknown outcome may have executed the operation.
    in_doubt: Vec<bool>,
    /// The operations of the attempt that is under way.
    asked: Vec<usize>,
    /// The operation whose error stands for those of all that may be repeated.
    representative: Option<usize>,
}

impl<'a> Progress<'a> {
    fn new(batch: &'a Batch) -> Self {
        let results = batch.operations.iter().map(|_| None).collect();
        let in_doubt = vec![false; batch.operations.len()];
        let state = State { results, in_doubt, asked: Vec::new(), representative: None };
        Self { batch, state: Mutex::new(state) }
    }

    /// What to send, and which operations that are.
    fn begin(&self) -> (Vec<usize>, v1::ExecuteBatchRequest) {
        let mut state = self.state();
        let is_open = |result: &Option<Result<Done, Error>>| match result {
            None => true,
            Some(result) => result.as_ref().is_err_and(Error::is_retryable),
        };
        let open: Vec<_> = (0..state.results.len()).filter(|&index| is_open(&state.results[index])).collect();
        state.asked.clone_from(&open);
        state.representative = None;
        let operations = open.iter().map(|&index| self.batch.operations[index].clone());
        let request = self.batch.request(operations);
        (open, request)
    }

    /// Takes what the bank says. An error if it is worth another attempt, or none can be.
    fn take(&self, open: &[usize], reply: Result<v1::ExecuteBatchResponse, Error>) -> Result<(), Error> {
        let operations = open.iter().map(|&index| &self.batch.operations[index]);
        let reply = reply.and_then(|reply| read(reply.results, operations));
        let mut state = self.state();
        state.asked.clear();
        let results = match reply {
            Ok(results) => results,
            Err(error) => {
                if error.effect() == Effect::Unknown {
                    state.doubt(open);
                }
                return Err(error);
            }
        };
        let retryable = |result: &Result<Done, Error>| result.as_ref().is_err_and(Error::is_retryable);
        let again = results.iter().position(retryable);
        let doubtful = |result: &Result<Done, Error>| {
            result.as_ref().is_err_and(|error| error.effect() == Effect::Unknown)
        };
        // The operations of an atomic batch are carried out together.
        let all = self.batch.atomic && results.iter().any(doubtful);
        for (&index, result) in open.iter().zip(&results) {
            state.in_doubt[index] |= all || doubtful(result);
        }
        for (&index, result) in open.iter().zip(results) {
            // The others of an atomic batch fail with the one that may be repeated.
            let settled = !self.batch.atomic || again.is_none() || retryable(&result);
            state.results[index] = settled.then_some(result);
        }
        match again.map(|again| open[again]) {
            None => Ok(()),
            Some(representative) => {
                state.representative = Some(representative);
                match state.results[representative].take() {
                    Some(Err(error)) => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }

    /// The outcome of each operation, given that of the last attempt.
    fn finish(self, outcome: Result<(), Error>) -> Result<Results, Error> {
        let batch = self.batch;
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut last = outcome.err();
        let asked = mem::take(&mut state.asked);
        state.doubt(&asked);
        if batch.validate_only {
            state.in_doubt.fill(false);
        }
        let nothing_known = state.representative.is_none() && state.results.iter().all(Option::is_none);
        let is_rejected = last.as_ref().is_some_and(Error::is_rejection);
        if let Some(error) =
            last.take_if(|_| nothing_known && (is_rejected || !state.in_doubt.contains(&true)))
        {
            return Err(error);
        }
        let why = last.as_ref().map(ToString::to_string).unwrap_or_default();
        let late = matches!(last, Some(Error::DeadlineExceeded { .. }));
        if let (Some(representative), Some(error)) = (state.representative, last) {
            state.results[representative] = Some(Err(error));
        }
        let undecided: Vec<_> = (0..state.results.len()).map(|index| state.is_undecided(index)).collect();
        let results = mem::take(&mut state.results).into_iter().zip(&batch.operations).enumerate();
        let results = results.map(|(index, (result, operation))| {
            let request_id = operation.request_id().filter(|_| state.in_doubt[index]).cloned();
            match (result, request_id) {
                (Some(Err(error)), Some(request_id)) if undecided[index] => {
                    Err(Error::OutcomeUnknown { request_id, message: error.to_string() })
                }
                (Some(result), _) => result,
                (None, Some(request_id)) if late => {
                    Err(Error::DeadlineExceeded { request_id: Some(request_id) })
                }
                (None, Some(request_id)) => Err(Error::OutcomeUnknown { request_id, message: why.clone() }),
                (None, None) => Err(Error::Unavailable { message: why.clone(), retry_after: None }),
            }
        });
        Ok(results.collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn doubt(&mut self, operations: &[usize]) {
        for &index in operations {
            self.in_doubt[index] = true;
        }
    }

    /// Whether the error of an operation leaves open what earlier attempts did.
    fn is_undecided(&self, index: usize) -> bool {
        let error = |index: usize| self.results.get(index)?.as_ref()?.as_ref().err();
        let Some(own) = error(index) else { return false };
        let decisive = match own {
            // It failed with that one.
            Error::BatchAborted { failed_operation } => error(*failed_operation).unwrap_or(own),
            own => own,
        };
        let says_nothing = own.is_retryable() || own.effect() == Effect::Nothing;
        says_nothing && !own.outcome_unknown() && !decisive.is_rejection()
    }
}

#[cfg(test)]
mod tests;
