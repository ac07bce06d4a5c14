//! Proposals, which a store commits, and its answers.

use std::{collections::HashMap, fmt, sync::Arc};

use bank_domain::{
    Account, AccountId, Entry, EntryHash, EntryId, Fingerprint, Plan, Rejection, RequestId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Who made a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(Option<Arc<str>>);

impl Caller {
    /// A caller by name.
    pub fn new(name: &str) -> Self {
        Self((!name.is_empty()).then(|| name.into()))
    }

    /// The caller on a server without authentication.
    pub fn anonymous() -> Self {
        Self::new("")
    }

    /// The name; empty for the anonymous caller.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Identifies a request: its id is unique only for one caller and one account. Keys are ordered by account, id and
/// caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The account that the request names first.
    pub account_id: AccountId,
    /// The idempotency key that the caller chose.
    pub request_id: RequestId,
    /// Who made the request.
    pub caller: Caller,
}

/// Identifies one attempt at a request: a random number per decision. A proposal that is sent again recognizes its
/// own record by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt(pub u64);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A decision that is committed only if the accounts have not changed since.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The request that was decided.
    pub key: RequestKey,
    /// Identifies the content of the request.
    pub fingerprint: Fingerprint,
    /// The attempt at the request.
    pub attempt: Attempt,
    /// Whether a rejection leaves a request record. A plan always leaves one, since its commit may have to be sent
    /// again.
    pub rejection_recorded: bool,
    /// Every account that was read for the decision, with its head then; `None` if it did not exist. The account
    /// that the request names first is first.
    ///
    /// Everything that a decision depends on follows from the chain of entries, so equal heads mean equal states.
    /// Versions would not do: a store that lost its last writes assigns the same versions again to other entries.
    pub decided_on: Vec<(AccountId, Option<EntryHash>)>,
    /// When it was decided, by the clock of the server.
    pub decided_at: Timestamp,
    /// What to write, or why the request was rejected.
    pub decision: Result<Plan, Rejection>,
    /// Whether this proposal and the next one in the commit are applied together or not at all. A run of linked
    /// proposals and the one after it are a chain.
    pub linked: bool,
}

impl Proposal {
    /// Whether it leaves a request record when it is applied.
    pub fn is_recorded(&self) -> bool {
        self.rejection_recorded || self.decision.is_ok()
    }

    /// The record of its request, if it is applied.
    pub(crate) fn record(&self) -> RequestRecord {
        let outcome = match &self.decision {
            Ok(plan) => RecordedOutcome::Entry(plan.primary.entry.id()),
            Err(rejection) => RecordedOutcome::Rejected(Box::new(rejection.clone())),
        };
        let recorded_at = u64::try_from(self.decided_at.unix_ms() / 1000).unwrap_or_default();
        RequestRecord { fingerprint: self.fingerprint, attempt: self.attempt, recorded_at, outcome }
    }
}

/// What became of one proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its changes and its record are in the store.
    Applied,
    /// An account has changed since the decision; nothing was written. Decide again on [`Committed::current`].
    Conflict,
    /// The request already had an outcome; nothing was written.
    Replayed(RecordedOutcome<Arc<Entry>>),
    /// The request key was used for a request with other content; nothing was written.
    RequestIdReused,
    /// The stored data of an account is damaged; nothing was written.
    Damaged(String),
    /// Another proposal of its chain prevented it; nothing was written.
    Abandoned,
}

/// What is stored about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord<E = EntryId> {
    /// Identifies the content of the request.
    pub fingerprint: Fingerprint,
    /// The attempt that had this outcome.
    pub attempt: Attempt,
    /// In seconds since 1970-01-01T00:00:00Z.
    pub recorded_at: u64,
    /// What became of the request.
    pub outcome: RecordedOutcome<E>,
}

impl<E> RequestRecord<E> {
    /// Replaces the reference to the entry, if there is one.
    pub(crate) fn try_map<F>(
        self,
        entry: impl FnOnce(E) -> Result<F, StoreError>,
    ) -> Result<RequestRecord<F>, StoreError> {
        let outcome = match self.outcome {
            RecordedOutcome::Entry(found) => RecordedOutcome::Entry(entry(found)?),
            RecordedOutcome::Rejected(rejection) => RecordedOutcome::Rejected(rejection),
        };
        let Self { fingerprint, attempt, recorded_at, .. } = self;
        Ok(RequestRecord { fingerprint, attempt, recorded_at, outcome })
    }
}

/// The outcome of a request. The embedded store writes it in this form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordedOutcome<E = EntryId> {
    /// The entry on the account that the request names first, or a reference to it.
    #[serde(rename = "e")]
    Entry(E),
    /// A business rule rejected the request.
    #[serde(rename = "r")]
    Rejected(Box<Rejection>),
}

/// The answer to a commit.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// One for each proposal, in order.
    pub outcomes: Vec<Outcome>,
    /// Every account of every proposal that was not applied, as it is after the commit; `None` if it does not exist.
    /// Missing are the accounts of a chain whose rejection was recorded, and accounts that cannot be read.
    pub current: HashMap<AccountId, Option<Account>>,
}
