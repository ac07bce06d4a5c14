//! The limits of a ledger.

use std::time::Duration;

/// The limits of a ledger.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// How many commands may wait on one lane; one more is refused at once.
    pub queue_commands_max: usize,
    /// How many commands share one commit.
    pub batch_commands_max: usize,
    /// How many accounts each lane caches between commits.
    pub accounts_remembered_max: usize,
    /// How long a commit with an unknown outcome is sent again before its callers are told so.
    pub outcome_timeout: Duration,
    /// The pause before a commit is sent again.
    pub resend_pause: Duration,
}
