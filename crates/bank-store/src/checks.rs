//! What an account that is read must keep to, whatever backend it is read from.

use bank_domain::{Account, AccountType};

/// The field of an account that is not as the bank writes it, if there is one.
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
