//! Replays a history entry by entry and checks the rules of the bank.

use super::fault::{BrokenRule, Fault};
use crate::{Account, AccountState, AccountType, Entry, EntryHash, EntryKind, Timestamp, TransactionId};

/// The state of an account after some of its entries.
#[derive(Clone, Debug)]
pub(super) struct Replay<'a> {
    account: &'a Account,
    balance: i64,
    limit: i64,
    state: AccountState,
    time: Timestamp,
}

impl<'a> Replay<'a> {
    pub(super) fn new(account: &'a Account) -> Self {
        Self { account, balance: 0, limit: 0, state: AccountState::Active, time: account.opened_at }
    }

    /// Applies the next entry, if the rules allow it.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), BrokenRule> {
        let (amount, balance) = (entry.amount.minor_units, entry.balance_after.minor_units);
        self.check_opening(entry)?;
        self.check_currency(entry)?;
        if entry.time < self.time {
            return Err(BrokenRule::Time);
        }
        self.check_state(entry)?;
        check_amount(entry)?;
        let expected = i128::from(self.balance) + i128::from(amount);
        if expected != i128::from(balance) {
            return Err(BrokenRule::Balance { expected, found: balance });
        }
        check_transaction(entry)?;

        (self.balance, self.time) = (balance, entry.time);
        match entry.kind {
            EntryKind::AccountOpened { overdraft_limit: limit } | EntryKind::OverdraftLimitSet { limit } => {
                if limit.minor_units < 0
                    || (limit.minor_units > 0 && self.account.account_type == AccountType::Savings)
                {
                    return Err(BrokenRule::Limit { limit });
                }
                self.limit = limit.minor_units;
            }
            EntryKind::AccountFrozen => self.state = AccountState::Frozen,
            EntryKind::AccountUnfrozen => self.state = AccountState::Active,
            EntryKind::AccountClosed => self.state = AccountState::Closed,
            EntryKind::Deposit
            | EntryKind::Withdrawal
            | EntryKind::TransferOut { .. }
            | EntryKind::TransferIn { .. }
            | EntryKind::Interest { .. } => {}
        }
        if self.balance < -self.limit {
            let limit = entry.balance_after.with_minor_units(self.limit);
            return Err(BrokenRule::Floor { balance: entry.balance_after, limit });
        }
        if self.state == AccountState::Closed && self.balance != 0 {
            return Err(BrokenRule::Closing { balance: entry.balance_after });
        }
        Ok(())
    }

    fn check_opening(&self, entry: &Entry) -> Result<(), BrokenRule> {
        let opens = matches!(entry.kind, EntryKind::AccountOpened { .. });
        let is_first = entry.sequence == 1;
        if opens != is_first || (is_first && entry.time != self.account.opened_at) {
            return Err(BrokenRule::Opening);
        }
        Ok(())
    }

    fn check_currency(&self, entry: &Entry) -> Result<(), BrokenRule> {
        let limit = match entry.kind {
            EntryKind::AccountOpened { overdraft_limit: limit } | EntryKind::OverdraftLimitSet { limit } => {
                Some(limit)
            }
            _ => None,
        };
        let mut all = [entry.amount, entry.balance_after].into_iter().chain(limit);
        if all.all(|money| money.currency == self.account.currency) {
            Ok(())
        } else {
            Err(BrokenRule::Currency)
        }
    }

    fn check_state(&self, entry: &Entry) -> Result<(), BrokenRule> {
        let is_allowed = match (self.state, &entry.kind) {
            (AccountState::Active, kind) => !matches!(kind, EntryKind::AccountUnfrozen),
            (AccountState::Frozen, kind) => {
                matches!(kind, EntryKind::Deposit | EntryKind::TransferIn { .. } | EntryKind::AccountUnfrozen)
            }
            (AccountState::Closed, _) => false,
        };
        if is_allowed { Ok(()) } else { Err(BrokenRule::State { state: self.state }) }
    }

    /// Compares the account with the state after all entries.
    pub(super) fn compare(&self, version: u64, head: EntryHash) -> Result<(), Fault> {
        let account = self.account;
        let of = |minor_units| account.balance.with_minor_units(minor_units).to_string();
        for (field, expected, found) in [
            ("version", version.to_string(), account.version.to_string()),
            ("balance", of(self.balance), account.balance.to_string()),
            ("overdraft limit", of(self.limit), account.overdraft_limit.to_string()),
            ("state", self.state.as_str().to_owned(), account.state.as_str().to_owned()),
            ("time of change", self.time.to_string(), account.updated_at.to_string()),
            ("hash", head.to_string(), account.head.to_string()),
        ] {
            if expected != found {
                return Err(Fault::AccountChanged { field, expected, found });
            }
        }
        Ok(())
    }
}

fn check_amount(entry: &Entry) -> Result<(), BrokenRule> {
    let amount = entry.amount.minor_units;
    let is_right = match entry.kind {
        EntryKind::Deposit | EntryKind::TransferIn { .. } => amount > 0,
        EntryKind::Withdrawal | EntryKind::TransferOut { .. } => amount < 0,
        EntryKind::Interest { .. } => true,
        EntryKind::AccountOpened { .. }
        | EntryKind::OverdraftLimitSet { .. }
        | EntryKind::AccountFrozen
        | EntryKind::AccountUnfrozen
        | EntryKind::AccountClosed => amount == 0,
    };
    if is_right { Ok(()) } else { Err(BrokenRule::Amount { amount: entry.amount }) }
}

fn check_transaction(entry: &Entry) -> Result<(), BrokenRule> {
    let TransactionId { account_id, entry_id } = &entry.transaction_id;
    if entry.kind.counterparty() == Some(&entry.account_id) {
        return Err(BrokenRule::Counterparty);
    }
    let is_right = match &entry.kind {
        EntryKind::TransferIn { source } => account_id == source && entry_id.time == entry.time,
        _ => *account_id == entry.account_id && *entry_id == entry.id(),
    };
    if is_right { Ok(()) } else { Err(BrokenRule::Transaction) }
}
