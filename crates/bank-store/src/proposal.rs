//! What is sent to a store to be committed, and what it answers.

use std::{collections::HashMap, fmt, sync::Arc};

use bank_domain::{Account, AccountId, Entry, EntryHash, Fingerprint, Plan, Rejection, RequestId, Timestamp};

/// Who made a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(Option<Arc<str>>);

impl Caller {
    /// A caller by name.
    pub fn new(name: &str) -> Self {
        Self((!name.is_empty()).then(|| name.into()))
    }

    /// Anybody: who calls a server that asks nobody for a name.
    pub fn anonymous() -> Self {
        Self::new("")
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// What names a request: an id means nothing outside the caller who chose it and the account that
/// the request names first. They are ordered by account, id and caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The account that it names first.
    pub account_id: AccountId,
    /// What the caller called it.
    pub request_id: RequestId,
    /// Who made it.
    pub caller: Caller,
}

/// Tells one try at a request from another. Drawn at random for each decision, so that a proposal
/// that is sent again recognises its own record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt(pub u64);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A decision to be made true, if it was decided on what the store holds.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The request that it is the outcome of.
    pub key: RequestKey,
    /// What the request means.
    pub fingerprint: Fingerprint,
    /// Which try at the request this is.
    pub attempt: Attempt,
    /// Whether a rejection is kept as the outcome of the request. That of a request which nobody can
    /// repeat need not be. A plan always leaves a record: its commit may have to be sent again.
    pub rejection_recorded: bool,
    /// Every account it was decided on, the one that the request names first before the others, with
    /// its head at that time: the hash of its newest entry, or `None` if it did not exist.
    ///
    /// Everything a decision depends on follows from the chain of entries, so equal heads are equal
    /// states. A version would not do: a store that lost its last writes counts the same versions
    /// again with other entries, and a server with a stale cache would spend money that is gone.
    pub decided_on: Vec<(AccountId, Option<EntryHash>)>,
    /// When it was decided, by the clock of the server. Its entries are of that time, or of the newest entry before
    /// them if that is later.
    pub decided_at: Timestamp,
    /// What to write, or why nothing may be written.
    pub decision: Result<Plan, Rejection>,
    /// Whether it stands or falls with the one after it in its commit: a run of linked proposals and
    /// the one that ends it are a chain.
    pub linked: bool,
}

impl Proposal {
    /// Whether it leaves a request record once it is applied.
    pub fn is_recorded(&self) -> bool {
        self.rejection_recorded || self.decision.is_ok()
    }

    /// When it was decided, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) fn decided_at_seconds(&self) -> u64 {
        u64::try_from(self.decided_at.unix_ms() / 1000).unwrap_or_default()
    }
}

/// What became of one proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is true now: its changes and its record are in the store.
    Applied,
    /// It was decided on what is no longer so; nothing was written. Decide again on
    /// [`Committed::current`].
    Conflict,
    /// The request had an outcome already; nothing was written.
    Replayed(Recorded),
    /// The request id has been used for a request that means something else; nothing was written.
    RequestIdReused,
    /// What is stored of an account is not what this bank writes; nothing was written.
    Damaged(String),
    /// Another proposal of its chain kept it from being applied; nothing was written.
    Abandoned,
}

/// The chains of a commit, in order; a proposal that is linked to no other is one by itself.
pub(crate) fn chains(proposals: &[Proposal]) -> impl Iterator<Item = &[Proposal]> {
    proposals.chunk_by(|proposal, _| proposal.linked)
}

/// The outcome of a request, as its record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was carried out: the entry on the account that it names first.
    Entry(Arc<Entry>),
    /// It was refused.
    Rejected(Rejection),
}

/// The answer to a commit.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// One for each proposal, in order.
    pub outcomes: Vec<Outcome>,
    /// Every account of every proposal that did not apply, as it is after the commit, but for chains of which the
    /// rejection was recorded; `None` for one that does not exist. One that cannot be read is left out: whoever
    /// loads it learns why.
    pub current: HashMap<AccountId, Option<Account>>,
}
