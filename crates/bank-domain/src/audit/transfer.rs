//! Whether the two entries of a transfer match.

use crate::{AccountId, Entry, EntryKind};

/// The two entries of a transfer do not match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The other entry is missing.
    #[error("account {account_id} has no entry of it")]
    Missing {
        /// The account that it should be on.
        account_id: AccountId,
    },
    /// The other entry has another value.
    #[error("the entry of it on account {account_id} has another {field}")]
    Differs {
        /// The account that it is on.
        account_id: AccountId,
        /// The field that differs.
        field: &'static str,
    },
}

/// Checks that `other` is the entry on the other account of a transfer: the opposite amount from or to this
/// account, with the same transaction id, time, request id and description. Other entries have no counterpart.
///
/// # Errors
/// The first [`Mismatch`].
pub fn match_sides(entry: &Entry, other: Option<&Entry>) -> Result<(), Mismatch> {
    let Some(account_id) = entry.kind.counterparty() else { return Ok(()) };
    let account_id = account_id.clone();
    let Some(other) = other else { return Err(Mismatch::Missing { account_id }) };
    let opposite = other.amount.checked_neg();
    let is_opposite_kind = match entry.kind {
        EntryKind::TransferOut { .. } => matches!(other.kind, EntryKind::TransferIn { .. }),
        _ => matches!(other.kind, EntryKind::TransferOut { .. }),
    };
    let differs = [
        ("account", other.account_id != account_id),
        ("transaction id", other.transaction_id != entry.transaction_id),
        ("kind", !is_opposite_kind),
        ("counterparty", other.kind.counterparty() != Some(&entry.account_id)),
        ("amount", opposite != Ok(entry.amount)),
        ("time", other.time != entry.time),
        ("request id", other.request_id != entry.request_id),
        ("description", other.description != entry.description),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        Some((field, _)) => Err(Mismatch::Differs { account_id, field }),
        None => Ok(()),
    }
}
