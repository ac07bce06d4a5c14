//! Requests, replies, and what is stored in the end.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bank_client::EntryKind;

/// Something to ask a bank for. Amounts are in minor units of one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Opens an account that may go so far below zero.
    Open { account: String, overdraft_limit: i64 },
    /// Pays in.
    Deposit { account: String, amount: i64 },
    /// Pays out.
    Withdraw { account: String, amount: i64 },
    /// Moves.
    Transfer { from: String, to: String, amount: i64 },
    /// Reads the balance alone.
    GetBalance { account: String },
    /// Reads the balance with the version.
    GetAccount { account: String },
    /// Reads all accounts as of one instant.
    ListAccounts,
}

/// When an operation took effect at the latest and at the earliest, since the recording began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Before the first byte of the request was sent.
    pub invoked: Duration,
    /// After the reply was read, or given up.
    pub replied: Duration,
}

/// What one client asked for once, however often it had to repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The request id of a movement; unique for reads, too.
    pub id: String,
    pub action: Action,
    /// Which server was asked last.
    pub server: usize,
    pub span: Span,
    pub outcome: Outcome,
}

/// The reply that a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done: the entry's sequence on the account named first, and the balance with it.
    Acknowledged { sequence: u64, balance: i64 },
    /// There was not enough money, and so much of it.
    Rejected { balance: i64, available: i64 },
    /// Nothing was done, for a reason that passes.
    NotDone(String),
    /// It may have been done, and may still be.
    Unknown(String),
    /// The answer to [`Action::GetBalance`].
    Balance(i64),
    /// The answer to the other reads.
    Accounts(Vec<Seen>),
    /// A read that failed.
    Unread(String),
}

/// An account as a read showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub account: String,
    pub version: u64,
    pub balance: i64,
}

/// What is left of an operation on one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub sequence: u64,
    /// The operation that it is of; empty if its caller gave none.
    pub request_id: String,
    /// The same on both sides of a transfer.
    pub transaction_id: String,
    pub kind: EntryKind,
    /// Signed.
    pub amount: i64,
    pub balance_after: i64,
    /// The other account of a transfer.
    pub counterparty: Option<String>,
}

/// All entries of every account, oldest first.
pub type Books = BTreeMap<String, Vec<Entry>>;

/// Writes down operations as they end.
pub struct Recorder {
    began: Instant,
    operations: Mutex<Vec<Operation>>,
    next_id: AtomicU64,
}

impl Recorder {
    pub fn begin() -> Self {
        Self { began: Instant::now(), operations: Mutex::default(), next_id: AtomicU64::new(1) }
    }

    /// The time since the recording began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A name for an operation that nothing else has.
    pub fn fresh_id(&self) -> String {
        format!("op-{}", self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes down an operation that has just ended.
    pub fn record(&self, id: String, action: Action, server: usize, invoked: Duration, outcome: Outcome) {
        let span = Span { invoked, replied: self.now() };
        self.operations.lock().unwrap().push(Operation { id, action, server, span, outcome });
    }

    /// Everything so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap().clone()
    }

    /// How many movements a server acknowledged that it was asked for after a time.
    pub fn acknowledged_since(&self, server: usize, time: Duration) -> usize {
        let operations = self.operations.lock().unwrap();
        let is_one = |operation: &&Operation| {
            operation.server == server
                && operation.span.invoked >= time
                && matches!(operation.outcome, Outcome::Acknowledged { .. })
        };
        // They are in the order of their replies.
        operations.iter().rev().take_while(|operation| operation.span.replied >= time).filter(is_one).count()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { account, .. } => write!(f, "opening of {account}"),
            Self::Deposit { account, amount } => write!(f, "deposit of {amount} to {account}"),
            Self::Withdraw { account, amount } => write!(f, "withdrawal of {amount} from {account}"),
            Self::Transfer { from, to, amount } => write!(f, "transfer of {amount} from {from} to {to}"),
            Self::GetBalance { account } => write!(f, "read of the balance of {account}"),
            Self::GetAccount { account } => write!(f, "read of account {account}"),
            Self::ListAccounts => f.write_str("list of all accounts"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged { sequence, balance } => {
                write!(f, "acknowledged as version {sequence} with balance {balance}")
            }
            Self::Rejected { balance, available } => {
                write!(f, "refused at balance {balance}, {available} available")
            }
            Self::NotDone(reason) => write!(f, "not done: {reason}"),
            Self::Unknown(reason) => write!(f, "unknown: {reason}"),
            Self::Balance(balance) => write!(f, "balance {balance}"),
            Self::Accounts(seen) => {
                for (number, Seen { account, version, balance }) in seen.iter().enumerate() {
                    let separator = if number == 0 { "" } else { ", " };
                    write!(f, "{separator}{account} at version {version} with balance {balance}")?;
                }
                Ok(())
            }
            Self::Unread(reason) => write!(f, "unread: {reason}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, action, span, outcome, .. } = self;
        let seconds = |time: Duration| time.as_secs_f64();
        write!(
            f,
            "{id} ({action}, from {:.6} to {:.6} s: {outcome})",
            seconds(span.invoked),
            seconds(span.replied)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_since_counts_movements_of_one_server() {
        let recorder = Recorder::begin();
        let record = |server, outcome| {
            let action = Action::Deposit { account: "a".to_owned(), amount: 1 };
            let invoked = recorder.now();
            recorder.record(recorder.fresh_id(), action, server, invoked, outcome);
        };
        let acknowledged = Outcome::Acknowledged { sequence: 1, balance: 1 };
        record(0, acknowledged.clone());
        let since = recorder.now();
        record(0, acknowledged.clone());
        record(1, acknowledged.clone());
        record(0, Outcome::NotDone(String::new()));
        record(0, Outcome::Unknown(String::new()));
        let action = Action::Deposit { account: "a".to_owned(), amount: 1 };
        recorder.record(recorder.fresh_id(), action, 0, Duration::ZERO, acknowledged);
        assert_eq!(recorder.acknowledged_since(0, Duration::ZERO), 3);
        assert_eq!(recorder.acknowledged_since(0, since), 1);
        assert_eq!(recorder.acknowledged_since(1, since), 1);

        let operations = recorder.operations();
        assert!(operations.windows(2).all(|two| two[0].id != two[1].id));
        assert!(operations.iter().all(|operation| operation.span.invoked <= operation.span.replied));
    }
}
