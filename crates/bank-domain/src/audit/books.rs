//! Whether all the money is there.

use std::collections::BTreeMap;

use crate::{Account, Currency, Entry, EntryKind, MoneySum, Timestamp};

/// Money paid in, paid out and held, for each currency.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// By the code of the currency.
    by_currency: BTreeMap<&'static str, Sums>,
}

/// The books of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Paid in from outside.
    pub money_in: MoneySum,
    /// Paid out of the bank.
    pub money_out: MoneySum,
    /// Booked as interest; may be negative.
    pub interest: MoneySum,
    /// The balance of all transfers.
    pub transferred: MoneySum,
    /// The balance of the transfers that were settled before the audit began.
    pub settled: MoneySum,
    /// The sum of all balances.
    pub held: MoneySum,
}

/// Which accounts the books cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every account of the bank: transfers add up to zero.
    Bank,
    /// Some accounts: transfers from and to others do not add up.
    Accounts,
}

impl Books {
    /// Adds the balance of an account.
    pub fn hold(&mut self, account: &Account) {
        self.of(account.currency).held += account.balance;
    }

    /// Adds an entry. Of transfers before `settled_before`, both entries must be on the books of a whole bank. Of
    /// later ones, one may have been written after its account was read.
    pub fn book(&mut self, entry: &Entry, settled_before: Timestamp) {
        let amount = entry.amount;
        let sums = self.of(amount.currency);
        match entry.kind {
            EntryKind::Deposit => sums.money_in += amount,
            EntryKind::Withdrawal => {
                sums.money_out.minor_units -= i128::from(amount.minor_units);
            }
            EntryKind::Interest { .. } => sums.interest += amount,
            EntryKind::TransferOut { .. } | EntryKind::TransferIn { .. } => {
                sums.transferred += amount;
                if entry.time < settled_before {
                    sums.settled += amount;
                }
            }
            // These have no amount. If one has, the books do not balance.
            EntryKind::AccountOpened { .. }
            | EntryKind::OverdraftLimitSet { .. }
            | EntryKind::AccountFrozen
            | EntryKind::AccountUnfrozen
            | EntryKind::AccountClosed => {}
        }
    }

    /// Adds other books.
    pub fn merge(&mut self, other: &Self) {
        for theirs in other.by_currency.values() {
            let ours = self.of(theirs.held.currency);
            ours.money_in += theirs.money_in;
            ours.money_out += theirs.money_out;
            ours.interest += theirs.interest;
            ours.transferred += theirs.transferred;
            ours.settled += theirs.settled;
            ours.held += theirs.held;
        }
    }

    /// The books of each currency, in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = &Sums> {
        self.by_currency.values()
    }

    fn of(&mut self, currency: Currency) -> &mut Sums {
        self.by_currency.entry(currency.code()).or_insert_with(|| Sums::zero(currency))
    }
}

impl Sums {
    fn zero(currency: Currency) -> Self {
        let zero = MoneySum::zero(currency);
        Self { money_in: zero, money_out: zero, interest: zero, transferred: zero, settled: zero, held: zero }
    }

    /// How much more is held than the entries explain; zero if the books balance.
    pub fn excess(&self) -> MoneySum {
        let [held, came_in, went_out, interest, transferred] =
            [self.held, self.money_in, self.money_out, self.interest, self.transferred]
                .map(|sum| sum.minor_units);
        MoneySum {
            currency: self.held.currency,
            minor_units: held - (came_in - went_out + interest + transferred),
        }
    }

    /// Whether money in, interest and transfers equal money out and money held. In a whole bank, settled transfers
    /// must add up to zero.
    pub fn are_balanced(&self, extent: Extent) -> bool {
        self.excess().minor_units == 0 && (extent == Extent::Accounts || self.settled.minor_units == 0)
    }
}
