//! What backends need to know about accounts and entries.

use bank_domain::{Account, AccountType, EntryKind};

/// The first field of an account with a value that the bank never writes.
pub(crate) fn unsound_field(account: &Account) -> Option<&'static str> {
    let limit = account.overdraft_limit.minor_units;
    if limit < 0 || (limit > 0 && account.account_type == AccountType::Savings) {
        return Some("overdraft_limit");
    }
    if account.balance.minor_units < -limit {
        return Some("balance");
    }
    if account.version == 0 || i64::try_from(account.version).is_err() {
        return Some("version");
    }
    None
}

/// Whether an entry changes more of its account than the balance, version, time and head.
pub(crate) fn changes_properties(kind: &EntryKind) -> bool {
    match kind {
        EntryKind::AccountOpened { .. }
        | EntryKind::OverdraftLimitSet { .. }
        | EntryKind::AccountFrozen
        | EntryKind::AccountUnfrozen
        | EntryKind::AccountClosed => true,
        EntryKind::Deposit
        | EntryKind::Withdrawal
        | EntryKind::TransferOut { .. }
        | EntryKind::TransferIn { .. }
        | EntryKind::Interest { .. } => false,
    }
}
